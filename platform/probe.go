package platform

import (
	"context"
	"net/netip"
)

// Answer is what a probe got back.
type Answer string

// The answers a probe can get. Refused and Silent both mean that nobody got in;
// they differ in why: a refusal is the host saying that nothing listens, a
// silence is a wall.
const (
	Answered Answer = "answered"
	Refused  Answer = "refused"
	Silent   Answer = "silent"
)

// Prober knocks, independently of every table the agent reads: a second way to
// know whether a port is shut. It changes nothing that lasts.
type Prober interface {
	// Inbound tries to reach the address of this host from outside it: from a
	// network namespace made for the purpose, through an interface that is not
	// loopback. An error means that it could not knock, not that nobody opened.
	Inbound(ctx context.Context, protocol Protocol, to netip.AddrPort) (Answer, error)
	// Outbound tries to reach, from this host, a server in a network namespace
	// made for the purpose: whether this host can start connections. An error
	// means that it could not try.
	Outbound(ctx context.Context, v6 bool) (Answer, error)
	// Connect tries to reach a peer from this host over TCP.
	Connect(ctx context.Context, to netip.AddrPort) (Answer, error)
	// Raw tries to send a frame that is no IP packet out of each uplink, past
	// all that the firewall knows of IP. It is addressed to nobody (ethertype
	// 0x88b5, for experiments, to the sender itself). Answered means that one
	// left the host.
	Raw(ctx context.Context) (Answer, error)
}
