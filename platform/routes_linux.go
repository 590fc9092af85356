package platform

import (
	"context"
	"fmt"
	"net/netip"
)

// routes is not written yet, and says so.
type routes struct{}

func newRoutes() Routes { return routes{} }

func (routes) To(_ context.Context, to netip.Addr) (Route, error) {
	return Route{}, fmt.Errorf("find route to %s: %w", to, ErrUnsupported)
}
