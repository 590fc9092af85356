package platform

import (
	"context"
	"fmt"
)

// noBinds cannot keep a program from opening a port.
type noBinds struct{}

func newBinds() Binds { return noBinds{} }

func (noBinds) Deny(_ context.Context, rules []BindRule) error {
	if len(rules) == 0 {
		return nil
	}
	return fmt.Errorf("keep programs from opening ports: %w", ErrUnsupported)
}

func (noBinds) Denied(context.Context) ([]BindRule, error) { return nil, nil }

func (noBinds) Attempts(ctx context.Context) <-chan BindAttempt {
	none := make(chan BindAttempt)
	go func() {
		<-ctx.Done()
		close(none)
	}()
	return none
}
