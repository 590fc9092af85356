package platformtest

import (
	"context"

	"github.com/firebreak-sec/firebreak/platform"
)

// supervisors are those of a machine, which has none.
type supervisors struct{ m *Machine }

func (supervisors) Find(context.Context, platform.Listener) ([]platform.Program, error) {
	return nil, nil
}

func (supervisors) Inspect(context.Context, []platform.Program) ([]platform.Program, error) {
	return nil, nil
}

func (supervisors) Close(context.Context, []platform.Program) error { return nil }

func (supervisors) Restore(context.Context, []platform.Program) error { return nil }
