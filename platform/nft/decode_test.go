package nft

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
)

// everything is a table with one of each thing this package can write.
func everything() Table {
	return Table{
		Family: Inet, Name: "t", Flags: Owner | Persist,
		Sets: []Set{
			{Name: "lease", Key: []Type{Mark}, Timed: true, Elements: []Element{{First: Word(0), Last: Word(0), Timeout: 15 * time.Minute}}},
			{Name: "ports", Key: []Type{InetService}, Interval: true, Elements: []Element{
				{First: Port(22), Last: Port(22)}, {First: Port(23), Last: Port(25)}, {First: Port(60000), Last: Port(65535)},
			}},
			{Name: "peers", Key: []Type{IPv4Addr, InetProto, InetService}, Interval: true, Elements: []Element{
				{First: []byte{10, 0, 0, 0, 6, 1, 187}, Last: []byte{10, 255, 255, 255, 6, 1, 188}},
			}},
			{Name: "six", Key: []Type{IPv6Addr}, Elements: []Element{{First: bytes.Repeat([]byte{1}, 16), Last: bytes.Repeat([]byte{1}, 16)}}},
		},
		Chains: []Chain{
			{Name: "in", Hook: &Hook{Type: "filter", Number: Input, Priority: -190, Policy: Accept}, Rules: []Rule{
				NewRule("a note", IPSource.Within(netip.MustParsePrefix("10.0.0.0/9")), TCPDest.In("ports"), TCPFlags.Masked([]byte{SYN | ACK}, []byte{SYN}), Then(Accept)),
				NewRule("", IP6Dest.Within(netip.MustParsePrefix("::/0")), UDPSource.Is(Port(53)), Direction.Is([]byte{Reply}), Then(Drop)),
				NewRule("", State.Any(Word(New|Related)), AddressType.Is(Word(Unicast)), Then(Verdict(Accept))),
				NewRule("", InName.Is(Name("eth0")), ICMPv6Type.Between([]byte{133}, []byte{136}), Then(ResetTCP)),
				NewRule("", TransportProtocol.Is([]byte{UDP}), Then(Reject{Type: 2, Code: 3})),
				NewRule("", LeaseEnded("lease"), Then(Accept)),
				NewRule("", UserID.Is(Word(1000)), PacketMark.With(16), ConnMark.With(16), Then(Counter{}), Then(Accept)),
				NewRule("", ControlGroup(1).Is(Long(77)), ConnMark.Any(Word(16)), PacketMark.Masked(Word(0x80), Word(0x80)), PacketMark.NotIn("lease"), Then(Accept)),
				NewRule("", LaterFragment(), EtherType.Is(Frame(0x0806)), NextHeader.Is([]byte{44}), Then(Accept)),
			}},
			{Name: "plain"},
		},
	}
}

func TestTableText(t *testing.T) {
	want := `table inet t {
	flags owner,persist
	set lease {
		type mark
		flags timeout
		elements = { 0x00000000 timeout 15m0s }
	}
	set ports {
		type inet_service
		flags interval
		elements = { 22, 23-25, 60000-65535 }
	}
	set peers {
		type ipv4_addr . inet_proto . inet_service
		flags interval
		elements = { 10.0.0.0-10.255.255.255 . 6 . 443-444 }
	}
	set six {
		type ipv6_addr
		elements = { 101:101:101:101:101:101:101:101 }
	}
	chain in {
		type filter hook input priority -190; policy accept;
		ip saddr 10.0.0.0/9 tcp dport @ports tcp flags & (syn | ack) == syn accept comment "a note"
		meta nfproto ipv6 udp sport 53 ct direction reply drop
		ct state related,new fib daddr type unicast accept
		iifname "eth0" icmpv6 type 133-136 reject with tcp reset
		meta l4proto udp [reject {2 3}]
		meta mark & 0x00000000 != @lease accept
		meta skuid 1000 meta mark set meta mark | 0x00000010 ct mark set ct mark | 0x00000010 counter accept
		socket cgroupv2 level 1 77 ct mark & 0x00000010 != 0x00000000 meta mark & 0x00000080 == 0x00000080 meta mark != @lease accept
		ip frag-off & 8191 != 0 meta protocol arp ip6 nexthdr 44 accept
	}
	chain plain {
	}
}
`
	if d := cmp.Diff(want, everything().Text()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// What is written can be read again.
func TestDecodeIsTheInverseOfEncode(t *testing.T) {
	want := everything()
	got, err := decodeTable(encodeTable(&want))
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range want.Sets {
		_, read, ok, err := decodeSet(encodeSet(&want, s, uint32(i)))
		if err != nil || !ok {
			t.Fatalf("set %s: %v, %v", s.Name, ok, err)
		}
		bounds, err := decodeElements(encodeElements(newElement, &want, s, s.Elements))
		if err != nil {
			t.Fatal(err)
		}
		read.Elements = elements(s, bounds)
		got.Sets = append(got.Sets, read)
	}
	for _, c := range want.Chains {
		_, read, err := decodeChain(encodeChain(&want, c))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Rules {
			_, _, rule, err := decodeRule(encodeRule(&want, c.Name, r))
			if err != nil {
				t.Fatal(err)
			}
			read.Rules = append(read.Rules, rule)
		}
		got.Chains = append(got.Chains, read)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// belowIP is a table of the netdev family, which knows IP by the type of frames.
func belowIP() Table {
	hook := func(device string) *Hook {
		return &Hook{Type: "filter", Number: NetdevEgress, Priority: -190, Policy: Accept, Device: device, AnyDevice: device == ""}
	}
	return Table{Family: Netdev, Name: "t", Chains: []Chain{
		{Name: "every", Hook: hook(""), Rules: []Rule{
			NewRule("", NetworkProtocol.Is([]byte{V4}), UDPDest.Is(Port(67)), Then(Accept)),
			NewRule("", IP6Dest.Within(netip.MustParsePrefix("ff02::16/128")), ICMPv6Type.Is([]byte{143}), HopLimit.Is([]byte{1}), Then(Counter{}), Then(Drop)),
			NewRule("", IPSource.Within(netip.MustParsePrefix("192.0.2.0/24")), LaterFragment(), Then(Accept)),
			NewRule("", EtherType.Is(Frame(0x888e)), Then(Accept)),
			NewRule("", EtherType.Is(Frame(0x86dd)), Then(Drop)),
		}},
		{Name: "one", Hook: hook("eth0")},
	}}
}

func TestRulesBelowIP(t *testing.T) {
	table := belowIP()
	want := `table netdev t {
	chain every {
		type filter hook egress devices = { "*" } priority -190; policy accept;
		meta protocol ip udp dport 67 accept
		ip6 daddr ff02::16 icmpv6 type 143 ip6 hoplimit 1 counter drop
		ip saddr 192.0.2.0/24 ip frag-off & 8191 != 0 accept
		meta protocol 0x888e accept
		meta protocol ip6 drop
	}
	chain one {
		type filter hook egress device "eth0" priority -190; policy accept;
	}
}
`
	if d := cmp.Diff(want, table.Text()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for _, c := range table.Chains {
		_, read, err := decodeChain(encodeChain(&table, c))
		if err != nil || !read.Hook.equal(c.Hook) {
			t.Errorf("chain %s: got hook %+v, %v", c.Name, read.Hook, err)
		}
		for _, r := range c.Rules {
			_, _, rule, err := decodeRule(encodeRule(&table, c.Name, r))
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(rule.Exprs, func(e Expr) bool { return e == NetworkProtocol.load }) {
				t.Errorf("rule %s asks for NetworkProtocol, which netdev does not know", rule.Text())
			}
			read.Rules = append(read.Rules, rule)
		}
		if !sameRules(Netdev, read, c) {
			t.Errorf("chain %s: what was written is not what was read: %q", c.Name, ruleDifferences(Netdev, read, c))
		}
	}
}

// A hook on several devices, which is never ours, equals none of ours.
func TestSeveralDevices(t *testing.T) {
	m := message(newChain, Netdev, 0, func(ae *encoder) {
		nest(ae, attrChainHook, func(hook *encoder) {
			nest(hook, attrHookDevices, func(devices *encoder) {
				devices.String(attrDevicePrefix, "eth")
				devices.String(attrDeviceName, "lo")
			})
		})
	})
	_, c, err := decodeChain(m)
	if err != nil || c.Hook.AnyDevice || c.Hook.Device != "eth* lo" {
		t.Errorf("got %+v, %v", c.Hook, err)
	}
}

// What a counter has counted is no difference, and can be read.
func TestCounter(t *testing.T) {
	table := belowIP()
	_, _, r, err := decodeRule(encodeRule(&table, "every", NewRule("", Then(Counter{Packets: 7, Bytes: 700}), Then(Drop))))
	if err != nil || r.Packets() != 7 || !r.equal(NewRule("", Then(Counter{}), Then(Drop))) {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestChanges(t *testing.T) {
	kinds := func(ms []netlink.Message) string {
		names := map[command]string{
			newTable: "+table", delTable: "-table", newSet: "+set", delSet: "-set", newChain: "+chain", delChain: "-chain",
			newRule: "+rule", delRule: "flush", newElement: "+element", delElement: "-element",
		}
		var out []string
		for _, m := range ms {
			out = append(out, names[command(m.Header.Type&0xff)])
		}
		return strings.Join(out, " ")
	}
	tables := func(t *Table) []*Table {
		if t == nil {
			return nil
		}
		return []*Table{t}
	}
	whole := everything()
	change := func(f func(*Table)) *Table { c := everything(); f(&c); return &c }
	for _, c := range []struct {
		name       string
		have, want *Table
		out        string
	}{
		{"nothing", nil, nil, ""},
		{"the same", &whole, &whole, ""},
		{"gone", &whole, nil, "-table"},
		{"an element", &whole, change(func(t *Table) { t.Sets[1].Elements = t.Sets[1].Elements[1:] }), "-element"},
		{"another element", &whole, change(func(t *Table) { t.Sets[1].Elements[0] = Element{First: Port(80), Last: Port(80)} }), "-element +element"},
		{"a rule", &whole, change(func(t *Table) { t.Chains[0].Rules = t.Chains[0].Rules[:2] }), "flush +rule +rule"},
		{"a chain less", &whole, change(func(t *Table) { t.Chains = t.Chains[:1] }), "flush -chain"},
		{"a chain more", change(func(t *Table) { t.Chains = t.Chains[:1] }), &whole, "+chain"},
		{"a set less", &whole, change(func(t *Table) { t.Sets = t.Sets[:3] }), "-set"},
		{"another hook", &whole, change(func(t *Table) { t.Chains[0].Hook.Priority++ }), "flush -chain +chain +rule +rule +rule +rule +rule +rule +rule +rule +rule"},
		{"new", nil, change(func(t *Table) { t.Sets, t.Chains = t.Sets[:1], t.Chains[1:] }), "+table +set +element +chain"},
		{"an orphan", change(func(t *Table) { t.Flags = Persist }), &whole, "+table"},
		{"other flags", &whole, change(func(t *Table) { t.Flags = 0; t.Sets, t.Chains = nil, nil }), "-table +table"},
	} {
		if got := kinds(changes(tables(c.have), tables(c.want))); got != c.out {
			t.Errorf("%s: got %q; want %q", c.name, got, c.out)
		}
	}
}

// A rule with anything in it that this package does not write is not ours.
func TestForeignExpressionsAreUnknown(t *testing.T) {
	table := everything()
	m := encodeRule(&table, "in", NewRule("", TCPDest.Is(Port(22)), Then(Accept)))
	inverted := bytes.Replace(m.Data, []byte("payload\x00"), []byte("paylorn\x00"), 1)
	_, _, r, err := decodeRule(netlink.Message{Data: inverted})
	if err != nil || !strings.Contains(r.Text(), "[paylorn") {
		t.Errorf("got %q, %v; want the unknown expression shown", r.Text(), err)
	}
	if _, ok := decodeExpr("lookup", []byte{8, 0, 5, 0, 0, 0, 0, 2}); ok {
		t.Error("a lookup with a flag that is not ours passed for one of ours")
	}
}

func FuzzDecode(f *testing.F) {
	table := everything()
	netdev := belowIP()
	table.Chains = append(table.Chains, netdev.Chains...)
	f.Add(encodeTable(&table).Data)
	for _, c := range table.Chains {
		f.Add(encodeChain(&table, c).Data)
		for _, r := range c.Rules {
			f.Add(encodeRule(&table, c.Name, r).Data)
		}
	}
	for _, s := range table.Sets {
		f.Add(encodeSet(&table, s, 1).Data)
		f.Add(encodeElements(newElement, &table, s, s.Elements).Data)
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		m := netlink.Message{Data: data}
		got, _ := decodeTable(m)
		if _, c, err := decodeChain(m); err == nil {
			got.Chains = append(got.Chains, c)
		}
		if _, _, r, err := decodeRule(m); err == nil {
			got.Chains = append(got.Chains, Chain{Rules: []Rule{r}})
		}
		bounds, _ := decodeElements(m)
		for _, s := range append(table.Sets, Set{}) {
			s.Elements = elements(s, bounds)
			got.Sets = append(got.Sets, s)
		}
		if _, s, _, err := decodeSet(m); err == nil {
			s.Elements = elements(s, bounds)
			got.Sets = append(got.Sets, s)
		}
		_ = got.Text()
		_ = Differences(&got, &table)
		_ = changes([]*Table{&got}, []*Table{&table})
		_, _ = decodeGeneration(m)
		_, _ = decodeTouched(m)
		_, _ = decodeFlowtable(m)
	})
}
