package platform

import (
	"context"
	"fmt"
)

// firewall is not written for Windows yet, and says so.
type firewall struct{}

func newFirewall() Firewall { return firewall{} }

// Apply can put nothing in force; to restrict nothing is already the case.
func (firewall) Apply(_ context.Context, want Restrictions) error {
	if want.Zero() {
		return nil
	}
	return fmt.Errorf("apply restrictions: Windows Filtering Platform: %w", ErrUnsupported)
}

// InForce is empty: this agent puts nothing in force on Windows.
func (firewall) InForce(context.Context) (Restrictions, error) { return Restrictions{}, nil }
