package platform

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

// ErrAltered says that somebody changed the agent's own firewall rules.
var ErrAltered = errors.New("the agent's firewall rules were altered")

const (
	tableName  = "firebreak"
	blockedTCP = "blocked_tcp"
	blockedUDP = "blocked_udp"

	// gatePriority puts every chain that sees IP after connection tracking
	// (-200) and before address translation (-100). After the one, because the
	// direction of a connection is not known earlier: the source port alone
	// would let in whoever chooses it, and the reply to an outgoing datagram
	// looks like a new one. It also means that fragments are put together
	// (-400), so no TCP header is cut in two to hide its flags. Before the
	// other, because published ports are then seen under the number that the
	// outside uses, and need no case of their own.
	gatePriority = -190

	// loopbackIndex is the number of the interface lo in every network namespace.
	loopbackIndex = 1
)

// ground is what rules are made for: what the kernel takes, and what is there.
type ground struct {
	can    abilities
	links  []string         // all but lo; they count only where the kernel cannot hook every link at once
	groups map[string]group // the control groups of the units that run, by unit
}

// group is a control group (v2).
type group struct {
	level uint32 // how many groups it is below the root
	id    uint64
}

// rulesets returns the nftables tables that put r in force; none if r restricts
// nothing. The table of IP is always there then, those of bridges and of frames
// only while the host is isolated. The rules are the same for every list of
// blocked ports; only the elements of the sets differ, so ports come and go
// without a rule being touched.
func rulesets(r Restrictions, g ground) ([]*nft.Table, error) {
	r = r.Normal()
	if err := checkRestrictions(r); err != nil {
		return nil, err
	}
	if r.Zero() {
		return nil, nil
	}
	packets := g.table(nft.Inet)
	if len(r.Blocked) > 0 {
		packets.Sets = []nft.Set{portSet(blockedTCP, r.Blocked, TCP), portSet(blockedUDP, r.Blocked, UDP)}
		packets.Chains = []nft.Chain{blockedChain()}
	}
	if r.Wall != nil {
		packets.Chains = append(packets.Chains, wallChains(*r.Wall)...)
	}
	if r.Isolation == nil {
		return []*nft.Table{packets}, nil
	}
	packets.Chains = append(packets.Chains, packetChains(*r.Isolation, g)...)
	tables := []*nft.Table{packets}
	if g.can.Bridge {
		bridges := g.table(nft.Bridge)
		bridges.Chains = []nft.Chain{{Name: isolatedForward, Hook: gate(nft.Forward), Rules: append(leaseRule(*r.Isolation), dropRule())}}
		tables = append(tables, bridges)
	}
	if g.can.Ingress || g.can.Egress { // also without links: that a table is missing is then no doubt
		frames := g.table(nft.Netdev)
		frames.Chains = frameChains(*r.Isolation, g)
		tables = append(tables, frames)
	}
	for _, t := range tables {
		t.Sets = append(t.Sets, leaseSets(*r.Isolation)...)
	}
	return tables, nil
}

// table is an empty table of the agent. One that is owned can be changed only
// through the socket that made it; one that persists outlives that socket.
func (g ground) table(f nft.Family) *nft.Table {
	t := &nft.Table{Family: f, Name: tableName}
	if g.can.Owned {
		t.Flags = nft.Owner | nft.Persist
	}
	return t
}

func gate(hook uint32) *nft.Hook {
	return &nft.Hook{Type: "filter", Number: hook, Priority: gatePriority, Policy: nft.Accept}
}

// checkRestrictions refuses what cannot be put into rules.
func checkRestrictions(r Restrictions) error {
	if len(r.Denied) > 0 {
		return fmt.Errorf("deny binds of ports: %w", ErrUnsupported)
	}
	for _, p := range r.Blocked {
		if p.Protocol != TCP && p.Protocol != UDP {
			return fmt.Errorf("block port %d: %q is neither tcp nor udp", p.First, p.Protocol)
		}
		if p.First > p.Last {
			return fmt.Errorf("block ports: %d-%d runs backwards", p.First, p.Last)
		}
	}
	if w := r.Wall; w != nil {
		if err := checkIsolation(Isolation{Keep: w.Keep, Resolvers: w.Resolvers}); err != nil {
			return err
		}
	}
	if r.Isolation == nil {
		return nil
	}
	return checkIsolation(*r.Isolation)
}

func checkIsolation(iso Isolation) error {
	for _, p := range iso.Keep {
		if !p.Network.IsValid() {
			return errors.New("keep peer: its network is not valid")
		}
		if !slices.Contains([]Protocol{"", TCP, UDP}, p.Protocol) {
			return fmt.Errorf("keep peer %s: %q is neither tcp nor udp", p.Network, p.Protocol)
		}
	}
	for _, a := range iso.Resolvers {
		if !a.IsValid() {
			return errors.New("keep resolver: its address is not valid")
		}
	}
	for _, u := range iso.Units {
		// A comment of a rule holds 250 bytes, and nft(8) knows no quote in it.
		if !strings.Contains(u, ".") || len(u) > 240 || strings.ContainsAny(u, "/\"\n ") {
			return fmt.Errorf("keep unit %q: it is not the name of a unit", u)
		}
	}
	if iso.Lease < 0 || iso.Max < 0 {
		return errors.New("isolate: a time that is over cannot be kept")
	}
	return nil
}

func portSet(name string, ports []PortRule, protocol Protocol) nft.Set {
	s := nft.Set{Name: name, Key: []nft.Type{nft.InetService}, Interval: true}
	for _, p := range ports {
		if p.Protocol == protocol {
			s.Elements = append(s.Elements, nft.Element{First: nft.Port(p.First), Last: nft.Port(p.Last)})
		}
	}
	return s
}

// blockedChain shuts the ports of the two sets to new flows from outside. TCP is
// judged by the first packet of a handshake (SYN without ACK): what was connected
// before stays connected, and no packet of an outgoing connection looks like it.
// UDP has no handshake; there only connection tracking tells a new flow from a
// reply. A flow that an administrator exempted from tracking is neither, and
// passes. What is only forwarded (its destination is somebody else's unicast
// address) is not this host's port.
func blockedChain() nft.Chain {
	syn, ack := nft.SYN, nft.ACK
	return nft.Chain{
		Name: "blocked",
		Hook: gate(nft.Prerouting),
		Rules: []nft.Rule{
			nft.NewRule("", nft.InIndex.Is(nft.Word(loopbackIndex)), nft.Then(nft.Accept)),
			nft.NewRule("", nft.AddressType.Is(nft.Word(nft.Unicast)), nft.Then(nft.Accept)),
			nft.NewRule("", nft.TCPFlags.Masked([]byte{syn | ack}, []byte{syn}), nft.TCPDest.In(blockedTCP), nft.Then(nft.Drop)),
			nft.NewRule("", nft.State.Any(nft.Word(nft.New)), nft.UDPDest.In(blockedUDP), nft.Then(nft.Drop)),
		},
	}
}
