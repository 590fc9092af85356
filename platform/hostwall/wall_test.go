package hostwall_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/firebreak-sec/firebreak/platform/hostwall"
)

var (
	addressSet = hostwall.Set{Name: "lan", Len: 4, Elements: []hostwall.Element{
		{First: []byte{10, 0, 0, 0}, Last: []byte{10, 255, 255, 255}}, {First: []byte{192, 168, 0, 0}, Last: []byte{192, 168, 255, 255}},
	}}
	portSet = hostwall.Set{Name: "services", Len: 2, Elements: []hostwall.Element{
		one(portBytes(22)), {First: portBytes(8000), Last: portBytes(8010)},
	}}
	pairSet = hostwall.Set{Name: "pairs", Len: 8, Fields: []int{4, 2}, Elements: []hostwall.Element{
		{First: append([]byte{10, 0, 0, 0}, 0, 22, 0, 0), Last: append([]byte{10, 255, 255, 255}, 0, 22, 0, 0)},
	}}
	verdicts = hostwall.Set{Name: "__map0", Len: 2, Elements: []hostwall.Element{
		{First: portBytes(22), Last: portBytes(22), Verdict: &hostwall.Verdict{Code: 1}},
		{CatchAll: true, Verdict: &hostwall.Verdict{Code: 0}},
	}}
	changing = hostwall.Set{Name: "banned", Len: 4, Changing: true}
)

func port() []hostwall.Expression { return payload(2, 2, 2) }
func from() []hostwall.Expression { return rule(meta(15), is(2), payload(1, 12, 4)) }

// A packet of TCP over IPv4 for port 22, from anywhere.
func TestJudge(t *testing.T) {
	tests := []struct {
		name   string
		tables []hostwall.Table
		want   string // any, lan, none
		why    string // part of what is said; "-" is nothing at all
	}{
		{"no tables", nil, "any", "-"},
		{"policy drop", input(), "none", "nftables table inet t, chain c, policy drop"},
		{"policy accept", open(), "any", "-"},
		{"port accepted", input(rule(tcp(22), accept())), "any", "chain c, rule 1: tcp dport 22 accept"},
		{"another port accepted", input(rule(tcp(23), accept())), "none", "policy drop"},
		{"port dropped", open(rule(tcp(22), drop())), "none", "rule 1: tcp dport 22 drop"},
		{"every other port dropped", open(rule(isTCP(), port(), compare(1, portBytes(22)...), drop())), "any", "-"},
		{"port below", input(rule(isTCP(), port(), compare(2, portBytes(1024)...), accept())), "any", "dport < 1024"},
		{"port at least", input(rule(isTCP(), port(), compare(5, portBytes(1024)...), accept())), "none", "policy drop"},
		{"range", input(rule(isTCP(), port(), expression("range", number(1, 1), number(2, 0), value(3, portBytes(20)...), value(4, portBytes(25)...)), accept())), "any", "dport 20-25"},
		{"not in range", input(rule(isTCP(), port(), expression("range", number(1, 1), number(2, 1), value(3, portBytes(20)...), value(4, portBytes(25)...)), accept())), "none", ""},
		{"other protocol", input(rule(meta(16), is(17), accept())), "none", ""},
		{"other family", input(rule(meta(15), is(10), accept())), "none", ""},

		{"private sources", input(rule(sourceIn("10.0.0.0/8"), accept())), "lan", "policy drop"},
		{"public sources", input(rule(sourceIn("203.0.113.0/24"), accept())), "any", "saddr 203.0.113.0"},
		{"private sources dropped", open(rule(sourceIn("10.0.0.0/8"), drop())), "any", "-"},
		{"all but the private dropped", input(rule(sourceIn("10.0.0.0/8"), tcp(22), accept()), rule(tcp(22), drop())), "lan", "rule 2"},
		{"loopback sources", input(rule(sourceIn("127.0.0.0/8"), accept())), "none", ""},
		{"sources of a set", with(input(rule(from(), inSet("lan"), accept())), addressSet), "lan", ""},
		{"not of a set", with(input(rule(from(), notInSet("lan"), accept())), addressSet), "any", "!= @lan"},
		{"pairs", with(input(rule(meta(15), is(2), payload(1, 12, 4),
			expression("payload", number(1, 9), number(2, 2), number(3, 2), number(4, 2)), inSet("pairs"), accept())), pairSet), "lan", ""},

		{"interface that is named", input(rule(interfaceIs("eth0"), accept())), "any", `iifname "eth0" accept`},
		{"all but one interface", open(rule(interfaceIs("eth0"), drop())), "any", "-"},
		{"loopback by name", input(rule(interfaceIs("lo"), accept())), "none", ""},
		{"loopback by index", input(rule(meta(4), is(host32(1)...), accept())), "none", ""},

		{"established", input(rule(ct(0), masked(host32(2|4)...), compare(1, host32(0)...), accept())), "none", ""},
		{"new", input(rule(ct(0), masked(host32(8)...), compare(1, host32(0)...), accept())), "any", "ct state new"},
		{"original direction", open(rule(ct(1), is(0), drop())), "none", ""},
		{"direction before tracking", []hostwall.Table{inet(chain(0, -300, false, rule(ct(1), is(0), drop())))}, "any", "-"},
		{"synchronise", input(rule(isTCP(), payload(2, 13, 1), masked(0x17), is(2), accept())), "any", ""},
		{"translated", input(rule(ct(2), masked(host32(0x20)...), compare(1, host32(0)...), accept())), "none", ""},

		{"ports of a set", with(input(rule(isTCP(), port(), inSet("services"), accept())), portSet), "any", "dport @services"},
		{"not ports of a set", with(input(rule(isTCP(), port(), notInSet("services"), accept())), portSet), "none", ""},
		{"map of verdicts", with(input(rule(isTCP(), port(), byMap("__map0"))), verdicts), "any", "vmap"},
		{"map for all others", with(open(rule(isTCP(), payload(2, 0, 2), masked(0, 0), byMap("__map0"))), verdicts), "none", ""},

		{"jump", and(input(rule(tcp(22), jump("more"))), plain("more", rule(accept()))), "any", "chain more, rule 1: accept"},
		{"jump and return", and(input(rule(jump("more"), drop())), plain("more", rule(then(-5, "")), rule(accept()))), "none", "policy drop"},
		{"jump that comes back", and(input(rule(jump("more")), rule(tcp(22), accept())), plain("more", rule(tcp(23), drop()))), "any", "rule 2"},
		{"goto does not come back", and(input(rule(then(-4, "more")), rule(tcp(22), accept())), plain("more", rule(tcp(23), drop()))), "none", "policy drop"},
		{"jump to nowhere", input(rule(tcp(22), jump("gone"))), "any", "a jump to a chain that is not there cannot be judged, so it counts as open"},
		{"jump to itself", and(input(rule(jump("round"))), plain("round", rule(jump("round")))), "any", "a rule set of this size"},
		{"jump to each other", and(input(rule(jump("a"))), plain("a", rule(tcp(9), drop()), rule(jump("b"))), plain("b", rule(jump("a")))), "any", "a rule set of this size"},

		{"limit", input(rule(expression("limit"), tcp(22), accept())), "any", "its test of limit cannot be judged, so it counts as open"},
		{"dropped above a limit", open(rule(tcp(22), expression("limit"), drop())), "any", "-"},
		{"mark", input(rule(meta(3), is(host32(7)...), accept())), "any", "its test of mark cannot be judged"},
		{"dropped by a mark", open(rule(meta(3), is(host32(7)...), drop())), "any", "-"},
		{"hop limit", input(rule(meta(15), is(2), payload(1, 8, 1), is(64), accept())), "any", "its test of header cannot be judged"},
		{"an instruction nobody knows", input(rule(tcp(22), expression("quantum"))), "any", "its test of quantum cannot be judged"},
		{"dropped after one nobody knows", input(rule(expression("quantum"), drop())), "any", "quantum"},
		{"a set that changes lets in", with(input(rule(from(), inSet("banned"), accept())), changing), "any", "its test of saddr cannot be judged"},
		{"a set that changes keeps out", with(open(rule(from(), inSet("banned"), drop())), changing), "any", "-"},
		{"a set that is not there", input(rule(from(), inSet("gone"), accept())), "any", "cannot be judged"},
		{"queue", input(rule(tcp(22), expression("queue"))), "any", "what the program decides that the rule asks"},
		{"reject", open(rule(tcp(22), expression("reject"))), "none", "tcp dport 22 reject"},
		{"a header is rewritten", open(rule(expression("payload", number(2, 2), number(3, 2), number(4, 2), number(5, 1))), rule(tcp(22), drop())), "any", "-"},

		{"two chains, one drops", []hostwall.Table{inet(chain(1, 0, true, rule(tcp(22), accept()))), inet(chain(1, 10, true))}, "none", "policy drop"},
		{"two chains, both accept", []hostwall.Table{inet(chain(1, 0, true, rule(tcp(22), accept()))), inet(chain(1, 10, true, rule(tcp(22), accept())))}, "any", "rule 1"},
		{"dropped before routing", []hostwall.Table{inet(chain(0, -300, false, rule(tcp(22), drop())), chain(1, 0, true, rule(tcp(22), accept())))}, "none", "rule 1: tcp dport 22 drop"},
		{"a chain of output", []hostwall.Table{inet(chain(3, 0, true))}, "any", "-"},
		{"a table of IPv6", []hostwall.Table{{Family: hostwall.IPv6, Name: "six", Chains: []hostwall.Chain{chain(1, 0, true)}}}, "any", "-"},
		{"a table of IPv4", []hostwall.Table{{Family: hostwall.IPv4, Name: "four", Chains: []hostwall.Chain{chain(1, 0, true)}}}, "none", "nftables table ip four"},
		{"asleep", []hostwall.Table{{Family: hostwall.Inet, Name: "t", Dormant: true, Chains: []hostwall.Chain{chain(1, 0, true)}}}, "any", "-"},
		{"one device", []hostwall.Table{{Family: hostwall.Netdev, Name: "early", Chains: []hostwall.Chain{
			{Name: "c", Hook: &hostwall.Hook{Type: "filter", Device: "eth0", Drop: true}},
		}}}, "any", "-"},
		{"every device", []hostwall.Table{{Family: hostwall.Netdev, Name: "early", Chains: []hostwall.Chain{
			{Name: "c", Hook: &hostwall.Hook{Type: "filter", AnyDevice: true, Drop: true}},
		}}}, "none", "nftables table netdev early"},

		{"iptables port", input(rule(isTCP(), match("tcp", 0, xtPort(22, 22)), accept())), "any", "iptables match tcp accept"},
		{"iptables other port", input(rule(isTCP(), match("tcp", 0, xtPort(80, 90)), accept())), "none", ""},
		{"iptables ports", input(rule(isTCP(), match("multiport", 1, xtPorts(80, 22)), accept())), "any", ""},
		{"iptables other ports", input(rule(isTCP(), match("multiport", 1, xtPorts(80, 443)), accept())), "none", ""},
		{"iptables state", input(rule(match("state", 0, host32(2|4)), accept())), "none", ""},
		{"iptables comment", input(rule(tcp(22), match("comment", 0, make([]byte, 256)), accept())), "any", ""},
		{"iptables reject", open(rule(tcp(22), target("REJECT"))), "none", "rule 1"},
		{"iptables log", open(rule(tcp(22), target("LOG")), rule(tcp(22), drop())), "none", "rule 2"},
		{"a match nobody knows lets in", input(rule(tcp(22), match("geoip", 1, make([]byte, 64)), accept())), "any", "its test of iptables match geoip cannot be judged"},
		{"a match nobody knows keeps out", open(rule(tcp(22), match("geoip", 1, make([]byte, 64)), drop())), "any", "-"},
		{"a target nobody knows", input(rule(tcp(22), target("TARPIT"))), "any", "iptables target TARPIT"},
		{"a match that is cut short", open(rule(tcp(22), match("tcp", 0, []byte{1}), drop())), "any", "-"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := hostwall.New(test.tables, hostwall.Legacy{}).Judge(hostwall.Packet{Port: 22})
			if class(got) != test.want {
				t.Errorf("got %s (%s); want %s", class(got), got.Why, test.want)
			}
			if test.why == "-" && got.Why != "" || test.why != "-" && !strings.Contains(got.Why, test.why) {
				t.Errorf("got why %q; want %q in it", got.Why, test.why)
			}
		})
	}
}

func class(a hostwall.Access) string {
	switch {
	case a.Remote:
		return "any"
	case a.Local:
		return "lan"
	}
	return "none"
}

// xtPort is struct xt_tcp: a span of destination ports.
func xtPort(first, last uint16) []byte {
	out := binary.NativeEndian.AppendUint16(nil, 0)
	for _, n := range []uint16{0xffff, first, last} {
		out = binary.NativeEndian.AppendUint16(out, n)
	}
	return append(out, 0, 0, 0, 0)
}

// xtPorts is struct xt_multiport_v1, of destination ports.
func xtPorts(ports ...uint16) []byte {
	out := make([]byte, 48)
	out[0], out[1] = 1, byte(len(ports))
	for i, p := range ports {
		binary.NativeEndian.PutUint16(out[2+2*i:], p)
	}
	return out
}

// Of what a rule says of IPv6 and UDP, the same holds.
func TestJudgeOthers(t *testing.T) {
	six := netip.MustParsePrefix("fd00::/8")
	mask := append([]byte{0xff}, make([]byte, 15)...)
	fromSix := rule(meta(15), is(10), payload(1, 8, 16), masked(mask...), is(six.Addr().AsSlice()...), accept())
	toOne := rule(meta(15), is(2), payload(1, 16, 4), is(192, 0, 2, 1), accept())
	tests := []struct {
		name   string
		tables []hostwall.Table
		packet hostwall.Packet
		want   string
	}{
		{"unique local", input(fromSix), hostwall.Packet{V6: true, Port: 22}, "lan"},
		{"unique local of another family", input(fromSix), hostwall.Packet{Port: 22}, "none"},
		{"UDP by a rule of TCP", input(rule(tcp(53), accept())), hostwall.Packet{UDP: true, Port: 53}, "none"},
		{"UDP", input(rule(meta(16), is(17), payload(2, 2, 2), is(portBytes(53)...), accept())), hostwall.Packet{UDP: true, Port: 53}, "any"},
		{"its address", input(toOne), hostwall.Packet{Port: 22, To: netip.MustParseAddr("192.0.2.1")}, "any"},
		{"another address", input(toOne), hostwall.Packet{Port: 22, To: netip.MustParseAddr("192.0.2.2")}, "none"},
		{"whichever address", input(toOne), hostwall.Packet{Port: 22}, "any"},
		{"its interface", input(rule(interfaceIs("eth0"), accept())), hostwall.Packet{Port: 22, In: "eth0"}, "any"},
		{"another interface", input(rule(interfaceIs("eth0"), accept())), hostwall.Packet{Port: 22, In: "eth1"}, "none"},
		{"all interfaces that begin so", input(rule(meta(6), is([]byte("eth")...), accept())), hostwall.Packet{Port: 22, In: "eth7"}, "any"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := hostwall.New(test.tables, hostwall.Legacy{}).Judge(test.packet); class(got) != test.want {
				t.Errorf("got %s (%s); want %s", class(got), got.Why, test.want)
			}
		})
	}
}

// published is a container's port as podman publishes it.
func published(forward hostwall.Chain) []hostwall.Table {
	nat := chain(0, -100, false, rule(tcp(8080), sendTo("10.88.0.2", 80)))
	nat.Hook.Type = "nat"
	return []hostwall.Table{inet(nat, forward, chain(1, 0, true))}
}

func TestForwards(t *testing.T) {
	anywhere := []netip.Addr{netip.MustParseAddr("198.18.255.251")}
	tests := []struct {
		name    string
		forward hostwall.Chain
		want    string
	}{
		{"let through", chain(2, 0, false), "8080 to 10.88.0.2:80 any"},
		{"dropped on the way", chain(2, 0, true), "8080 to 10.88.0.2:80 none"},
		{"for what was translated", chain(2, 0, true, rule(ct(2), masked(host32(0x20)...), compare(1, host32(0)...), accept())), "8080 to 10.88.0.2:80 any"},
		{"by the port that was asked for", chain(2, 0, true, rule(expression("ct", number(1, 1), number(2, 12), attribute(3, 0)), is(portBytes(8080)...), accept())), "8080 to 10.88.0.2:80 any"},
		{"by the port that it became", chain(2, 0, true, rule(tcp(80), sourceIn("10.0.0.0/8"), accept())), "8080 to 10.88.0.2:80 lan"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wall := hostwall.New(published(test.forward), hostwall.Legacy{})
			var got []string
			for _, f := range wall.Forwards(anywhere) {
				got = append(got, fmt.Sprintf("%d to %s %s", f.Port, f.To, class(f.Access)))
			}
			if strings.Join(got, ", ") != test.want {
				t.Errorf("got %q; want %q", got, test.want)
			}
			if got := wall.Judge(hostwall.Packet{Port: 80}); class(got) != "none" {
				t.Errorf("port 80 of this computer itself: got %s (%s); want none", class(got), got.Why)
			}
		})
	}
	if got := hostwall.New(input(rule(tcp(8080), accept())), hostwall.Legacy{}).Forwards(anywhere); len(got) != 0 {
		t.Errorf("nothing is passed on: got %v", got)
	}
}

// Rules of iptables of old are not read: they may keep anybody out, which does
// not count, and let nobody in whom nftables drops. But for what they translate.
func TestLegacy(t *testing.T) {
	byStatus := input(rule(ct(2), masked(host32(0x20)...), compare(1, host32(0)...), accept()))
	early := []hostwall.Table{inet(chain(0, -300, false, rule(tcp(22), drop())))}
	filter, nat, raw := []string{"filter"}, []string{"filter", "nat"}, []string{"raw"}
	const note = "legacy iptables (filter) cannot be judged, so it counts as open"
	tests := []struct {
		name   string
		tables []hostwall.Table
		legacy []string
		want   string
		why    string
	}{
		{"alone", nil, filter, "any", note},
		{"let in by nftables too", input(rule(tcp(22), accept())), filter, "any", "tcp dport 22 accept; " + note},
		{"dropped by nftables", input(), filter, "none", "policy drop"},
		{"not translated", byStatus, filter, "none", "policy drop"},
		{"perhaps translated", byStatus, nat, "any", "legacy iptables (filter, nat)"},
		{"perhaps sent to another port first", early, nat, "any", "legacy iptables (filter, nat)"},
		{"sent to no other port", early, filter, "none", "rule 1"},
		{"perhaps not tracked", open(rule(ct(0), masked(host32(8)...), compare(1, host32(0)...), drop())), raw, "any", "raw"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wall := hostwall.New(test.tables, hostwall.Legacy{V4: test.legacy})
			if wall.Empty() {
				t.Error("it is called empty")
			}
			got := wall.Judge(hostwall.Packet{Port: 22})
			if class(got) != test.want || !strings.Contains(got.Why, test.why) {
				t.Errorf("got %s (%s); want %s (%s)", class(got), got.Why, test.want, test.why)
			}
			if got := wall.Judge(hostwall.Packet{Port: 22, V6: true}); strings.Contains(got.Why, "legacy") {
				t.Errorf("IPv6: got %s (%s)", class(got), got.Why)
			}
		})
	}
}

// A rule set may be as nasty as the kernel takes it: judging ends, and what
// costs too much counts as open.
func TestJudgeEnds(t *testing.T) {
	var chains []hostwall.Chain
	for i := range 20 { // each jumps to the next twice: a million ways
		name, next := fmt.Sprint("c", i), fmt.Sprint("c", i+1)
		chains = append(chains, plain(name, rule(jump(next)), rule(jump(next))))
	}
	tables := and(input(rule(jump("c0"))), append(chains, plain("c20", rule(tcp(9), drop())))...)
	got := hostwall.New(tables, hostwall.Legacy{}).Judge(hostwall.Packet{Port: 22})
	if class(got) != "any" || !strings.Contains(got.Why, "a rule set of this size cannot be judged") {
		t.Errorf("got %s (%s)", class(got), got.Why)
	}
}

// FuzzJudge makes tables of its input: names of expressions and their data, with
// chains that jump to each other. Nothing of it may end the agent.
func FuzzJudge(f *testing.F) {
	flat := func(rules ...[]hostwall.Expression) []byte {
		var out []byte
		for _, e := range rule(rules...) {
			i := bytes.Index([]byte(fuzzNames), []byte(" "+e.Name+" "))
			out = append(out, byte(strings.Count(fuzzNames[:i+1], " ")-1), byte(len(e.Data)))
			out = append(out, e.Data...)
		}
		return out
	}
	f.Add(flat(tcp(22), accept()))
	f.Add(flat(sourceIn("10.0.0.0/8"), jump("a"), jump("b")))
	f.Add(flat(interfaceIs("eth0"), port(), inSet("s"), byMap("m"), then(-4, "b")))
	f.Add(flat(sendTo("10.88.0.2", 80), ct(0), match("tcp", 0, xtPort(1, 2)), match("multiport", 1, xtPorts(1, 2)), target("DNAT")))
	f.Fuzz(func(t *testing.T, data []byte) {
		names := strings.Fields(fuzzNames)
		var rules [][]hostwall.Expression
		for len(data) >= 2 {
			name, n := names[int(data[0])%len(names)], min(int(data[1]), len(data)-2)
			e := hostwall.Expression{Name: name, Data: data[2 : 2+n]}
			if data[0] >= 128 || len(rules) == 0 {
				rules = append(rules, nil)
			}
			rules[len(rules)-1] = append(rules[len(rules)-1], e)
			data = data[2+n:]
		}
		nat := chain(0, -100, false, rules...)
		nat.Hook.Type = "nat"
		table := inet(chain(0, -300, true, rules...), nat, chain(1, 0, true, rules...), chain(2, 0, false, rules...),
			plain("a", append(rules, jump("b"))...), plain("b", append(rules, jump("a"))...))
		sets := []hostwall.Set{
			{Name: "s", Len: 2, Elements: portSet.Elements},
			{Name: "m", Len: 2, Elements: verdicts.Elements},
			{Name: "p", Len: 8, Fields: []int{4, 2}, Elements: pairSet.Elements},
			changing,
		}
		if len(rules) > 0 && len(rules[0]) > 0 { // and one whose sizes fit nothing
			d := rules[0][0].Data
			sets = append(sets, hostwall.Set{Name: "odd", Len: len(d), Fields: []int{len(d), 3}, Elements: []hostwall.Element{{First: d, Last: d[len(d)/2:], Value: d}}})
		}
		table.Sets = sets
		wall := hostwall.New([]hostwall.Table{table, {Family: hostwall.Netdev, Name: "n", Chains: []hostwall.Chain{chain(0, 0, false, rules...)}}}, hostwall.Legacy{})
		for _, p := range []hostwall.Packet{{Port: 22}, {UDP: true, V6: true, Port: 53}, {Port: 22, In: "eth0", To: netip.MustParseAddr("192.0.2.1")}} {
			if a := wall.Judge(p); a.Why == "" && class(a) == "none" {
				t.Errorf("nobody gets in, and nothing says why")
			}
		}
		wall.Forwards([]netip.Addr{netip.MustParseAddr("198.18.255.251"), netip.MustParseAddr("2001:2:0:ffff::fffb")})
	})
}

const fuzzNames = " meta ct payload fib immediate bitwise byteorder cmp range lookup reject queue synproxy nat masq redir tproxy objref limit match target quantum dynset counter "
