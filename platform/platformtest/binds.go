package platformtest

import (
	"context"

	"github.com/firebreak-sec/firebreak/platform"
)

// binds keeps programs of a machine from opening ports.
type binds struct{ m *Machine }

func (binds) Deny(context.Context, []platform.BindRule) error { return nil }

func (binds) Denied(context.Context) ([]platform.BindRule, error) { return nil, nil }

func (binds) Attempts(ctx context.Context) <-chan platform.BindAttempt {
	none := make(chan platform.BindAttempt)
	go func() {
		<-ctx.Done()
		close(none)
	}()
	return none
}
