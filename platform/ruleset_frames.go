package platform

import (
	"net/netip"
	"slices"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

const (
	isolatedIngress = "isolated_ingress"
	isolatedEgress  = "isolated_egress"

	frameARP   = 0x0806
	frameEAPOL = 0x888e // 802.1X: without it a guarded port would shut the host out

	fragmentHeader byte   = 44 // IPPROTO_FRAGMENT
	ownAddress     uint32 = 2  // RTN_LOCAL
	resetTCP       byte   = 0x04
)

// frameChains cut off what chains of IP do not see: frames that root sends past
// IP, and those of children of a link, such as a macvlan in a container. They
// know no connections; so what is kept passes either way by its address and
// port, and whether it may is judged by the chains of IP, which every packet of
// the host itself passes as well.
func frameChains(iso Isolation, g ground) []nft.Chain {
	var out []nft.Chain
	if g.can.Ingress {
		out = append(out, g.onLinks(isolatedIngress, nft.NetdevIngress, ingressRules(iso, g))...)
	}
	if g.can.Egress {
		out = append(out, g.onLinks(isolatedEgress, nft.NetdevEgress, egressRules(iso))...)
	}
	return out
}

// onLinks hangs the rules on every link there is or will be. Where chains are tied
// to one link, each link has its own, named after it; the rules are there once,
// whatever number of links there is.
func (g ground) onLinks(name string, hook uint32, rules []nft.Rule) []nft.Chain {
	shared := nft.Chain{Name: name, Rules: rules}
	if g.can.AnyDevice {
		shared.Hook = gate(hook)
		shared.Hook.AnyDevice = true
		return []nft.Chain{shared}
	}
	out := []nft.Chain{shared}
	for _, link := range g.links {
		h := gate(hook)
		h.Device = link
		out = append(out, nft.Chain{Name: name + "_" + link, Hook: h, Rules: []nft.Rule{nft.NewRule("", nft.Then(nft.Jump{Chain: name}))}})
	}
	return out
}

func ingressRules(iso Isolation, g ground) []nft.Rule {
	out := append(frameBasics(iso, nft.InIndex),
		nft.NewRule("", fragmentationNeeded()...), nft.NewRule("", packetTooBig()...))
	out = append(out, keptFrames(iso, true)...)
	if iso.DHCP {
		out = append(out, dhcpReplies()...)
	}
	if keepsPrograms(iso) {
		out = append(out, repliesToAnybody(g)...)
	}
	return append(out, dropRule())
}

func egressRules(iso Isolation) []nft.Rule {
	out := append(frameBasics(iso, nft.OutIndex), groupReports())
	out = append(out, keptFrames(iso, false)...)
	if iso.DHCP {
		out = append(out, dhcpRequests()...)
	}
	if keepsPrograms(iso) {
		mark := nft.Word(keptMark)
		out = append(out, nft.NewRule("", nft.PacketMark.Masked(mark, mark), nft.Then(nft.Accept)))
	}
	return append(out, dropRule())
}

// frameBasics are the rules that both ways begin with.
func frameBasics(iso Isolation, link nft.Field) []nft.Rule {
	out := []nft.Rule{nft.NewRule("", link.Is(nft.Word(loopbackIndex)), nft.Then(nft.Accept))}
	return append(append(out, leaseRule(iso)...),
		nft.NewRule("", nft.EtherType.Is(nft.Frame(frameARP)), nft.Then(nft.Accept)),
		nft.NewRule("", nft.EtherType.Is(nft.Frame(frameEAPOL)), nft.Then(nft.Accept)),
		neighbourDiscovery())
}

// keptFrames accept what kept peers and resolvers say, or are told. Fragments
// are not put together yet: those without ports pass by their address. In IPv6
// that is every fragment, since its header hides what follows.
func keptFrames(iso Isolation, entering bool) []nft.Rule {
	var out []nft.Rule
	var networks []netip.Prefix
	for _, f := range flows(iso) {
		out = append(out, nft.NewRule("", f.peer(entering), f.ports(entering), nft.Then(nft.Accept)))
		if n := f.network.Masked(); !slices.Contains(networks, n) {
			networks = append(networks, n)
		}
	}
	for _, n := range networks {
		out = append(out, nft.NewRule("", addressWithin(n, entering), fragments(n.Addr().Is6()), nft.Then(nft.Accept)))
	}
	return out
}

func fragments(v6 bool) []nft.Expr {
	if v6 {
		return nft.NextHeader.Is([]byte{fragmentHeader})
	}
	return nft.LaterFragment()
}

// repliesToAnybody accept what may be a reply to a program that is kept. Whether
// it is, connection tracking knows, and that runs later: the chain of IP judges
// all of it. It is bounded to addresses of this host, so that a macvlan child in
// a container hears nothing; where the kernel cannot tell them here, one may
// receive, but not answer.
func repliesToAnybody(g ground) []nft.Rule {
	var here []nft.Expr
	if g.can.Local {
		here = nft.AddressType.Is(nft.Word(ownAddress))
	}
	var out []nft.Rule
	for _, what := range [][]nft.Expr{
		// A reply is never the first packet of a handshake.
		nft.TCPFlags.Any([]byte{resetTCP | nft.ACK}),
		nft.TransportProtocol.Is([]byte{nft.UDP}),
		fragments(false), fragments(true),
	} {
		out = append(out, nft.NewRule("", what, here, nft.Then(nft.Accept)))
	}
	return out
}
