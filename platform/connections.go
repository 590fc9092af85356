package platform

import (
	"context"
	"net/netip"
)

// Connections ends what is connected when the host is isolated: rules alone
// would only pause it.
type Connections interface {
	// Live lists the sockets that Cut would end, in every network namespace of
	// this agent's world. It changes nothing.
	Live(context.Context, Isolation) ([]Connection, error)
	// Cut ends every TCP and UDP socket that the isolation does not keep, and
	// makes the kernel forget the flows it tracks for them, so that nothing
	// resumes after a release. What is kept goes on. It is called after the
	// rules are in force; done twice it finds nothing more, but for UDP sockets
	// without a peer that their programs went on using: those cannot be taken
	// away, and what they send later is a new flow.
	Cut(context.Context, Isolation) (Cut, error)
}

// Connection is one socket with a peer, or one that may send to anybody.
type Connection struct {
	Protocol Protocol       `json:"protocol"`
	Local    netip.AddrPort `json:"local"`
	Remote   netip.AddrPort `json:"remote"` // unspecified: a UDP socket without a peer
	NetNS    string         `json:"netns"`  // "" is the host's own
	UID      uint32         `json:"uid"`
}

// Cut is what Connections.Cut has done.
type Cut struct {
	Ended int // sockets that were ended
	Flows int // tracked flows that were forgotten
	// Left are sockets that should have been ended and are still there.
	Left []Connection
	// Lacks are sentences about what this system cannot do, such as "connections
	// of this computer cannot be ended: this kernel has no SOCK_DESTROY".
	Lacks []string
}
