package platform

import (
	"context"
	"fmt"
)

// serviceControl is the service control manager.
type serviceControl struct{}

func newServices() Services { return serviceControl{} }

func (serviceControl) Inspect(context.Context, ...string) ([]Unit, error) {
	return nil, fmt.Errorf("ask service manager: %w", ErrUnsupported)
}

func (serviceControl) Close(context.Context, []Unit) error {
	return fmt.Errorf("close services: %w", ErrUnsupported)
}

func (serviceControl) Restore(context.Context, []Unit) error {
	return fmt.Errorf("restore services: %w", ErrUnsupported)
}
