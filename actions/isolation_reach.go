package actions

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/platform"
)

// judgeMounts says which file systems would hang: where the system itself or the
// agent's state is on one of them, isolation is refused.
func judgeMounts(mounts []platform.NetworkMount, keep []platform.Peer, stateDir string) (refused, costs []string) {
	for _, m := range mounts {
		port := m.Port
		if port == 0 {
			port = fileServerPorts[m.Kind]
		}
		server := netip.AddrPortFrom(m.Server.Unmap().WithZone(""), port)
		vital := slices.ContainsFunc([]string{"/usr", "/home", stateDir}, func(path string) bool { return within(path, m.Path) })
		switch {
		case m.Server.IsValid() && reaches(keep, platform.TCP, server):
		case !m.Server.IsValid() && vital:
			costs = append(costs, fmt.Sprintf("it is not known whether this computer goes on: %s is on network storage (%s) whose server is not known", m.Path, m.Kind))
		case vital:
			refused = append(refused, fmt.Sprintf("%s is on the server %s (%s), which is not in isolation.keep, and this computer would hang: add %s",
				m.Path, server.Addr(), m.Kind, entry(server)))
		default:
			costs = append(costs, fmt.Sprintf("programs that use %s hang: it is on network storage (%s)", m.Path, m.Kind))
		}
	}
	return refused, costs
}

// fileServerPorts are where servers listen that a mount names without a port.
var fileServerPorts = map[string]uint16{
	"nfs": 2049, "nfs4": 2049, "cifs": 445, "smb3": 445, "iscsi": 3260, "nbd": 10809, "ceph": 6789, "9p": 564, "fuse.sshfs": 22,
}

// within tells whether path is dir, or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// reaches tells whether this host may connect to a peer while isolated. Port 0
// of the peer is a port that is not known.
func reaches(keep []platform.Peer, protocol platform.Protocol, to netip.AddrPort) bool {
	return slices.ContainsFunc(keep, func(p platform.Peer) bool {
		return !p.Inbound && p.Network.Contains(to.Addr()) && (p.Port == 0 || p.Port == to.Port()) &&
			(p.Protocol == "" || protocol == "" || p.Protocol == protocol)
	})
}

// entry writes a peer as isolation.keep does; port 0 is every port.
func entry(peer netip.AddrPort) string {
	switch {
	case peer.Port() != 0:
		return peer.String()
	case peer.Addr().Is6():
		return "[" + peer.Addr().String() + "]"
	}
	return peer.Addr().String()
}

// way is how packets leave for one address that is kept.
type way struct {
	to    netip.Prefix
	must  bool // this host connects to it: it is how the host is managed
	route platform.Route
	err   error
}

// waysTo asks for the way to everybody who is kept by address. Of a network the
// way to its first address stands for all.
func waysTo(ctx context.Context, routes platform.Routes, iso platform.Isolation) []way {
	var ways []way
	add := func(to netip.Prefix, must bool) {
		at := slices.IndexFunc(ways, func(w way) bool { return w.to == to })
		switch {
		case to.Addr().IsUnspecified():
		case at >= 0:
			ways[at].must = ways[at].must || must
		default:
			w := way{to: to, must: must}
			w.route, w.err = routes.To(ctx, to.Addr())
			ways = append(ways, w)
		}
	}
	for _, p := range iso.Keep {
		add(p.Network, !p.Inbound && p.Network.IsSingleIP())
	}
	for _, addr := range iso.Resolvers {
		add(netip.PrefixFrom(addr, addr.BitLen()), false)
	}
	return ways
}

// judgeWays says whom an isolated host would not reach although he is kept.
func judgeWays(ways []way, iso platform.Isolation) (refused, costs []string) {
	var lost, unknown, tunnels []string
	var unknownWhy error
	through := map[string][]way{} // by the name of the tunnel
	for _, w := range ways {
		switch {
		case errors.Is(w.err, platform.ErrNoRoute) && w.must:
			lost = append(lost, networkName(w.to))
		case errors.Is(w.err, platform.ErrNoRoute):
		case w.err != nil:
			unknown, unknownWhy = append(unknown, networkName(w.to)), w.err
		case w.route.Link.Tunnel:
			name := w.route.Link.Name
			if through[name] == nil {
				tunnels = append(tunnels, name)
			}
			through[name] = append(through[name], w)
		}
	}
	if len(lost) > 0 {
		costs = append(costs, fmt.Sprintf("no way leads to %s now, so it cannot be reached while isolated either, though policy keeps it", enumerate(lost, 4)))
	}
	if len(unknown) > 0 {
		costs = append(costs, fmt.Sprintf("it is not known which way leads to %s: %v", enumerate(unknown, 4), unknownWhy))
	}
	for _, name := range tunnels {
		must, sentence := judgeTunnel(through[name], iso)
		switch {
		case sentence == "":
		case must:
			refused = append(refused, sentence)
		default:
			costs = append(costs, sentence)
		}
	}
	return refused, costs
}

// judgeTunnel says what becomes of those who are reached through one tunnel; ""
// if they stay. It must not be where the host is managed that way.
func judgeTunnel(ways []way, iso platform.Isolation) (must bool, sentence string) {
	link := ways[0].route.Link
	var whom []string
	for _, w := range ways {
		whom = append(whom, networkName(w.to))
		must = must || w.must
	}
	sentence = fmt.Sprintf("the way to %s is the tunnel %s, ", enumerate(whom, 4), link.Name)
	if userspace := link.Kind == "tun" || link.Kind == "tap"; userspace && len(iso.Units)+len(iso.Users) > 0 {
		return false, sentence + "which stays only if its program is one that policy keeps"
	}
	var kept, lost []string
	for _, end := range link.Outer {
		end = netip.AddrPortFrom(end.Addr().Unmap().WithZone(""), end.Port())
		switch {
		case end.Port() == 0:
			return must, sentence + fmt.Sprintf("whose packets to %s are neither tcp nor udp and so cannot be kept: keep an address outside the tunnel", end.Addr())
		case reaches(iso.Keep, tunnelProtocols[link.Kind], end):
			kept = append(kept, entry(end))
		default:
			lost = append(lost, entry(end)+suffix(tunnelProtocols[link.Kind]))
		}
	}
	switch {
	case len(kept)+len(lost) == 0 && (link.Kind == "tun" || link.Kind == "tap"):
		return must, sentence + "whose far end is not known: keep its program (unit:NAME.service), or an address outside the tunnel"
	case len(kept)+len(lost) == 0:
		return must, sentence + "whose far end is not known, so it cannot be kept: keep an address outside the tunnel"
	case len(kept) > 0 && len(lost) > 0:
		return false, sentence + "which has several far ends: it stays only if its packets do not go to " + enumerate(lost, 4)
	case len(lost) == 1:
		return must, sentence + "whose far end " + lost[0] + " is not in isolation.keep: add it"
	case len(lost) > 1:
		return must, sentence + "none of whose far ends is in isolation.keep: add " + enumerate(lost, 4)
	}
	return false, ""
}

// tunnelProtocols are what carries a tunnel, where its kind tells.
var tunnelProtocols = map[string]platform.Protocol{
	"wireguard": platform.UDP, "vxlan": platform.UDP, "geneve": platform.UDP, "bareudp": platform.UDP, "amt": platform.UDP, "gtp": platform.UDP,
}

// suffix is how isolation.keep says a protocol that is not tcp.
func suffix(protocol platform.Protocol) string {
	if protocol == platform.UDP {
		return "/udp"
	}
	return ""
}

// notReached names what isolating the host would not cut off.
func notReached(n platform.Network) []string {
	var refused []string
	for _, link := range n.Away {
		refused = append(refused, fmt.Sprintf("the network card %s would not be cut off: end what uses it there, or give it back to this computer", link))
	}
	for _, table := range n.Flowtables {
		refused = append(refused, fmt.Sprintf("the flowtable %s forwards packets past every rule, so they would not be cut off: take it away first", table))
	}
	return refused
}
