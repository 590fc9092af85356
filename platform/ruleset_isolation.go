package platform

import (
	"net/netip"
	"time"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

const (
	leaseSetName    = "lease"
	isolatedIn      = "isolated_in"
	isolatedForward = "isolated_forward"
	isolatedOut     = "isolated_out"

	established uint32 = 2 // NF_CT_STATE_BIT(IP_CT_ESTABLISHED)

	// keptMark is the bit that connections and packets of kept users and units
	// carry from the chain that knows them to those that do not. It is one bit,
	// and a high one, because other programs use marks too. Root can set it.
	keptMark = 1 << 29
)

// leaseSets is the set whose one element is there as long as the isolation is to
// last. The kernel takes it out by itself when its time is over.
func leaseSets(iso Isolation) []nft.Set {
	left := iso.Until()
	if left == 0 {
		return nil
	}
	left, zero := max(left, time.Millisecond), leaseKey()
	return []nft.Set{{
		Name: leaseSetName, Key: []nft.Type{nft.Mark}, Timed: true,
		Elements: []nft.Element{{First: zero, Last: zero, Timeout: left, Left: left}},
	}}
}

// leaseKey is the one element of the lease.
func leaseKey() []byte { return nft.Word(0) }

// leaseRule lets everything pass once the lease has ended.
func leaseRule(iso Isolation) []nft.Rule {
	if iso.Until() == 0 {
		return nil
	}
	return []nft.Rule{nft.NewRule("", nft.LeaseEnded(leaseSetName), nft.Then(nft.Accept))}
}

func dropRule() nft.Rule {
	return nft.NewRule("", nft.Then(nft.Counter{}), nft.Then(nft.Drop))
}

// packetChains cut the host off: no packet of IP comes in, goes out or goes
// through but what iso keeps. There is no rule for "established": each entry
// lets in only the direction of a connection that it speaks of.
func packetChains(iso Isolation, g ground) []nft.Chain {
	in := append(leaseRule(iso), nft.NewRule(isolationNote(iso), nft.InIndex.Is(nft.Word(loopbackIndex)), nft.Then(nft.Accept)))
	out := append(leaseRule(iso), nft.NewRule("", nft.OutIndex.Is(nft.Word(loopbackIndex)), nft.Then(nft.Accept)))
	for _, f := range flows(iso) {
		in, out = append(in, f.packetRule(true)), append(out, f.packetRule(false))
	}
	if iso.DHCP {
		in, out = append(in, dhcpReplies()...), append(out, dhcpRequests()...)
	}
	if keepsPrograms(iso) {
		in, out = append(in, keptReplies()), append(out, keptPrograms(iso, g)...)
	}
	in = append(in, neighbourDiscovery(),
		related(fragmentationNeeded()), related(packetTooBig()), dropRule())
	out = append(out, neighbourDiscovery(), groupReports())
	if g.can.Reject {
		// A local program learns at once that it cannot connect. A packet that
		// connection tracking cannot place, such as one sent again too late, may
		// be of a connection that is kept: that is no reason to end it.
		for _, f := range flows(iso) {
			if f.protocol == TCP && f.inbound {
				out = append(out, f.unplaced())
			}
		}
		tracked := nft.State.Any(nft.Word(nft.New | nft.Related | established))
		out = append(out, nft.NewRule("", nft.TransportProtocol.Is([]byte{nft.TCP}), tracked, nft.Then(nft.Counter{}), nft.Then(nft.ResetTCP)))
	}
	return []nft.Chain{
		{Name: isolatedIn, Hook: gate(nft.Prerouting), Rules: in},
		{Name: isolatedForward, Hook: gate(nft.Forward), Rules: append(leaseRule(iso), dropRule())},
		{Name: isolatedOut, Hook: gate(nft.Output), Rules: append(out, dropRule())},
	}
}

// flow is one kind of connection that stays possible.
type flow struct {
	network  netip.Prefix // where the peer is
	zone     string       // the interface it is behind, for a link-local address
	protocol Protocol
	port     uint16 // of the peer, or of this host if inbound; 0 is any
	inbound  bool   // the peer connects
	note     string
}

// flows are the connections to kept peers and to resolvers.
func flows(iso Isolation) []flow {
	var out []flow
	for _, p := range iso.Keep {
		for _, protocol := range protocols(p.Protocol) {
			out = append(out, flow{network: unmapped(p.Network), protocol: protocol, port: p.Port, inbound: p.Inbound, note: peerNote(p)})
		}
	}
	for _, a := range iso.Resolvers {
		for _, protocol := range protocols("") {
			out = append(out, flow{network: unmapped(wholeAddress(a)), zone: a.Zone(), protocol: protocol, port: 53, note: resolverNote(a)})
		}
	}
	return out
}

func protocols(p Protocol) []Protocol {
	if p == "" {
		return []Protocol{TCP, UDP}
	}
	return []Protocol{p}
}

// wholeAddress is the network of one address; a zone is matched by interface.
func wholeAddress(a netip.Addr) netip.Prefix {
	a = a.WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}

// unmapped is the network as packets carry it: one that is written as IPv4
// inside IPv6 is IPv4.
func unmapped(network netip.Prefix) netip.Prefix {
	if a := network.Addr(); a.Is4In6() && network.Bits() >= 96 {
		return netip.PrefixFrom(a.Unmap(), network.Bits()-96)
	}
	return network
}

// packetRule accepts packets of the flow that enter or leave. Those of a peer
// that connects are of the original direction when they enter, those of one that
// this host connects to are replies.
func (f flow) packetRule(entering bool) nft.Rule {
	direction := nft.Reply
	if entering == f.inbound {
		direction = nft.Original
	}
	parts := [][]nft.Expr{f.peer(entering)}
	if f.zone != "" {
		name := nft.OutName
		if entering {
			name = nft.InName
		}
		parts = append(parts, name.Is(nft.Name(f.zone)))
	}
	parts = append(parts, f.ports(entering), nft.Direction.Is([]byte{direction}), nft.Then(nft.Accept))
	return nft.NewRule(f.note, parts...)
}

// peer tests for the peer's address: the source of what enters.
func (f flow) peer(entering bool) []nft.Expr { return addressWithin(f.network, entering) }

func addressWithin(network netip.Prefix, entering bool) []nft.Expr {
	switch v6 := network.Addr().Is6(); {
	case v6 && entering:
		return nft.IP6Source.Within(network)
	case v6:
		return nft.IP6Dest.Within(network)
	case entering:
		return nft.IPSource.Within(network)
	}
	return nft.IPDest.Within(network)
}

// ports tests for the protocol, and the port if there is one: the peer's, which
// is the source of what enters, or this host's if inbound.
func (f flow) ports(entering bool) []nft.Expr {
	source, dest, protocol := nft.TCPSource, nft.TCPDest, nft.TCP
	if f.protocol == UDP {
		source, dest, protocol = nft.UDPSource, nft.UDPDest, nft.UDP
	}
	switch {
	case f.port == 0:
		return nft.TransportProtocol.Is([]byte{protocol})
	case entering == f.inbound:
		return dest.Is(nft.Port(f.port))
	}
	return source.Is(nft.Port(f.port))
}

// unplaced drops what this host sends to a kept peer that connected to it, in a
// direction that connection tracking has wrong: where it was not active before, it
// takes the first packet that it sees for the beginning. The packet is sent again
// by itself, after the connection was made known; a reset would end it.
func (f flow) unplaced() nft.Rule {
	return nft.NewRule("", f.peer(false), f.ports(false), nft.Then(nft.Counter{}), nft.Then(nft.Drop))
}

func keepsPrograms(iso Isolation) bool { return len(iso.Users)+len(iso.Units) > 0 }

// keptPrograms let the programs of kept users and units make connections. Who
// made a socket is known when it sends, and nowhere else: so the connection is
// marked then, and what belongs to it is known by the mark. Packets are marked
// too, for the chains that see only frames. A kept unit without a group has a
// rule that does nothing but say so.
func keptPrograms(iso Isolation, g ground) []nft.Rule {
	var out []nft.Rule
	connecting := func(note string, who []nft.Expr) {
		for _, protocol := range []byte{nft.TCP, nft.UDP} {
			out = append(out, nft.NewRule(note, who, nft.TransportProtocol.Is([]byte{protocol}),
				nft.Direction.Is([]byte{nft.Original}), nft.ConnMark.With(keptMark)))
		}
	}
	for _, uid := range iso.Users {
		connecting(userNote(uid), nft.UserID.Is(nft.Word(uid)))
	}
	for _, unit := range iso.Units {
		if group, ok := g.groups[unit]; ok && g.can.Groups {
			connecting(unitNote(unit), nft.ControlGroup(group.level).Is(nft.Long(group.id)))
		} else {
			out = append(out, nft.NewRule(unitNote(unit), nft.Then(nft.Counter{})))
		}
	}
	mark := nft.Word(keptMark)
	return append(out, nft.NewRule("", nft.Direction.Is([]byte{nft.Original}), nft.ConnMark.Masked(mark, mark),
		nft.PacketMark.With(keptMark), nft.Then(nft.Accept)))
}

func keptReplies() nft.Rule {
	mark := nft.Word(keptMark)
	return nft.NewRule("", nft.Direction.Is([]byte{nft.Reply}), nft.ConnMark.Masked(mark, mark), nft.Then(nft.Accept))
}

// dhcpReplies and dhcpRequests let the host keep its address (RFC 2131, RFC
// 8415). Servers and relays speak DHCPv6 from a link-local address.
func dhcpReplies() []nft.Rule {
	return []nft.Rule{
		nft.NewRule(dhcpNote, nft.NetworkProtocol.Is([]byte{nft.V4}), nft.UDPSource.Is(nft.Port(67)), nft.UDPDest.Is(nft.Port(68)), nft.Then(nft.Accept)),
		nft.NewRule(dhcpNote, nft.IP6Source.Within(linkLocal()), nft.UDPSource.Is(nft.Port(547)), nft.UDPDest.Is(nft.Port(546)), nft.Then(nft.Accept)),
	}
}

func dhcpRequests() []nft.Rule {
	return []nft.Rule{
		nft.NewRule(dhcpNote, nft.NetworkProtocol.Is([]byte{nft.V4}), nft.UDPSource.Is(nft.Port(68)), nft.UDPDest.Is(nft.Port(67)), nft.Then(nft.Accept)),
		nft.NewRule(dhcpNote, nft.NetworkProtocol.Is([]byte{nft.V6}), nft.UDPSource.Is(nft.Port(546)), nft.UDPDest.Is(nft.Port(547)), nft.Then(nft.Accept)),
	}
}

func linkLocal() netip.Prefix { return netip.MustParsePrefix("fe80::/10") }

// neighbourDiscovery keeps IPv6 neighbours and routers known (types 133 to 136
// of RFC 4861). A hop limit of 255 proves that the packet crossed no router.
func neighbourDiscovery() nft.Rule {
	return nft.NewRule("", nft.HopLimit.Is([]byte{255}), nft.ICMPv6Type.Between([]byte{133}, []byte{136}), nft.Then(nft.Accept))
}

// groupReports tell switches which multicast groups this host listens to (RFC
// 3810). One that snoops would otherwise stop delivering neighbour discovery.
func groupReports() nft.Rule {
	routers := wholeAddress(netip.MustParseAddr("ff02::16"))
	return nft.NewRule("", nft.HopLimit.Is([]byte{1}), nft.IP6Dest.Within(routers), nft.ICMPv6Type.Is([]byte{143}), nft.Then(nft.Accept))
}

// fragmentationNeeded and packetTooBig match what path MTU discovery needs.
func fragmentationNeeded() [][]nft.Expr {
	return [][]nft.Expr{nft.ICMPType.Is([]byte{3}), nft.ICMPCode.Is([]byte{4}), nft.Then(nft.Accept)}
}

func packetTooBig() [][]nft.Expr {
	return [][]nft.Expr{nft.ICMPv6Type.Is([]byte{2}), nft.Then(nft.Accept)}
}

// related narrows a rule to errors about connections that are kept.
func related(parts [][]nft.Expr) nft.Rule {
	return nft.NewRule("", append([][]nft.Expr{nft.State.Any(nft.Word(nft.Related))}, parts...)...)
}
