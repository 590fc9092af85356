package platform

import (
	"context"
	"fmt"
	"net/netip"
)

// prober is not written for Windows yet, and says so.
type prober struct{}

func newProber() Prober { return prober{} }

func (prober) Inbound(_ context.Context, _ Protocol, to netip.AddrPort) (Answer, error) {
	return "", fmt.Errorf("probe %s: %w", to, ErrUnsupported)
}

func (prober) Outbound(context.Context, bool) (Answer, error) {
	return "", fmt.Errorf("probe outbound: %w", ErrUnsupported)
}

func (prober) Connect(_ context.Context, to netip.AddrPort) (Answer, error) {
	return "", fmt.Errorf("connect to %s: %w", to, ErrUnsupported)
}

func (prober) Raw(context.Context) (Answer, error) {
	return "", fmt.Errorf("probe with a raw frame: %w", ErrUnsupported)
}
