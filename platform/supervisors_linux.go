package platform

import (
	"context"
	"errors"
	"fmt"
)

// supervisor is one kind of supervisor. Its methods are those of Supervisors,
// for the programs of its own kind.
type supervisor interface {
	find(ctx context.Context, l Listener) ([]Program, error)
	inspect(ctx context.Context, p Program) (Program, error) // ErrGone
	close(ctx context.Context, p Program) error
	restore(ctx context.Context, p Program) error
}

// supervisors are those that are known here, the closest to a program first:
// what one of them finds, the later ones are not asked for.
type supervisors []kindOfSupervisor

type kindOfSupervisor struct {
	kind string
	supervisor
}

func newSupervisors() Supervisors {
	return supervisors{
		{"user-unit", userUnits{}},
		{"podman", newPodman()},
		{"docker", newDocker()},
		{"supervisord", supervisord{}},
		{"runit", runit{kind: "runit", name: "runsv"}},
		{"s6", runit{kind: "s6", name: "s6-supervise"}},
		{"xinetd", xinetd{}},
		{"inetd", inetd{}},
		{"cron", cron{}},
	}
}

func (all supervisors) Find(ctx context.Context, l Listener) ([]Program, error) {
	for _, s := range all {
		programs, err := s.find(ctx, l)
		if err != nil {
			return nil, fmt.Errorf("ask %s who keeps %s %d open: %w", s.kind, l.Protocol, l.Port, err)
		}
		if len(programs) > 0 {
			return programs, nil
		}
	}
	return nil, nil
}

func (all supervisors) Inspect(ctx context.Context, programs []Program) ([]Program, error) {
	var found []Program
	for _, p := range programs {
		s, err := all.of(p)
		if err != nil {
			return nil, err
		}
		now, err := s.inspect(ctx, p)
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("ask %s for %s: %w", p.Kind, p.Name, err)
		}
		found = append(found, now)
	}
	return found, nil
}

func (all supervisors) Close(ctx context.Context, programs []Program) error {
	for _, p := range programs {
		s, err := all.of(p)
		if err != nil {
			return err
		}
		if err := s.close(ctx, p); err != nil {
			return fmt.Errorf("close %s: %w", p.Title, err)
		}
	}
	return nil
}

// Restore goes on when one program cannot be put back: the others can.
func (all supervisors) Restore(ctx context.Context, programs []Program) error {
	var failed []error
	for _, p := range programs {
		s, err := all.of(p)
		if err == nil {
			err = s.restore(ctx, p)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("restore %s: %w", p.Title, err))
		}
	}
	return errors.Join(failed...)
}

func (all supervisors) of(p Program) (supervisor, error) {
	for _, s := range all {
		if s.kind == p.Kind {
			return s.supervisor, nil
		}
	}
	return nil, fmt.Errorf("%s: supervisor %s: %w", p.Name, p.Kind, ErrUnsupported)
}
