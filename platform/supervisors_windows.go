package platform

import (
	"context"
	"fmt"
)

// noSupervisors is all there is on Windows: what runs for long is a service.
type noSupervisors struct{}

func newSupervisors() Supervisors { return noSupervisors{} }

func (noSupervisors) Find(context.Context, Listener) ([]Program, error) { return nil, nil }

func (noSupervisors) Inspect(context.Context, []Program) ([]Program, error) { return nil, nil }

func (noSupervisors) Close(_ context.Context, programs []Program) error {
	return noSupervisor(programs)
}

func (noSupervisors) Restore(_ context.Context, programs []Program) error {
	return noSupervisor(programs)
}

func noSupervisor(programs []Program) error {
	if len(programs) == 0 {
		return nil
	}
	return fmt.Errorf("supervisor %s: %w", programs[0].Kind, ErrUnsupported)
}
