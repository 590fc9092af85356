package platform

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

// What a rule alone does not show, such as a lease or that two rules are one
// entry, stands in its comment. Comments are claims: readRulesets makes all the
// tables anew from what they say and accepts them only if they come out the same.

const (
	isolatedKind = "isolated"
	keepKind     = "keep"
	resolverKind = "resolver"
	dhcpNote     = "dhcp"
	userKind     = "user"
	unitKind     = "unit"
)

func isolationNote(iso Isolation) string {
	longest, end := "", "open"
	if iso.Max > 0 {
		longest = fmt.Sprintf(", max %s", iso.Max)
	}
	if iso.Closed {
		end = "closed"
	}
	return fmt.Sprintf("%s, lease %s%s, then %s", isolatedKind, iso.Lease, longest, end)
}

func peerNote(p Peer) string {
	protocol, way := string(p.Protocol), "out"
	if protocol == "" {
		protocol = "both"
	}
	if p.Inbound {
		way = "in"
	}
	return fmt.Sprintf("%s %s %s %d %s", keepKind, p.Network, protocol, p.Port, way)
}

func resolverNote(a netip.Addr) string { return resolverKind + " " + a.String() }
func userNote(uid uint32) string       { return fmt.Sprintf("%s %d", userKind, uid) }
func unitNote(unit string) string      { return unitKind + " " + unit }

// claims are what tables say of themselves.
type claims struct {
	restrictions Restrictions
	links        []string         // that have chains of their own
	groups       map[string]group // by unit
}

func readClaims(have []*nft.Table) claims {
	c := claims{groups: map[string]group{}}
	for _, t := range have {
		c.restrictions.Blocked = append(c.restrictions.Blocked, append(readPorts(t, blockedTCP, TCP), readPorts(t, blockedUDP, UDP)...)...)
		for _, chain := range t.Chains {
			if h := chain.Hook; h != nil && h.Device != "" && !slices.Contains(c.links, h.Device) {
				c.links = append(c.links, h.Device)
			}
			for _, rule := range chain.Rules {
				if wall, ok := readWallNote(c.restrictions.Wall, rule.Comment); ok {
					c.restrictions.Wall = wall
				} else {
					c.restrictions.Isolation = readNote(c.restrictions.Isolation, rule.Comment)
				}
				if unit, ok := strings.CutPrefix(rule.Comment, unitKind+" "); ok {
					c.readGroup(unit, rule)
				}
			}
		}
	}
	c.restrictions = c.restrictions.Normal()
	return c
}

// readGroup reads the control group that a rule matches.
func (c claims) readGroup(unit string, rule nft.Rule) {
	for i, e := range rule.Exprs {
		load, ok := e.(nft.Cgroup)
		if !ok || i+1 == len(rule.Exprs) {
			continue
		}
		if test, ok := rule.Exprs[i+1].(nft.Cmp); ok && len(test.Value) == 8 {
			c.groups[unit] = group{load.Level, binary.NativeEndian.Uint64(test.Value)}
		}
	}
}

// readRulesets is the inverse of rulesets. Tables that rulesets would not write
// are an error that wraps ErrAltered and says what differs. An isolation whose
// lease has ended is none, though its rules are still there.
func readRulesets(have []*nft.Table, g ground) (Restrictions, error) {
	r := readClaims(have).restrictions
	want, err := rulesets(r, g)
	if err != nil {
		return Restrictions{}, fmt.Errorf("%w: %w", ErrAltered, err)
	}
	if len(have) > 0 && len(want) == 0 {
		return Restrictions{}, fmt.Errorf("%w: table %s is there but restricts nothing", ErrAltered, tableName)
	}
	left, ends := leaseLeft(have)
	if ends && left == 0 && r.Isolation != nil {
		r.Isolation = nil
		have, want = withoutLease(have), withoutLease(want)
	}
	if d := tableDifferences(have, want, g.can.Owned); len(d) > 0 {
		return Restrictions{}, fmt.Errorf("%w: %s", ErrAltered, firstOf(d))
	}
	return r, nil
}

// leaseLeft is how long the kernel still keeps the isolation. One that has a
// lease ends with the first table that lets go; without a lease it never ends.
// The tables' leases run out together: one that is gone while another has
// seconds left was taken away by somebody, and then nothing has ended.
func leaseLeft(have []*nft.Table) (left time.Duration, ends bool) {
	const together = 2 * time.Second
	var shortest, longest time.Duration
	for _, t := range have {
		s := t.Set(leaseSetName)
		if s == nil {
			continue
		}
		var here time.Duration
		for _, e := range s.Elements {
			here = max(here, e.Left)
		}
		if !ends {
			shortest = here
		}
		shortest, longest, ends = min(shortest, here), max(longest, here), true
	}
	if shortest == 0 && longest > together {
		return longest, ends
	}
	return shortest, ends
}

// withoutLease returns the tables with the sets of the lease empty.
func withoutLease(tables []*nft.Table) []*nft.Table {
	var out []*nft.Table
	for _, t := range tables {
		ended := *t
		ended.Sets = slices.Clone(t.Sets)
		if s := ended.Set(leaseSetName); s != nil {
			s.Elements = nil
		}
		out = append(out, &ended)
	}
	return out
}

// tableDifferences says in words how the tables that are there differ from those
// that are wanted.
func tableDifferences(have, want []*nft.Table, owned bool) []string {
	var out []string
	for _, w := range want {
		h := tableOf(have, w.Family)
		if h == nil {
			out = append(out, fmt.Sprintf("table %s %s is missing", familyName(w.Family), tableName))
			continue
		}
		// The owner of a table may be gone: what persists belongs to nobody then,
		// and works as before.
		if orphan := *h; owned && h.Flags == nft.Persist {
			orphan.Flags |= nft.Owner
			h = &orphan
		}
		out = append(out, nft.Differences(h, w)...)
	}
	for _, h := range have {
		if tableOf(want, h.Family) == nil {
			out = append(out, fmt.Sprintf("table %s %s was added", familyName(h.Family), tableName))
		}
	}
	return out
}

func familyName(f nft.Family) string {
	switch f {
	case nft.Bridge:
		return "bridge"
	case nft.Netdev:
		return "netdev"
	}
	return "inet"
}

// tableOf returns the table of that family, or nil.
func tableOf(tables []*nft.Table, f nft.Family) *nft.Table {
	for _, t := range tables {
		if t.Family == f {
			return t
		}
	}
	return nil
}

// firstOf keeps an error short: the first three differences stand for the rest.
func firstOf(differences []string) string {
	more := ""
	if n := len(differences) - 3; n > 0 {
		differences, more = differences[:3], fmt.Sprintf("; and %d more", n)
	}
	return strings.Join(differences, "; ") + more
}

func readPorts(t *nft.Table, set string, protocol Protocol) []PortRule {
	s := t.Set(set)
	if s == nil {
		return nil
	}
	var out []PortRule
	for _, e := range s.Elements {
		if len(e.First) == 2 && len(e.Last) == 2 {
			out = append(out, PortRule{protocol, binary.BigEndian.Uint16(e.First), binary.BigEndian.Uint16(e.Last)})
		}
	}
	return out
}

// readNote adds what a comment says to iso. A comment that is not ours says
// nothing; the comparison with new tables finds it.
func readNote(iso *Isolation, comment string) *Isolation {
	kind, rest, _ := strings.Cut(comment, " ")
	add := Isolation{}
	if iso != nil {
		add = *iso
	}
	ok := true
	switch strings.TrimSuffix(kind, ",") {
	case isolatedKind:
		readTerms(&add, rest)
	case keepKind:
		var p Peer
		p, ok = readPeer(rest)
		add.Keep = append(add.Keep, p)
	case resolverKind:
		a, err := netip.ParseAddr(rest)
		ok = err == nil
		add.Resolvers = append(add.Resolvers, a)
	case userKind:
		uid, err := strconv.ParseUint(rest, 10, 32)
		ok = err == nil
		add.Users = append(add.Users, uint32(uid))
	case unitKind:
		add.Units = append(add.Units, rest)
	case dhcpNote:
		add.DHCP = true
	default:
		ok = false
	}
	if !ok {
		return iso
	}
	return &add
}

// readTerms reads "lease 15m0s, max 4h0m0s, then open".
func readTerms(iso *Isolation, s string) {
	for term := range strings.SplitSeq(s, ", ") {
		name, value, _ := strings.Cut(term, " ")
		switch name {
		case "lease":
			iso.Lease, _ = time.ParseDuration(value)
		case "max":
			iso.Max, _ = time.ParseDuration(value)
		case "then":
			iso.Closed = value == "closed"
		}
	}
}

func readPeer(s string) (Peer, bool) {
	words := strings.Fields(s)
	if len(words) != 4 {
		return Peer{}, false
	}
	network, err := netip.ParsePrefix(words[0])
	port, err2 := strconv.ParseUint(words[2], 10, 16)
	if err != nil || err2 != nil {
		return Peer{}, false
	}
	p := Peer{Network: network, Protocol: Protocol(words[1]), Port: uint16(port), Inbound: words[3] == "in"}
	if p.Protocol == "both" {
		p.Protocol = ""
	}
	return p, true
}
