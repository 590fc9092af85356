package platform

import (
	"context"
	"errors"
	"net/netip"
)

// ErrNoRoute says that the host knows no way to an address.
var ErrNoRoute = errors.New("no route")

// Routes tells which way packets leave the host.
type Routes interface {
	// To returns the way to an address, or ErrNoRoute.
	To(context.Context, netip.Addr) (Route, error)
}

// Route is the way to one address.
type Route struct {
	Link    Interface  `json:"link"`
	Source  netip.Addr `json:"source"`  // the host's address on that way
	Gateway netip.Addr `json:"gateway"` // not valid: the address is on the link itself
}
