package platform

import (
	"net/netip"
	"slices"
)

// session is a connection, or a UDP socket without one, with all that decides
// whether an isolation keeps it.
type session struct {
	protocol Protocol
	// local is this end as the peer knows it: where a port is redirected, the
	// one that was asked for. remote is not valid if there is no peer.
	local, remote netip.AddrPort
	inbound       bool // the peer made it
	inner         bool // both ends are in one network namespace: it leaves over lo
	away          bool // it is in another namespace than the host's own
	service       bool // without a peer: its port is not one that the kernel hands out
	program       bool // its program is kept, by user or by unit
}

// kept tells whether the isolation lets the session live. Rules judge packets in
// the same way; what they drop and this keeps would come back at the release.
func kept(iso Isolation, s session) bool {
	switch {
	case s.inner:
		return true
	case !s.remote.IsValid():
		return s.service || (!s.away && (s.program || keepsService(iso, s)))
	case s.away:
		return false // what is forwarded is cut as a whole
	case s.protocol != TCP && s.protocol != UDP:
		return false
	case s.program && !s.inbound, keepsPeer(iso, s):
		return true
	}
	return !s.inbound && (keepsResolver(iso, s) || keepsDHCP(iso, s))
}

// keepsService tells whether kept peers may send to a UDP socket first.
func keepsService(iso Isolation, s session) bool {
	return slices.ContainsFunc(iso.Keep, func(p Peer) bool {
		return p.Inbound && p.Port == s.local.Port() && p.carries(s.protocol)
	})
}

func keepsPeer(iso Isolation, s session) bool {
	port := s.remote.Port()
	if s.inbound {
		port = s.local.Port()
	}
	return slices.ContainsFunc(iso.Keep, func(p Peer) bool {
		return p.Inbound == s.inbound && p.carries(s.protocol) && (p.Port == 0 || p.Port == port) &&
			withinNetwork(p.Network, s.remote.Addr())
	})
}

func (p Peer) carries(protocol Protocol) bool { return p.Protocol == "" || p.Protocol == protocol }

// withinNetwork is Contains where a network may be written as IPv4 inside IPv6.
func withinNetwork(network netip.Prefix, a netip.Addr) bool {
	if n := network.Addr(); n.Is4In6() && network.Bits() >= 96 {
		network = netip.PrefixFrom(n.Unmap(), network.Bits()-96)
	}
	return network.Contains(a)
}

// keepsResolver leaves the interface of a link-local resolver to the rules.
func keepsResolver(iso Isolation, s session) bool {
	return s.remote.Port() == 53 && slices.ContainsFunc(iso.Resolvers, func(a netip.Addr) bool {
		return a.Unmap().WithZone("") == s.remote.Addr()
	})
}

// keepsDHCP knows the ports of RFC 2131 and RFC 8415.
func keepsDHCP(iso Isolation, s session) bool {
	client, server := s.local.Port(), s.remote.Port()
	return iso.DHCP && s.protocol == UDP && ((client == 68 && server == 67) || (client == 546 && server == 547))
}

// mayBeKept tells whether there is any direction in which the session would be
// kept: if not, nobody needs to know who made it. What was redirected may have
// any port.
func mayBeKept(iso Isolation, s session) bool {
	if s.inner || !s.remote.IsValid() || s.program {
		return true
	}
	inbound := slices.ContainsFunc(iso.Keep, func(p Peer) bool { return withinNetwork(p.Network, s.remote.Addr()) })
	s.inbound = false
	return inbound || kept(iso, s)
}

// madeByPeer tells who made a connection. A socket that listens on its local
// port means the peer: nobody else can have that port. Else connection tracking
// knows, unless it came to know the connection in its middle and took the first
// packet that it saw for the beginning; that it did so is told by a port of this
// end that the kernel hands out to those who connect.
func madeByPeer(listens bool, tracked direction, handedOut bool) bool {
	switch {
	case listens:
		return true
	case tracked.known && (tracked.rewritten || !handedOut):
		return tracked.inbound
	}
	return false
}

// direction is what connection tracking says of a connection.
type direction struct {
	known     bool
	inbound   bool // the peer sent first
	rewritten bool // addresses or ports are translated: the entry was made at the start
}
