package platform

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

// ErrAltered says that somebody changed the agent's own firewall rules.
var ErrAltered = errors.New("the agent's firewall rules were altered")

const (
	tableName  = "firebreak"
	blockedTCP = "blocked_tcp"
	blockedUDP = "blocked_udp"

	// gatePriority puts every chain of the agent after connection tracking
	// (-200) and before address translation (-100). After the one, because the
	// direction of a connection is not known earlier: the source port alone
	// would let in whoever chooses it, and the reply to an outgoing datagram
	// looks like a new one. It also means that fragments are put together
	// (-400), so no TCP header is cut in two to hide its flags. Before the
	// other, because published ports are then seen under the number that the
	// outside uses, and need no case of their own.
	gatePriority = -190
)

// ruleset returns the nftables table that puts r in force, or nil if r restricts
// nothing. The rules are the same for every list of blocked ports; only the
// elements of the sets differ, so ports come and go without a rule being touched.
func ruleset(r Restrictions) (*nft.Table, error) {
	r = r.Normal()
	if err := checkRestrictions(r); err != nil {
		return nil, err
	}
	if r.Zero() {
		return nil, nil
	}
	t := &nft.Table{Family: nft.Inet, Name: tableName}
	if len(r.Blocked) > 0 {
		t.Sets = []nft.Set{portSet(blockedTCP, r.Blocked, TCP), portSet(blockedUDP, r.Blocked, UDP)}
		t.Chains = append(t.Chains, blockedChain())
	}
	if r.Isolation != nil {
		t.Chains = append(t.Chains, isolationChains(*r.Isolation)...)
	}
	return t, nil
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
	if r.Isolation == nil {
		return nil
	}
	for _, p := range r.Isolation.Keep {
		if !p.Network.IsValid() {
			return errors.New("keep peer: its network is not valid")
		}
		if !slices.Contains([]Protocol{"", TCP, UDP}, p.Protocol) {
			return fmt.Errorf("keep peer %s: %q is neither tcp nor udp", p.Network, p.Protocol)
		}
	}
	for _, a := range r.Isolation.Resolvers {
		if !a.IsValid() {
			return errors.New("keep resolver: its address is not valid")
		}
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

// loopbackIndex is the number of the interface lo in every network namespace.
const loopbackIndex = 1

func gate(hook uint32) *nft.Hook {
	return &nft.Hook{Type: "filter", Number: hook, Priority: gatePriority, Policy: nft.Accept}
}

// isolationChains cut the host off: nothing comes in, goes out or goes through
// but what iso keeps. There is no rule for "established": each entry lets in
// only the direction of a connection that it speaks of.
func isolationChains(iso Isolation) []nft.Chain {
	in := []nft.Rule{nft.NewRule(isolationNote(iso), nft.InIndex.Is(nft.Word(loopbackIndex)), nft.Then(nft.Accept))}
	out := []nft.Rule{nft.NewRule("", nft.OutIndex.Is(nft.Word(loopbackIndex)), nft.Then(nft.Accept))}
	for _, p := range iso.Keep {
		for _, protocol := range protocols(p.Protocol) {
			f := flow{network: p.Network, protocol: protocol, port: p.Port, inbound: p.Inbound, note: peerNote(p)}
			in, out = append(in, f.entering()), append(out, f.leaving())
		}
	}
	for _, a := range iso.Resolvers {
		for _, protocol := range protocols("") {
			f := flow{network: wholeAddress(a), zone: a.Zone(), protocol: protocol, port: 53, note: resolverNote(a)}
			in, out = append(in, f.entering()), append(out, f.leaving())
		}
	}
	if iso.DHCP {
		in, out = append(in, dhcpReplies()...), append(out, dhcpRequests()...)
	}
	in = append(append(in, neighbourDiscovery(), fragmentationNeeded(), packetTooBig()), nft.NewRule("", nft.Then(nft.Drop)))
	out = append(out, neighbourDiscovery(),
		// A local program learns at once that it cannot connect.
		nft.NewRule("", nft.TransportProtocol.Is([]byte{nft.TCP}), nft.Then(nft.ResetTCP)),
		nft.NewRule("", nft.Then(nft.Drop)))
	return []nft.Chain{
		{Name: "isolated_in", Hook: gate(nft.Prerouting), Rules: in},
		{Name: "isolated_forward", Hook: gate(nft.Forward), Rules: []nft.Rule{nft.NewRule("", nft.Then(nft.Drop))}},
		{Name: "isolated_out", Hook: gate(nft.Output), Rules: out},
	}
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

// flow is one kind of connection that stays possible.
type flow struct {
	network  netip.Prefix // where the peer is
	zone     string       // the interface it is behind, for a link-local address
	protocol Protocol
	port     uint16 // of the peer, or of this host if inbound; 0 is any
	inbound  bool   // the peer connects
	note     string
}

// entering is the rule for packets of the flow that come in: replies, or the
// peer's side of a connection it made.
func (f flow) entering() nft.Rule {
	address, name := nft.IPSource, nft.InName
	if f.addresses().Addr().Is6() {
		address = nft.IP6Source
	}
	if f.inbound {
		return f.rule(address, name, f.field(nft.TCPDest, nft.UDPDest), nft.Original)
	}
	return f.rule(address, name, f.field(nft.TCPSource, nft.UDPSource), nft.Reply)
}

// leaving is the rule for packets of the flow that go out.
func (f flow) leaving() nft.Rule {
	address, name := nft.IPDest, nft.OutName
	if f.addresses().Addr().Is6() {
		address = nft.IP6Dest
	}
	if f.inbound {
		return f.rule(address, name, f.field(nft.TCPSource, nft.UDPSource), nft.Reply)
	}
	return f.rule(address, name, f.field(nft.TCPDest, nft.UDPDest), nft.Original)
}

func (f flow) field(tcp, udp nft.Field) nft.Field {
	if f.protocol == TCP {
		return tcp
	}
	return udp
}

func (f flow) rule(address, name, port nft.Field, direction byte) nft.Rule {
	parts := [][]nft.Expr{address.Within(f.addresses())}
	if f.zone != "" {
		parts = append(parts, name.Is(nft.Name(f.zone)))
	}
	if f.port != 0 {
		parts = append(parts, port.Is(nft.Port(f.port)))
	} else {
		protocol := nft.TCP
		if f.protocol == UDP {
			protocol = nft.UDP
		}
		parts = append(parts, nft.TransportProtocol.Is([]byte{protocol}))
	}
	parts = append(parts, nft.Direction.Is([]byte{direction}), nft.Then(nft.Accept))
	return nft.NewRule(f.note, parts...)
}

// addresses is the network as packets carry it: one that is written as IPv4
// inside IPv6 is IPv4.
func (f flow) addresses() netip.Prefix {
	if a := f.network.Addr(); a.Is4In6() && f.network.Bits() >= 96 {
		return netip.PrefixFrom(a.Unmap(), f.network.Bits()-96)
	}
	return f.network
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
// ARP is not IP and needs no rule here.
func neighbourDiscovery() nft.Rule {
	return nft.NewRule("", nft.HopLimit.Is([]byte{255}), nft.ICMPv6Type.Between([]byte{133}, []byte{136}), nft.Then(nft.Accept))
}

// fragmentationNeeded and packetTooBig let path MTU discovery work for the
// connections that are kept, and for no others.
func fragmentationNeeded() nft.Rule {
	return nft.NewRule("", nft.State.Any(nft.Word(nft.Related)), nft.ICMPType.Is([]byte{3}), nft.ICMPCode.Is([]byte{4}), nft.Then(nft.Accept))
}

func packetTooBig() nft.Rule {
	return nft.NewRule("", nft.State.Any(nft.Word(nft.Related)), nft.ICMPv6Type.Is([]byte{2}), nft.Then(nft.Accept))
}
