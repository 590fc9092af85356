package platform

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Firewall puts the agent's restrictions in force, in tables of its own; it
// never touches a rule of somebody else.
type Firewall interface {
	// Apply replaces what is in force with want, in one atomic step. Applying
	// the same restrictions twice changes nothing, and the zero Restrictions
	// leaves no trace of the agent behind.
	Apply(ctx context.Context, want Restrictions) error
	// InForce reads the restrictions back from the operating system, never from
	// memory. Rules of the agent that were altered by somebody are an error. An
	// isolation whose lease has ended is none.
	InForce(context.Context) (Restrictions, error)
	// Renew lets the isolation in force last for left from now on, counted while
	// the computer is awake; then the kernel ends it, whatever became of the
	// agent. No packet notices. Without an isolation in force it is an error.
	Renew(ctx context.Context, left time.Duration) error
	// Standing tells how well the isolation in force holds; without one it is
	// the zero Standing.
	Standing(context.Context) (Standing, error)
}

// Standing is how well an isolation holds, as the operating system tells it.
type Standing struct {
	Dropped uint64        // packets that were dropped since it began; never less than before
	Left    time.Duration // until the kernel ends it by itself; 0: it does not
	// Lacks are sentences about what this system cannot do, such as "frames that
	// root programs send past IP are not stopped: this kernel has no netdev
	// egress hook". None: the isolation is whole.
	Lacks []string
}

// Restrictions are all the limits the agent puts on the host's network.
// The zero value puts none, and leaves no trace of the agent behind.
type Restrictions struct {
	Isolation *Isolation `json:"isolation"`      // nil: not isolated
	Wall      *Wall      `json:"wall,omitempty"` // nil: the host may be connected to
	Blocked   []PortRule `json:"blocked"`        // inbound ports shut at the firewall
	Denied    []PortRule `json:"denied"`         // ports no process may bind (prevention)
}

// Isolation cuts the host off from every network but Keep.
type Isolation struct {
	Keep      []Peer       `json:"keep"`            // who stays reachable
	Users     []uint32     `json:"users,omitempty"` // whose programs may connect to anybody, by user ID
	Units     []string     `json:"units,omitempty"` // services that may connect to anybody: "rustdesk.service"
	Resolvers []netip.Addr `json:"resolvers"`       // DNS servers that stay reachable; none: no DNS
	DHCP      bool         `json:"dhcp"`            // the host may renew its address

	// Lease is after how long the kernel releases the host when nobody renews
	// it; 0: never. If Closed, a lease that is not renewed releases nothing, and
	// Max alone ends the isolation. Max is the longest it may last, 0: for ever.
	Lease  time.Duration `json:"lease"`
	Closed bool          `json:"closed"`
	Max    time.Duration `json:"max,omitempty"`
}

// Wall lets nobody connect to the host but who is kept, and, if Shut, the host to
// nobody else. Unlike an isolation it has no lease: it is for weeks, leaves the
// host of use, and goes when its threat goes.
type Wall struct {
	Keep      []Peer       `json:"keep"`
	Resolvers []netip.Addr `json:"resolvers"` // of use only if Shut
	Shut      bool         `json:"shut"`      // outbound connections go to Keep and Resolvers alone
}

// Until is after how long the kernel is to end an isolation that begins now and
// is never renewed; 0: never.
func (i Isolation) Until() time.Duration {
	switch {
	case i.Closed || i.Lease == 0:
		return i.Max
	case i.Max == 0:
		return i.Lease
	}
	return min(i.Lease, i.Max)
}

// Peer is somebody who stays reachable while the host is isolated.
type Peer struct {
	Network  netip.Prefix `json:"network"`
	Protocol Protocol     `json:"protocol"` // "" is both
	Port     uint16       `json:"port"`     // of the peer if outbound, of this host if inbound; 0 is any
	Inbound  bool         `json:"inbound"`  // the peer connects to this host; else only replies of the peer come in
}

// PortRule is a span of ports of one protocol.
type PortRule struct {
	Protocol Protocol `json:"protocol"`
	First    uint16   `json:"first"`
	Last     uint16   `json:"last"` // the same as First for a single port
}

// Zero tells whether r restricts nothing.
func (r Restrictions) Zero() bool {
	return r.Isolation == nil && r.Wall == nil && len(r.Blocked) == 0 && len(r.Denied) == 0
}

// Normal returns r in the one form in which equal restrictions are equal data:
// sorted, without repetitions, overlapping port spans merged, empty lists nil.
func (r Restrictions) Normal() Restrictions {
	n := Restrictions{Blocked: normalPorts(r.Blocked), Denied: normalPorts(r.Denied)}
	if r.Isolation != nil {
		iso := *r.Isolation
		iso.Keep = sorted(iso.Keep, comparePeers)
		iso.Users = sorted(iso.Users, cmp.Compare[uint32])
		iso.Units = sorted(iso.Units, strings.Compare)
		iso.Resolvers = sorted(iso.Resolvers, netip.Addr.Compare)
		n.Isolation = &iso
	}
	if r.Wall != nil {
		n.Wall = r.Wall.normal()
	}
	return n
}

// Equal tells whether r and other restrict the same.
func (r Restrictions) Equal(other Restrictions) bool {
	a, b := r.Normal(), other.Normal()
	if (a.Isolation == nil) != (b.Isolation == nil) {
		return false
	}
	if a.Isolation != nil {
		x, y := a.Isolation, b.Isolation
		if !slices.Equal(x.Keep, y.Keep) || !slices.Equal(x.Resolvers, y.Resolvers) ||
			!slices.Equal(x.Users, y.Users) || !slices.Equal(x.Units, y.Units) ||
			x.DHCP != y.DHCP || x.Lease != y.Lease || x.Closed != y.Closed || x.Max != y.Max {
			return false
		}
	}
	return a.Wall.equal(b.Wall) && slices.Equal(a.Blocked, b.Blocked) && slices.Equal(a.Denied, b.Denied)
}

// normal leaves out what the host may connect to anyway.
func (w Wall) normal() *Wall {
	if !w.Shut {
		w.Resolvers = nil
		w.Keep = slices.DeleteFunc(slices.Clone(w.Keep), func(p Peer) bool { return !p.Inbound })
	}
	w.Keep = sorted(w.Keep, comparePeers)
	w.Resolvers = sorted(w.Resolvers, netip.Addr.Compare)
	return &w
}

func (w *Wall) equal(other *Wall) bool {
	if w == nil || other == nil {
		return w == other
	}
	return w.Shut == other.Shut && slices.Equal(w.Keep, other.Keep) && slices.Equal(w.Resolvers, other.Resolvers)
}

func sorted[T comparable](in []T, compare func(a, b T) int) []T {
	if len(in) == 0 {
		return nil
	}
	out := slices.Clone(in)
	slices.SortFunc(out, compare)
	return slices.Compact(out)
}

func comparePeers(a, b Peer) int {
	if c := a.Network.Addr().Compare(b.Network.Addr()); c != 0 {
		return c
	}
	if c := a.Network.Bits() - b.Network.Bits(); c != 0 {
		return c
	}
	if a.Protocol != b.Protocol {
		if a.Protocol < b.Protocol {
			return -1
		}
		return 1
	}
	if c := int(a.Port) - int(b.Port); c != 0 {
		return c
	}
	switch {
	case a.Inbound == b.Inbound:
		return 0
	case b.Inbound:
		return -1
	}
	return 1
}

func normalPorts(in []PortRule) []PortRule {
	s := sorted(in, func(a, b PortRule) int {
		if a.Protocol != b.Protocol {
			if a.Protocol < b.Protocol {
				return -1
			}
			return 1
		}
		if c := int(a.First) - int(b.First); c != 0 {
			return c
		}
		return int(a.Last) - int(b.Last)
	})
	var out []PortRule
	for _, p := range s {
		if n := len(out); n > 0 && out[n-1].Protocol == p.Protocol && int(p.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, p.Last)
			continue
		}
		out = append(out, p)
	}
	return out
}

// PortList writes ports as a person reads them: "tcp 445, udp 5900-5999".
func PortList(rules []PortRule) string {
	parts := make([]string, len(rules))
	for i, r := range rules {
		parts[i] = r.String()
	}
	return strings.Join(parts, ", ")
}

// String writes "tcp 445" or "tcp 5900-5999".
func (r PortRule) String() string {
	if r.First == r.Last {
		return fmt.Sprintf("%s %d", r.Protocol, r.First)
	}
	return fmt.Sprintf("%s %d-%d", r.Protocol, r.First, r.Last)
}
