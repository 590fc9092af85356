package nft

import (
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
)

// changes returns the requests that make the tables of have into those of want,
// to be sent as one transaction. What restricts comes before what is removed.
func changes(have, want []*Table) []netlink.Message {
	var out []netlink.Message
	for _, w := range want {
		out = append(out, tableChanges(find(have, w.Key()), w)...)
	}
	for _, h := range have {
		if find(want, h.Key()) == nil {
			out = append(out, encodeTableRemoval(h))
		}
	}
	return out
}

func find(tables []*Table, k Key) *Table {
	for _, t := range tables {
		if t.Key() == k {
			return t
		}
	}
	return nil
}

// tableChanges makes have into want; nil means that there is no such table.
//
// A table that stays is changed in place: sets lose and gain elements, chains
// are emptied and filled again. Deleting a chain or a table and making it anew,
// even in one transaction, lets a few packets through between the two; it is
// done only where the kernel allows nothing else.
//
// A table that outlived its owner is adopted as it is; the kernel allows no
// other change of a table's flags.
func tableChanges(have, want *Table) []netlink.Message {
	switch {
	case have == nil:
		return append([]netlink.Message{encodeTable(want)}, fill(&Table{}, want)...)
	case have.Flags == Persist && want.Flags == Owner|Persist:
		return slices.Concat([]netlink.Message{encodeTable(want)}, drain(have, want), fill(have, want))
	case have.Flags != want.Flags:
		return append([]netlink.Message{encodeTableRemoval(have), encodeTable(want)}, fill(&Table{}, want)...)
	}
	return append(drain(have, want), fill(have, want)...)
}

// drain takes away what want does not have: rules first, since they hold on to
// sets and chains.
func drain(have, want *Table) []netlink.Message {
	var flush, remove []netlink.Message
	for _, c := range have.Chains {
		wanted := want.chain(c.Name)
		if wanted == nil || !sameRules(want.Family, c, *wanted) || !c.Hook.equal(wanted.Hook) {
			flush = append(flush, encodeFlush(want, c.Name))
		}
		if wanted == nil || !c.Hook.equal(wanted.Hook) {
			remove = append(remove, encodeChainRemoval(want, c.Name))
		}
	}
	for _, s := range have.Sets {
		wanted := want.Set(s.Name)
		switch {
		case wanted == nil || !s.sameShape(*wanted):
			remove = append(remove, encodeSetRemoval(want, s.Name))
		default:
			if gone := s.without(*wanted); gone != nil {
				remove = append(remove, encodeElements(delElement, want, s, gone))
			}
		}
	}
	return append(flush, remove...)
}

// fill adds what have lacks.
func fill(have, want *Table) []netlink.Message {
	var out []netlink.Message
	for i, s := range want.Sets {
		old := have.Set(s.Name)
		if old == nil || !old.sameShape(s) {
			out = append(out, encodeSet(want, s, uint32(i+1)))
			old = &Set{}
		}
		if added := s.without(*old); added != nil {
			out = append(out, encodeElements(newElement, want, s, added))
		}
	}
	var rules []netlink.Message // after all chains, since one may jump to a later one
	for _, c := range want.Chains {
		old := have.chain(c.Name)
		if old == nil || !old.Hook.equal(c.Hook) {
			out = append(out, encodeChain(want, c))
			old = &Chain{}
		}
		if sameRules(want.Family, *old, c) {
			continue
		}
		for _, r := range c.Rules {
			rules = append(rules, encodeRule(want, c.Name, r))
		}
	}
	return append(out, rules...)
}

func sameRules(f Family, a, b Chain) bool {
	return slices.EqualFunc(rulesIn(f, a), rulesIn(f, b), Rule.equal)
}

// rulesIn returns a chain's rules as they must be in a table of that family.
func rulesIn(f Family, c Chain) []Rule {
	out := make([]Rule, len(c.Rules))
	for i, r := range c.Rules {
		out[i] = r.in(f)
	}
	return out
}

// Differences says in words how what is in force differs from what is wanted;
// it is empty if they are the same.
func Differences(have, want *Table) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if have.Flags != want.Flags {
		say("the table's flags are %q, not %q", flagNames(have.Flags), flagNames(want.Flags))
	}
	for _, s := range want.Sets {
		old := have.Set(s.Name)
		switch {
		case old == nil:
			say("set %s is missing", s.Name)
		case !old.sameShape(s):
			say("set %s is of another kind", s.Name)
		case s.without(*old) != nil || old.without(s) != nil:
			say("the elements of set %s are others", s.Name)
		}
	}
	for _, c := range want.Chains {
		old := have.chain(c.Name)
		switch {
		case old == nil:
			say("chain %s is missing", c.Name)
		case !old.Hook.equal(c.Hook):
			say("chain %s hangs somewhere else or has another policy", c.Name)
		default:
			out = append(out, ruleDifferences(want.Family, *old, c)...)
		}
	}
	for _, s := range have.Sets {
		if want.Set(s.Name) == nil {
			say("set %s was added", s.Name)
		}
	}
	for _, c := range have.Chains {
		if want.chain(c.Name) == nil {
			say("chain %s was added", c.Name)
		}
	}
	return out
}

func ruleDifferences(f Family, have, want Chain) []string {
	if sameRules(f, have, want) {
		return nil
	}
	var out []string
	ours, theirs := rulesIn(f, want), rulesIn(f, have)
	for _, r := range ours {
		if !slices.ContainsFunc(theirs, r.equal) {
			out = append(out, fmt.Sprintf("chain %s lacks the rule %s", want.Name, r.Text()))
		}
	}
	for _, r := range theirs {
		if !slices.ContainsFunc(ours, r.equal) {
			out = append(out, fmt.Sprintf("chain %s has the rule %s, which is not the agent's", want.Name, r.Text()))
		}
	}
	if out == nil {
		out = append(out, fmt.Sprintf("the rules of chain %s are repeated or in another order", want.Name))
	}
	return out
}
