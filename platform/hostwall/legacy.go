package hostwall

import (
	"slices"
	"strings"
)

// Legacy are the tables of iptables of old that the kernel has in force beside
// nftables, by family: "filter", "nat". Their rules are not read.
type Legacy struct{ V4, V6 []string }

// Equal tells whether the same tables are in force.
func (l Legacy) Equal(other Legacy) bool {
	return slices.Equal(l.V4, other.V4) && slices.Equal(l.V6, other.V6)
}

func (l Legacy) has(table string) bool {
	return slices.Contains(l.V4, table) || slices.Contains(l.V6, table)
}

func (l Legacy) of(v6 bool) []string {
	if v6 {
		return l.V6
	}
	return l.V4
}

func (l Legacy) translates(v6 bool) bool { return slices.Contains(l.of(v6), "nat") }

// noted says of who gets in that rules which are not read may keep them out.
func (l Legacy) noted(a Access, v6 bool) Access {
	tables := l.of(v6)
	if len(tables) == 0 || a.rank() == 0 {
		return a
	}
	note := "legacy iptables (" + printable(strings.Join(tables, ", ")) + ") cannot be judged, so it counts as open"
	if a.Why == "" {
		a.Why = note
	} else {
		a.Why += "; " + note
	}
	return a
}
