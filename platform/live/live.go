// Package live reads and ends what is connected in a Linux network namespace:
// sockets (NETLINK_SOCK_DIAG), and the flows that connection tracking knows
// (ctnetlink). It decides nothing.
//
// Each line belongs to the namespace of the thread that opened it, and stays
// there wherever its user goes. Changes are sent by the hundred in one call to
// the kernel: with a call and an answer for each, most of the time would go into
// the calls. Nothing here is safe for use by two goroutines at once.
package live

import "net/netip"

// The protocols of sockets and flows, as in IP headers.
const (
	TCP = 6
	UDP = 17
)

// States of a socket, from the kernel's tcp_states.h. A UDP socket has one of
// two: it is Established if it is connected, else Closed.
const (
	Established    = 1
	SynSent        = 2
	SynReceived    = 3
	NewSynReceived = 12
	TimeWait       = 6
	Closed         = 7
	Listening      = 10
)

// Tuple is how packets of one direction of a flow look.
type Tuple struct{ Source, Dest netip.AddrPort }

// Inverse is the other direction, if nobody rewrites addresses.
func (t Tuple) Inverse() Tuple { return Tuple{t.Dest, t.Source} }

// Entry is a flow to be made known to connection tracking: one that lives, and
// that had no entry.
type Entry struct {
	Protocol uint8
	Original Tuple
	Mark     uint32
	Opening  bool // a handshake is under way: the entry ends soon if that comes to nothing
}
