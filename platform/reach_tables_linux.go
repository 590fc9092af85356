package platform

import (
	"github.com/firebreak-sec/firebreak/platform/hostwall"
	"github.com/firebreak-sec/firebreak/platform/nft"
)

// wallTables are tables as read, for the judge of the host's own firewall.
func wallTables(read []*nft.ForeignTable) []hostwall.Table {
	out := make([]hostwall.Table, 0, len(read))
	for _, t := range read {
		w := hostwall.Table{Family: hostwall.Family(t.Family), Name: t.Name, Dormant: t.Dormant}
		for _, c := range t.Chains {
			w.Chains = append(w.Chains, hostwall.Chain{Name: c.Name, Hook: wallHook(c.Hook), Rules: wallRules(c.Rules)})
		}
		for _, s := range t.Sets {
			w.Sets = append(w.Sets, hostwall.Set{
				Name: s.Name, Fields: s.Fields, Len: s.Len, Changing: s.Changing, Elements: wallElements(s.Elements),
			})
		}
		out = append(out, w)
	}
	return out
}

func wallHook(h *nft.Hook) *hostwall.Hook {
	if h == nil {
		return nil
	}
	return &hostwall.Hook{
		Type: h.Type, Number: h.Number, Priority: h.Priority, Drop: h.Policy == nft.Drop,
		Device: h.Device, AnyDevice: h.AnyDevice,
	}
}

func wallRules(read [][]nft.Unknown) [][]hostwall.Expression {
	out := make([][]hostwall.Expression, 0, len(read))
	for _, rule := range read {
		exprs := make([]hostwall.Expression, 0, len(rule))
		for _, e := range rule {
			exprs = append(exprs, hostwall.Expression(e))
		}
		out = append(out, exprs)
	}
	return out
}

func wallElements(read []nft.ForeignElement) []hostwall.Element {
	out := make([]hostwall.Element, 0, len(read))
	for _, e := range read {
		out = append(out, hostwall.Element{
			First: e.First, Last: e.Last, CatchAll: e.CatchAll, Sometimes: e.Sometimes,
			Value: e.Value, Verdict: (*hostwall.Verdict)(e.Verdict),
		})
	}
	return out
}
