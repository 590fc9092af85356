package platform

import (
	"context"
	"errors"
	"fmt"
)

// now reads the container of a program anew, by its ID: another one may have
// taken its name.
func (s containers) now(ctx context.Context, p Program) (engine, container, error) {
	e, err := s.engine(claim{user: p.User, unit: p.State[stateScope]})
	if err != nil {
		return nil, container{}, err
	}
	c, err := e.look(ctx, p.State[stateID])
	return e, c, err
}

// inspect returns what has become of a container. One that its unit makes anew
// at every start is judged by the unit: it is gone while the unit is stopped.
func (s containers) inspect(ctx context.Context, p Program) (Program, error) {
	units, err := unitsOf(p)
	if err != nil {
		return Program{}, err
	}
	_, c, err := s.now(ctx, p)
	gone := errors.Is(err, ErrGone)
	if err != nil && (!gone || len(units) == 0) {
		return Program{}, err
	}
	p.PIDs, p.Kept = nil, false
	if !gone {
		p.PIDs, p.Kept = c.pids, c.kept
		p.State = map[string]string{stateID: c.id, statePolicy: c.policy, stateStatus: statusOf(c)}
	}
	if len(units) == 0 {
		return p, nil
	}
	now, err := s.units.Inspect(ctx, unitNamesOf(units)...)
	if err != nil {
		return Program{}, err
	}
	for _, u := range now {
		p.Kept = p.Kept || startsAgain(u)
		if p.PIDs == nil && running(u.Active) && u.MainPID > 0 {
			p.PIDs = []int{u.MainPID}
		}
	}
	return p, nil
}

// startsAgain tells whether something may start a unit. Nothing does if it is
// masked, or transient and so cannot be.
func startsAgain(u Unit) bool { return u.File != "masked" && !transient(u) }

func unitNamesOf(units []Unit) []string {
	var names []string
	for _, u := range units {
		names = append(names, u.Name)
	}
	return names
}

// close takes away what would start the container again before it stops it.
func (s containers) close(ctx context.Context, p Program) error {
	units, err := unitsOf(p)
	if err != nil {
		return err
	}
	if len(units) > 0 {
		if err := s.units.Close(ctx, units); err != nil {
			return err
		}
	}
	e, c, err := s.now(ctx, p)
	if errors.Is(err, ErrGone) {
		return nil // its unit removed it, or somebody did
	}
	if err != nil {
		return err
	}
	if c.policy != neverAgain && !c.fixed {
		if err := e.setPolicy(ctx, c.id, neverAgain); err != nil {
			return err
		}
	}
	FaultPoint("supervisors.unkept")
	if !c.running {
		return nil
	}
	return e.run(ctx, c.id, false)
}

func (s containers) restore(ctx context.Context, p Program) error {
	units, err := unitsOf(p)
	if err != nil {
		return err
	}
	e, c, err := s.now(ctx, p)
	switch {
	case errors.Is(err, ErrGone) && len(units) > 0:
		return s.units.Restore(ctx, units) // which make it anew
	case errors.Is(err, ErrGone):
		return fmt.Errorf("it was deleted: %w", ErrChanged)
	case err != nil:
		return err
	}
	if want := p.State[statePolicy]; c.policy != want {
		if c.policy != neverAgain {
			return fmt.Errorf("its restart policy is %s now: %w", c.policy, ErrChanged)
		}
		if err := e.setPolicy(ctx, c.id, want); err != nil {
			return err
		}
	}
	if len(units) > 0 && !isOnlyAtBoot(units) {
		if err := s.units.Restore(ctx, units); err != nil {
			return err
		}
		// The unit may have started it, or made another one in its place.
		if c, err = e.look(ctx, c.id); errors.Is(err, ErrGone) {
			return nil
		} else if err != nil {
			return err
		}
	}
	if !c.running && p.State[stateStatus] == "running" {
		if err := e.run(ctx, c.id, true); err != nil {
			return err
		}
	}
	if isOnlyAtBoot(units) {
		return s.units.Restore(ctx, units)
	}
	return nil
}

// isOnlyAtBoot tells whether the units start a container at boot that somebody
// else started: it does not become theirs by being put back.
func isOnlyAtBoot(units []Unit) bool { return len(units) == 1 && units[0].Name == podmanRestart }
