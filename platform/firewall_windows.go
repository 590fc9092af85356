package platform

import (
	"context"
	"fmt"
	"time"
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

// Renew has nothing to renew.
func (firewall) Renew(context.Context, time.Duration) error {
	return fmt.Errorf("renew lease: Windows Filtering Platform: %w", ErrUnsupported)
}

// Standing is that of no isolation.
func (firewall) Standing(context.Context) (Standing, error) { return Standing{}, nil }
