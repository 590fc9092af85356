package platform

import (
	"net/netip"
	"strings"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

const (
	walledIn  = "walled_in"
	walledOut = "walled_out"

	// wallKind begins the comments of the wall's rules, so that its entries are
	// not taken for those of an isolation.
	wallKind = "wall"
)

// wallChains let nobody connect to this host but who is kept, and, if the wall
// shuts the way out as well, this host to nobody else. What is only forwarded is
// not this host's. What both sides said before a rule stood in between goes on
// only where a kept flow says so: there is no rule for "established" here either.
func wallChains(w Wall) []nft.Chain {
	in := []nft.Rule{
		nft.NewRule(wallNote(w), nft.InIndex.Is(nft.Word(loopbackIndex)), nft.Then(nft.Accept)),
		nft.NewRule("", nft.AddressType.Is(nft.Word(nft.Unicast)), nft.Then(nft.Accept)),
	}
	out := []nft.Rule{nft.NewRule("", nft.OutIndex.Is(nft.Word(loopbackIndex)), nft.Then(nft.Accept))}
	for _, f := range wallFlows(w) {
		in, out = append(in, f.packetRule(true)), append(out, f.packetRule(false))
	}
	if !w.Shut {
		in = append(in, nft.NewRule("", nft.Direction.Is([]byte{nft.Reply}), nft.Then(nft.Accept)))
	}
	in, out = append(in, noted(dhcpReplies(), "")...), append(out, noted(dhcpRequests(), "")...)
	in = append(in, neighbourDiscovery(), related(fragmentationNeeded()), related(packetTooBig()), dropRule())
	chains := []nft.Chain{{Name: walledIn, Hook: gate(nft.Prerouting), Rules: in}}
	if w.Shut {
		out = append(out, neighbourDiscovery(), groupReports(), dropRule())
		chains = append(chains, nft.Chain{Name: walledOut, Hook: gate(nft.Output), Rules: out})
	}
	return chains
}

// wallFlows are the connections that the wall lets through.
func wallFlows(w Wall) []flow {
	all := flows(Isolation{Keep: w.Keep, Resolvers: w.Resolvers})
	for i := range all {
		all[i].note = wallKind + " " + all[i].note
	}
	return all
}

// noted gives rules another comment.
func noted(rules []nft.Rule, comment string) []nft.Rule {
	for i := range rules {
		rules[i].Comment = comment
	}
	return rules
}

func wallNote(w Wall) string {
	if w.Shut {
		return wallKind + " shut"
	}
	return wallKind + " in"
}

// readWallNote adds what a comment says to w; ok is false if it says nothing of a
// wall.
func readWallNote(w *Wall, comment string) (_ *Wall, ok bool) {
	text, ok := strings.CutPrefix(comment, wallKind+" ")
	if !ok {
		return w, false
	}
	var add Wall
	if w != nil {
		add = *w
	}
	kind, rest, _ := strings.Cut(text, " ")
	switch kind {
	case "in":
	case "shut":
		add.Shut = true
	case keepKind:
		if p, ok := readPeer(rest); ok {
			add.Keep = append(add.Keep, p)
		}
	case resolverKind:
		if a, err := netip.ParseAddr(rest); err == nil {
			add.Resolvers = append(add.Resolvers, a)
		}
	}
	return &add, true
}
