package platform

import (
	"errors"
	"flag"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

var updateRuleset = flag.Bool("update", false, "write testdata/ruleset anew")

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// rulesetCases are restrictions by the name of their golden file.
func rulesetCases() map[string]Restrictions {
	isolated := func(i Isolation) Restrictions { return Restrictions{Isolation: &i} }
	return map[string]Restrictions{
		"block-tcp":         {Blocked: []PortRule{{TCP, 445, 445}}},
		"block-udp":         {Blocked: []PortRule{{UDP, 161, 161}}},
		"block-both":        {Blocked: []PortRule{{TCP, 53, 53}, {UDP, 53, 53}}},
		"block-span":        {Blocked: []PortRule{{TCP, 5900, 5999}}},
		"block-many":        {Blocked: []PortRule{{TCP, 6379, 6379}, {TCP, 23, 23}, {TCP, 24, 30}, {UDP, 69, 69}, {TCP, 445, 445}}},
		"block-ends":        {Blocked: []PortRule{{TCP, 0, 0}, {TCP, 65535, 65535}, {UDP, 60000, 65535}}},
		"block-all":         {Blocked: []PortRule{{TCP, 0, 65535}, {UDP, 0, 65535}}},
		"isolate":           isolated(Isolation{}),
		"isolate-lease":     isolated(Isolation{Lease: 15 * time.Minute}),
		"isolate-closed":    isolated(Isolation{Lease: time.Hour, Closed: true}),
		"isolate-dhcp":      isolated(Isolation{DHCP: true}),
		"isolate-hub":       isolated(Isolation{Keep: []Peer{{Network: prefix("192.0.2.10/32"), Protocol: TCP, Port: 4222}}}),
		"isolate-hub6":      isolated(Isolation{Keep: []Peer{{Network: prefix("2001:db8::10/128"), Protocol: TCP, Port: 4222}}}),
		"isolate-admins":    isolated(Isolation{Keep: []Peer{{Network: prefix("10.20.0.0/16"), Protocol: TCP, Port: 22, Inbound: true}}}),
		"isolate-any":       isolated(Isolation{Keep: []Peer{{Network: prefix("0.0.0.0/0"), Protocol: UDP}, {Network: prefix("::/0"), Protocol: TCP, Port: 443}}}),
		"isolate-both":      isolated(Isolation{Keep: []Peer{{Network: prefix("198.51.100.0/25"), Port: 88}}}),
		"isolate-overlap":   isolated(Isolation{Keep: []Peer{{Network: prefix("10.0.0.0/8"), Protocol: TCP}, {Network: prefix("10.1.2.3/8"), Protocol: TCP, Port: 443}, {Network: prefix("10.1.0.0/16"), Port: 443}, {Network: prefix("10.1.0.0/16"), Protocol: TCP, Port: 443}}}),
		"isolate-mapped":    isolated(Isolation{Keep: []Peer{{Network: prefix("::ffff:192.0.2.0/120"), Protocol: TCP, Port: 443}}}),
		"isolate-resolvers": isolated(Isolation{Resolvers: []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53"), netip.MustParseAddr("fe80::1%eth0")}}),
		"isolate-and-block": {
			Blocked: []PortRule{{TCP, 22, 22}},
			Isolation: &Isolation{
				Keep: []Peer{{Network: prefix("192.0.2.10/32"), Protocol: TCP, Port: 4222}, {Network: prefix("192.0.2.0/24"), Protocol: TCP, Port: 22, Inbound: true}},
				DHCP: true, Lease: 15 * time.Minute, Resolvers: []netip.Addr{netip.MustParseAddr("192.0.2.53")},
			},
		},
	}
}

func golden(name string) string { return filepath.Join("testdata", "ruleset", name+".nft") }

func TestRulesetText(t *testing.T) {
	for name, r := range rulesetCases() {
		table, err := ruleset(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := table.Text()
		if *updateRuleset {
			if err := os.WriteFile(golden(name), []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden(name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestRulesetOfNothingIsNoTable(t *testing.T) {
	if table, err := ruleset(Restrictions{}); table != nil || err != nil {
		t.Errorf("got %v, %v; want no table", table, err)
	}
}

func TestRulesetRefuses(t *testing.T) {
	valid := prefix("10.0.0.0/8")
	for want, r := range map[string]Restrictions{
		"not supported":    {Denied: []PortRule{{TCP, 445, 445}}},
		"neither tcp nor":  {Blocked: []PortRule{{"sctp", 1, 1}}},
		`"" is neither`:    {Blocked: []PortRule{{"", 7, 7}}},
		"backwards":        {Blocked: []PortRule{{TCP, 9, 8}}},
		"network is not":   {Isolation: &Isolation{Keep: []Peer{{Port: 1}}}},
		`"icmp" is neith`:  {Isolation: &Isolation{Keep: []Peer{{Network: valid, Protocol: "icmp"}}}},
		"address is not v": {Isolation: &Isolation{Resolvers: []netip.Addr{{}}}},
	} {
		table, err := ruleset(r)
		if err == nil || !strings.Contains(err.Error(), want) || table != nil {
			t.Errorf("got %v; want an error with %q", err, want)
		}
		if len(r.Denied) > 0 && !errors.Is(err, ErrUnsupported) {
			t.Errorf("denied binds: got %v; want ErrUnsupported", err)
		}
	}
}

func TestReadRulesetIsTheInverse(t *testing.T) {
	cases := rulesetCases()
	for i := range 500 {
		cases["random "+string(rune('a'+i%26))+strings.Repeat("'", i/26)] = randomRestrictions(rand.New(rand.NewPCG(1, uint64(i))))
	}
	for name, want := range cases {
		table, err := ruleset(want)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := readRuleset(table)
		if err != nil || !got.Equal(want) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, want)
		}
	}
}

func TestReadRulesetFindsAlterations(t *testing.T) {
	whole := rulesetCases()["isolate-and-block"]
	for want, alter := range map[string]func(*nft.Table){
		"lacks the rule": func(t *nft.Table) { t.Chains[0].Rules = t.Chains[0].Rules[1:] },
		"not the agent's": func(t *nft.Table) {
			t.Chains[1].Rules = append(t.Chains[1].Rules, nft.NewRule("", nft.Then(nft.Accept)))
		},
		"repeated or in another":    func(t *nft.Table) { t.Chains[1].Rules = append(t.Chains[1].Rules, t.Chains[1].Rules[0]) },
		"chain isolated_in is miss": func(t *nft.Table) { t.Chains = append(t.Chains[:1:1], t.Chains[2:]...) },
		"another policy":            func(t *nft.Table) { t.Chains[2].Hook.Policy = nft.Drop },
		"chain backdoor was added":  func(t *nft.Table) { t.Chains = append(t.Chains, nft.Chain{Name: "backdoor"}) },
		"set x was added":           func(t *nft.Table) { t.Sets = append(t.Sets, nft.Set{Name: "x"}) },
		"set blocked_udp is miss":   func(t *nft.Table) { t.Sets = t.Sets[:1] },
		"flags are":                 func(t *nft.Table) { t.Flags = nft.Dormant },
		"restricts nothing":         func(t *nft.Table) { t.Chains, t.Sets = nil, nil },
	} {
		table, err := ruleset(whole)
		if err != nil {
			t.Fatal(err)
		}
		alter(table)
		_, err = readRuleset(table)
		if !errors.Is(err, ErrAltered) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want ErrAltered with %q", err, want)
		}
	}
}

// randomRestrictions makes restrictions that are valid, and often odd.
func randomRestrictions(rnd *rand.Rand) Restrictions {
	var r Restrictions
	protocol := func(n int) Protocol { return []Protocol{TCP, UDP, ""}[rnd.IntN(n)] }
	for range rnd.IntN(6) {
		a, b := uint16(rnd.Uint32()), uint16(rnd.Uint32())
		if rnd.IntN(2) == 0 {
			b = a
		}
		r.Blocked = append(r.Blocked, PortRule{protocol(2), min(a, b), max(a, b)})
	}
	if rnd.IntN(3) == 0 {
		return r
	}
	r.Isolation = &Isolation{DHCP: rnd.IntN(2) == 0, Closed: rnd.IntN(2) == 0, Lease: time.Duration(rnd.IntN(5)) * 7 * time.Minute}
	for range rnd.IntN(5) {
		a := randomAddr(rnd)
		r.Isolation.Keep = append(r.Isolation.Keep, Peer{
			Network: netip.PrefixFrom(a, rnd.IntN(a.BitLen()+1)), Protocol: protocol(3),
			Port: []uint16{0, 22, 443, uint16(rnd.Uint32())}[rnd.IntN(4)], Inbound: rnd.IntN(2) == 0,
		})
	}
	for range rnd.IntN(3) {
		r.Isolation.Resolvers = append(r.Isolation.Resolvers, randomAddr(rnd))
	}
	return r
}

func randomAddr(rnd *rand.Rand) netip.Addr {
	var b [16]byte
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	if rnd.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}
