package platform

import (
	"context"
	"fmt"
)

// desktops shows texts on the desktops of who is logged in.
type desktops struct{}

func newNotifier() Notifier { return desktops{} }

func (desktops) Notify(context.Context, string) ([]string, error) {
	return nil, fmt.Errorf("notify users: %w", ErrUnsupported)
}

func (desktops) Banner(context.Context, string) error {
	return fmt.Errorf("put up login banner: %w", ErrUnsupported)
}
