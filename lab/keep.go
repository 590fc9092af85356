//go:build linux

package lab

import (
	"net/netip"
	"slices"
)

// Keep is what may still pass between an isolated host and the world. It is
// written from the contract, not from the rules: it judges them.
type Keep struct {
	Peers     []Peer
	Resolvers []netip.Addr
	DHCP      bool
}

// Peer is somebody who stays reachable.
type Peer struct {
	Network netip.Prefix
	UDP     bool   // else TCP
	Port    uint16 // of the peer; of the host if inbound
	Inbound bool   // the peer connects to the host; else the host to the peer
}

// Allows tells whether a packet may pass while the host is isolated. It judges
// each packet alone, so it cannot tell a reply over UDP from what nobody asked
// for; in TCP the flags tell who began. A VLAN tag changes nothing.
func (k Keep) Allows(p Packet) bool {
	switch {
	case p.Broken:
		return false
	case p.EtherType == etherARP || p.EtherType == etherEAPOL:
		return true
	case p.EtherType == etherIPv4 && p.Protocol == protoUDP && p.is(68, 67):
		return k.DHCP && !p.Later
	case p.EtherType == etherIPv6 && p.Protocol == protoUDP && p.is(546, 547):
		return k.DHCP && !p.Later
	case p.EtherType == etherIPv4 && p.Protocol == protoICMP:
		return p.Type == 3 && p.Code == 4 && k.knows(p.peer()) && !p.Later // fragmentation needed
	case p.EtherType == etherIPv6 && p.Protocol == protoICMPv6:
		return !p.Later && k.allowsICMPv6(p)
	case p.Protocol == protoTCP || p.Protocol == protoUDP:
		return k.allowsFlow(p)
	}
	return false
}

// is tells whether a datagram is between a port of the host and one of the peer.
func (p Packet) is(host, peer uint16) bool {
	if p.Out {
		return p.FromPort == host && p.ToPort == peer
	}
	return p.FromPort == peer && p.ToPort == host
}

// peer is the side that is not the host.
func (p Packet) peer() netip.Addr {
	if p.Out {
		return p.To
	}
	return p.From
}

func (k Keep) allowsICMPv6(p Packet) bool {
	switch p.Type {
	case 2: // packet too big
		return k.knows(p.peer())
	case 133, 134, 135, 136: // neighbour discovery; 255 proves that no router forwarded it
		return p.HopLimit == 255
	case 143: // the groups of the host, told to its own link
		return p.Out && p.HopLimit == 1 && p.To == netip.MustParseAddr("ff02::16")
	}
	return false
}

// knows tells whether an address is kept in any way.
func (k Keep) knows(a netip.Addr) bool {
	return slices.Contains(k.Resolvers, a) ||
		slices.ContainsFunc(k.Peers, func(peer Peer) bool { return peer.Network.Contains(a) })
}

func (k Keep) allowsFlow(p Packet) bool {
	if slices.Contains(k.Resolvers, p.peer()) &&
		(Peer{Port: 53, UDP: p.Protocol == protoUDP}).allows(p) {
		return true
	}
	return slices.ContainsFunc(k.Peers, func(peer Peer) bool {
		return peer.Network.Contains(p.peer()) && peer.allows(p)
	})
}

// allows judges all but the address.
func (peer Peer) allows(p Packet) bool {
	if peer.UDP != (p.Protocol == protoUDP) {
		return false
	}
	if p.Later {
		return true
	}
	port := p.ToPort
	if p.Out == peer.Inbound {
		port = p.FromPort
	}
	if port != peer.Port {
		return false
	}
	if peer.UDP {
		return true
	}
	// Who connects sends SYN, and who is connected to SYN and ACK.
	byBeginner := p.Out != peer.Inbound
	switch p.Flags & (tcpSYN | tcpACK) {
	case tcpSYN:
		return byBeginner
	case tcpSYN | tcpACK:
		return !byBeginner
	}
	return true
}
