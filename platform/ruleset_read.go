package platform

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

// What a rule alone does not show, such as a lease or that two rules are one
// entry, stands in its comment. Comments are claims: readRuleset makes the whole
// table anew from what they say and accepts them only if it comes out the same.

const dhcpNote = "dhcp"

func isolationNote(iso Isolation) string {
	end := "open"
	if iso.Closed {
		end = "closed"
	}
	return fmt.Sprintf("isolated, lease %s, then %s", iso.Lease, end)
}

func peerNote(p Peer) string {
	protocol, way := string(p.Protocol), "out"
	if protocol == "" {
		protocol = "both"
	}
	if p.Inbound {
		way = "in"
	}
	return fmt.Sprintf("keep %s %s %d %s", p.Network, protocol, p.Port, way)
}

func resolverNote(a netip.Addr) string { return "resolver " + a.String() }

// readRuleset is the inverse of ruleset; nil is no table. A table that ruleset
// would not write is an error that wraps ErrAltered and says what differs.
func readRuleset(t *nft.Table) (Restrictions, error) {
	if t == nil {
		return Restrictions{}, nil
	}
	r := Restrictions{Blocked: append(readPorts(t, blockedTCP, TCP), readPorts(t, blockedUDP, UDP)...)}
	for _, c := range t.Chains {
		for _, rule := range c.Rules {
			r.Isolation = readNote(r.Isolation, rule.Comment)
		}
	}
	r = r.Normal()
	want, err := ruleset(r)
	if err != nil {
		return Restrictions{}, fmt.Errorf("%w: %w", ErrAltered, err)
	}
	if want == nil {
		return Restrictions{}, fmt.Errorf("%w: table %s is there but restricts nothing", ErrAltered, tableName)
	}
	if d := nft.Differences(t, want); len(d) > 0 {
		return Restrictions{}, fmt.Errorf("%w: %s", ErrAltered, firstOf(d))
	}
	return r, nil
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
// nothing; the comparison with a new table finds it.
func readNote(iso *Isolation, comment string) *Isolation {
	kind, rest, _ := strings.Cut(comment, " ")
	add := Isolation{}
	if iso != nil {
		add = *iso
	}
	switch strings.TrimSuffix(kind, ",") {
	case "isolated":
		lease, end, _ := strings.Cut(strings.TrimPrefix(rest, "lease "), ", then ")
		add.Lease, _ = time.ParseDuration(lease)
		add.Closed = end == "closed"
	case "keep":
		p, ok := readPeer(rest)
		if !ok {
			return iso
		}
		add.Keep = append(add.Keep, p)
	case "resolver":
		a, err := netip.ParseAddr(rest)
		if err != nil {
			return iso
		}
		add.Resolvers = append(add.Resolvers, a)
	case dhcpNote:
		add.DHCP = true
	default:
		return iso
	}
	return &add
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
