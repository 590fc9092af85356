package platform

import (
	"fmt"
	"strings"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

// tally adds up what the dropping rules of the isolation have counted. The
// kernel counts from zero again when a chain is filled anew; a tally never goes
// back.
type tally struct {
	before uint64            // in chains that were filled anew since
	now    map[string]uint64 // by chain
}

// see takes in what the counters say.
func (t *tally) see(tables []*nft.Table) {
	t.each(tables, func(chain string, dropped uint64) {
		if dropped < t.now[chain] { // somebody else emptied it
			t.before += t.now[chain]
		}
		t.now[chain] = dropped
	})
}

// replaced takes in that the tables were made into others: chains that became
// others count from zero.
func (t *tally) replaced(have, want []*nft.Table) {
	for _, table := range have {
		for _, c := range table.Chains {
			if name := chainKey(table.Family, c.Name); filledAnew(table.Family, c, tableOf(want, table.Family)) {
				t.before += t.now[name]
				delete(t.now, name)
			}
		}
	}
}

func filledAnew(f nft.Family, c nft.Chain, want *nft.Table) bool {
	if want == nil {
		return true
	}
	for _, w := range want.Chains {
		if w.Name == c.Name {
			return len(nft.Differences(&nft.Table{Family: f, Chains: []nft.Chain{c}}, &nft.Table{Family: f, Chains: []nft.Chain{w}})) > 0
		}
	}
	return true
}

func (t *tally) sum() uint64 {
	n := t.before
	for _, dropped := range t.now {
		n += dropped
	}
	return n
}

func (t *tally) each(tables []*nft.Table, f func(chain string, dropped uint64)) {
	if t.now == nil {
		t.now = map[string]uint64{}
	}
	for _, table := range tables {
		for _, c := range table.Chains {
			if strings.HasPrefix(c.Name, "isolated_") {
				f(chainKey(table.Family, c.Name), droppedIn(c))
			}
		}
	}
}

func chainKey(f nft.Family, chain string) string { return fmt.Sprintf("%d %s", f, chain) }

// droppedIn is how many packets the rules of the chain that drop have counted.
func droppedIn(c nft.Chain) uint64 {
	var n uint64
	for _, r := range c.Rules {
		switch last := r.Exprs[max(0, len(r.Exprs)-1):]; {
		case len(last) == 0:
		case last[0] == nft.Expr(nft.Drop), last[0] == nft.Expr(nft.ResetTCP):
			n += r.Packets()
		}
	}
	return n
}
