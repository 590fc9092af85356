package platform

import (
	"errors"
	"flag"
	"fmt"
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

func isolated(i Isolation) Restrictions { return Restrictions{Isolation: &i} }

// wholeGround is a kernel that can everything, and a host with two links and a
// unit that runs.
func wholeGround() ground {
	return ground{
		can: everyAbility(), links: []string{"eth0", "wlan0"},
		groups: map[string]group{"rustdesk.service": {level: 2, id: 4711}},
	}
}

// rulesetCases are restrictions by the name of their golden file.
func rulesetCases() map[string]Restrictions {
	return map[string]Restrictions{
		"block-tcp":         {Blocked: []PortRule{{TCP, 445, 445}}},
		"block-udp":         {Blocked: []PortRule{{UDP, 161, 161}}},
		"block-both":        {Blocked: []PortRule{{TCP, 53, 53}, {UDP, 53, 53}}},
		"block-span":        {Blocked: []PortRule{{TCP, 5900, 5999}}},
		"block-many":        {Blocked: []PortRule{{TCP, 6379, 6379}, {TCP, 23, 23}, {TCP, 24, 30}, {UDP, 69, 69}, {TCP, 445, 445}}},
		"block-ends":        {Blocked: []PortRule{{TCP, 0, 0}, {TCP, 65535, 65535}, {UDP, 60000, 65535}}},
		"block-all":         {Blocked: []PortRule{{TCP, 0, 65535}, {UDP, 0, 65535}}},
		"wall":              {Wall: &Wall{}},
		"wall-keep":         {Wall: &Wall{Keep: []Peer{{Network: prefix("10.20.0.0/16"), Protocol: TCP, Port: 22, Inbound: true}, {Network: prefix("192.0.2.10/32"), Protocol: TCP, Port: 4222}}}},
		"wall-shut":         {Wall: &Wall{Shut: true, Resolvers: []netip.Addr{netip.MustParseAddr("192.0.2.53")}, Keep: []Peer{{Network: prefix("192.0.2.10/32"), Protocol: TCP, Port: 4222}}}},
		"wall-isolated":     {Wall: &Wall{}, Isolation: &Isolation{Lease: time.Minute}, Blocked: []PortRule{{TCP, 445, 445}}},
		"isolate":           isolated(Isolation{}),
		"isolate-lease":     isolated(Isolation{Lease: 15 * time.Minute}),
		"isolate-closed":    isolated(Isolation{Lease: time.Hour, Closed: true}),
		"isolate-max":       isolated(Isolation{Lease: time.Hour, Max: 4 * time.Hour}),
		"isolate-last":      isolated(Isolation{Lease: time.Hour, Max: 10 * time.Minute}),
		"isolate-shut":      isolated(Isolation{Lease: time.Hour, Closed: true, Max: 4 * time.Hour}),
		"isolate-users":     isolated(Isolation{Users: []uint32{1000, 0}, Lease: time.Minute}),
		"isolate-absent":    isolated(Isolation{Units: []string{"absent.service"}}),
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

// groundCases are restrictions on a ground of their own, by the name of their
// golden file.
func groundCases() map[string]struct {
	Restrictions
	ground
} {
	type onGround = struct {
		Restrictions
		ground
	}
	r := isolated(Isolation{
		Keep:  []Peer{{Network: prefix("192.0.2.10/32"), Protocol: TCP, Port: 4222}, {Network: prefix("2001:db8::/64"), Protocol: TCP, Port: 22, Inbound: true}},
		Units: []string{"rustdesk.service"}, Users: []uint32{1000}, Lease: 15 * time.Minute,
	})
	out := map[string]onGround{"ground-whole": {r, wholeGround()}}
	for name, without := range map[string]func(*ground){
		"ground-unowned":    func(g *ground) { g.can.Owned = false },
		"ground-no-bridge":  func(g *ground) { g.can.Bridge = false },
		"ground-no-ingress": func(g *ground) { g.can.Ingress = false },
		"ground-no-egress":  func(g *ground) { g.can.Egress = false },
		"ground-no-frames":  func(g *ground) { g.can.Ingress, g.can.Egress = false, false },
		"ground-each-link":  func(g *ground) { g.can.AnyDevice = false },
		"ground-no-links":   func(g *ground) { g.can.AnyDevice, g.links = false, nil },
		"ground-no-reject":  func(g *ground) { g.can.Reject = false },
		"ground-no-groups":  func(g *ground) { g.can.Groups = false },
		"ground-no-local":   func(g *ground) { g.can.Local = false },
		"ground-least":      func(g *ground) { g.can = abilities{} },
		"ground-old":        func(g *ground) { g.can = abilities{Ingress: true, Bridge: true, Reject: true} },
	} {
		g := wholeGround()
		without(&g)
		out[name] = onGround{r, g}
	}
	for name, r := range rulesetCases() {
		out[name] = onGround{r, wholeGround()}
	}
	return out
}

func rulesetText(tables []*nft.Table) string {
	var b strings.Builder
	for _, t := range tables {
		b.WriteString(t.Text())
	}
	return b.String()
}

func golden(name string) string { return filepath.Join("testdata", "ruleset", name+".nft") }

func TestRulesetText(t *testing.T) {
	for name, c := range groundCases() {
		tables, err := rulesets(c.Restrictions, c.ground)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := rulesetText(tables)
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
	if tables, err := rulesets(Restrictions{}, wholeGround()); tables != nil || err != nil {
		t.Errorf("got %v, %v; want no table", tables, err)
	}
}

func TestRulesetRefuses(t *testing.T) {
	valid := prefix("10.0.0.0/8")
	for want, r := range map[string]Restrictions{
		"not supported":     {Denied: []PortRule{{TCP, 445, 445}}},
		"neither tcp nor":   {Blocked: []PortRule{{"sctp", 1, 1}}},
		`"" is neither`:     {Blocked: []PortRule{{"", 7, 7}}},
		"backwards":         {Blocked: []PortRule{{TCP, 9, 8}}},
		"network is not":    {Isolation: &Isolation{Keep: []Peer{{Port: 1}}}},
		`"icmp" is neith`:   {Isolation: &Isolation{Keep: []Peer{{Network: valid, Protocol: "icmp"}}}},
		"address is not v":  {Isolation: &Isolation{Resolvers: []netip.Addr{{}}}},
		"name of a unit":    {Isolation: &Isolation{Units: []string{"../x.service"}}},
		"time that is over": {Isolation: &Isolation{Lease: -time.Second}},
	} {
		tables, err := rulesets(r, wholeGround())
		if err == nil || !strings.Contains(err.Error(), want) || tables != nil {
			t.Errorf("got %v; want an error with %q", err, want)
		}
		if len(r.Denied) > 0 && !errors.Is(err, ErrUnsupported) {
			t.Errorf("denied binds: got %v; want ErrUnsupported", err)
		}
	}
}

func TestReadRulesetsIsTheInverse(t *testing.T) {
	cases := groundCases()
	for i := range 500 {
		c := cases["ground-whole"]
		rnd := rand.New(rand.NewPCG(1, uint64(i)))
		c.Restrictions, c.can = randomRestrictions(rnd), randomAbilities(rnd)
		cases[fmt.Sprintf("random %d", i)] = c
	}
	for name, c := range cases {
		tables, err := rulesets(c.Restrictions, c.ground)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := readRulesets(tables, c.ground)
		if err != nil || !got.Equal(c.Restrictions) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, c.Restrictions)
		}
		if claimed := readClaims(tables); !claimed.restrictions.Equal(c.Restrictions) {
			t.Errorf("%s: claims %+v; want %+v", name, claimed.restrictions, c.Restrictions)
		}
	}
}

func TestReadClaimsOfGround(t *testing.T) {
	c := groundCases()["ground-each-link"]
	tables, err := rulesets(c.Restrictions, c.ground)
	if err != nil {
		t.Fatal(err)
	}
	got := readClaims(tables)
	if d := cmp.Diff(c.links, got.links); d != "" {
		t.Errorf("links (-want +got):\n%s", d)
	}
	if got.groups["rustdesk.service"] != c.groups["rustdesk.service"] {
		t.Errorf("groups: got %v; want %v", got.groups, c.groups)
	}
}

// What a kernel lacks is said, one sentence each.
func TestAbilitiesLack(t *testing.T) {
	iso := Isolation{Users: []uint32{1}, Units: []string{"a.service", "b.service"}}
	if got := everyAbility().lacks(iso); got != nil {
		t.Errorf("a whole isolation lacks %q", got)
	}
	for want, can := range map[string]func(*abilities){
		"belong to the agent":    func(a *abilities) { a.Owned = false },
		"no bridge rules":        func(a *abilities) { a.Bridge = false },
		"no netdev ingress hook": func(a *abilities) { a.Ingress = false },
		"no netdev egress hook":  func(a *abilities) { a.Egress = false },
		"cannot reject":          func(a *abilities) { a.Reject = false },
		"a.service, b.service":   func(a *abilities) { a.Groups = false },
		"macvlan may receive":    func(a *abilities) { a.Local = false },
	} {
		a := everyAbility()
		can(&a)
		if got := a.lacks(iso); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("got %q; want one sentence with %q", got, want)
		}
	}
}

// An isolation whose lease has ended is none, if nothing else is amiss.
func TestReadRulesetsKnowsAnEndedLease(t *testing.T) {
	r := rulesetCases()["isolate-and-block"]
	made := func() []*nft.Table {
		tables, err := rulesets(r, wholeGround())
		if err != nil {
			t.Fatal(err)
		}
		return tables
	}
	ended := made()
	for _, table := range ended {
		table.Set(leaseSetName).Elements = nil
	}
	got, err := readRulesets(ended, wholeGround())
	if err != nil || got.Isolation != nil || len(got.Blocked) == 0 {
		t.Errorf("ended: got %+v, %v; want blocks and no isolation", got, err)
	}
	ended[1].Chains = nil
	if got, err := readRulesets(ended, wholeGround()); !errors.Is(err, ErrAltered) {
		t.Errorf("ended and altered: got %+v, %v; want ErrAltered", got, err)
	}

	nearly := made()
	for i, left := range []time.Duration{0, time.Millisecond, time.Second} {
		nearly[i].Set(leaseSetName).Elements[0].Left = left
	}
	nearly[0].Set(leaseSetName).Elements = nil
	if got, err := readRulesets(nearly, wholeGround()); err != nil || got.Isolation != nil {
		t.Errorf("ended in the first table: got %+v, %v; want no isolation", got, err)
	}

	taken := made()
	taken[2].Set(leaseSetName).Elements = nil
	if got, err := readRulesets(taken, wholeGround()); !errors.Is(err, ErrAltered) {
		t.Errorf("taken out of one table: got %+v, %v; want ErrAltered", got, err)
	}
}

func TestReadRulesetsFindsAlterations(t *testing.T) {
	whole := rulesetCases()["isolate-and-block"]
	type tables = []*nft.Table
	for want, alter := range map[string]func(tables) tables{
		"lacks the rule": func(t tables) tables { t[0].Chains[0].Rules = t[0].Chains[0].Rules[1:]; return t },
		"not the agent's": func(t tables) tables {
			t[0].Chains[1].Rules = append(t[0].Chains[1].Rules, nft.NewRule("", nft.Then(nft.Accept)))
			return t
		},
		"repeated or in another": func(t tables) tables {
			t[0].Chains[1].Rules = append(t[0].Chains[1].Rules, t[0].Chains[1].Rules[1])
			return t
		},
		"chain isolated_in is miss": func(t tables) tables {
			t[0].Chains = append(t[0].Chains[:1:1], t[0].Chains[2:]...)
			t[0].Chains[2].Rules = append(t[0].Chains[2].Rules, nft.NewRule("isolated, lease 15m0s, then open"))
			return t
		},
		"another policy": func(t tables) tables { t[0].Chains[2].Hook.Policy = nft.Drop; return t },
		"hangs somewhere": func(t tables) tables {
			t[2].Chains[0].Hook.AnyDevice, t[2].Chains[0].Hook.Device = false, "eth0"
			return t
		},
		"chain backdoor was added":       func(t tables) tables { t[0].Chains = append(t[0].Chains, nft.Chain{Name: "backdoor"}); return t },
		"set x was added":                func(t tables) tables { t[0].Sets = append(t[0].Sets, nft.Set{Name: "x"}); return t },
		"set blocked_udp is miss":        func(t tables) tables { t[0].Sets = append(t[0].Sets[:1], t[0].Sets[2:]...); return t },
		"elements of set lease":          func(t tables) tables { t[1].Set(leaseSetName).Elements = nil; return t },
		"flags are":                      func(t tables) tables { t[0].Flags = nft.Dormant; return t },
		`flags are ""`:                   func(t tables) tables { t[1].Flags = 0; return t },
		"restricts nothing":              func(t tables) tables { t[0].Chains, t[0].Sets = nil, nil; return t[:1] },
		"table netdev firebreak is miss": func(t tables) tables { return t[:2] },
		"table bridge firebreak is miss": func(t tables) tables { return append(t[:1:1], t[2]) },
		"table inet firebreak is miss":   func(t tables) tables { return t[1:] },
	} {
		made, err := rulesets(whole, wholeGround())
		if err != nil {
			t.Fatal(err)
		}
		_, err = readRulesets(alter(made), wholeGround())
		if !errors.Is(err, ErrAltered) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want ErrAltered with %q", err, want)
		}
	}
	// Tables whose owner has ended hold as before.
	made, err := rulesets(whole, wholeGround())
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range made {
		table.Flags = nft.Persist
	}
	if got, err := readRulesets(made, wholeGround()); err != nil || !got.Equal(whole) {
		t.Errorf("orphans: got %+v, %v; want %+v", got, err, whole)
	}
	r := isolated(Isolation{})
	if made, err = rulesets(r, wholeGround()); err != nil {
		t.Fatal(err)
	}
	blocks, err := rulesets(rulesetCases()["block-tcp"], wholeGround())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readRulesets(append(blocks, made[1]), wholeGround()); !errors.Is(err, ErrAltered) || !strings.Contains(err.Error(), "bridge firebreak was added") {
		t.Errorf("got %+v, %v; want ErrAltered", got, err)
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
	if rnd.IntN(2) == 0 {
		a := randomAddr(rnd)
		r.Wall = &Wall{
			Shut: rnd.IntN(2) == 0, Resolvers: []netip.Addr{randomAddr(rnd)},
			Keep: []Peer{{Network: netip.PrefixFrom(a, rnd.IntN(a.BitLen()+1)), Protocol: protocol(3), Port: 22, Inbound: rnd.IntN(2) == 0}},
		}
	}
	if rnd.IntN(3) == 0 {
		return r
	}
	r.Isolation = &Isolation{DHCP: rnd.IntN(2) == 0, Closed: rnd.IntN(2) == 0, Lease: time.Duration(rnd.IntN(5)) * 7 * time.Minute, Max: time.Duration(rnd.IntN(3)) * 90 * time.Second}
	if rnd.IntN(3) == 0 {
		r.Isolation.Users = []uint32{rnd.Uint32(), 1000, 0}
		r.Isolation.Units = []string{"rustdesk.service", "absent@1.service"}[:rnd.IntN(3)]
	}
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

func randomAbilities(rnd *rand.Rand) abilities {
	yes := func() bool { return rnd.IntN(3) > 0 }
	return abilities{
		Owned: yes(), Bridge: yes(), Ingress: yes(), Egress: yes(),
		AnyDevice: yes(), Reject: yes(), Groups: yes(), Local: yes(),
	}
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
