package platform

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The bar of reach: on generated firewalls and binds, compared with who really
// gets a connection, nothing that answers is ever called not reachable.
func TestReachAgainstTruth(t *testing.T) {
	const rulesets, seed = 32, 20261124
	needTools(t, "nmap")
	inReachWorld(t, func(t *testing.T, w world) {
		reader := newWallReader()
		defer reader.close()
		tried, exact, scanned, wrong := 0, 0, 0, 0
		for n := range uint64(rulesets) {
			g := generator{rand.New(rand.NewPCG(seed, n))}
			rules := g.ruleset()
			loadRules(t, rules)
			binds := g.binds()
			sockets := listenAll(t, binds)
			truth := w.reached(t, binds, sockets)
			if n%2 == 0 { // it takes seconds
				scanned += w.scan(t, binds, truth)
			}
			for i, l := range reader.judge(context.Background(), binds, true)[:len(binds)] {
				tried++
				want := truth[i]
				if want == l.Reach {
					exact++
				}
				if want.Wider(l.Reach) {
					wrong++
					t.Errorf("ruleset %d, %s %s port %d: called %s (%s), but %s can reach it\n%s",
						n, l.Protocol, l.Address, l.Port, l.Reach, l.Through, want, rules)
				}
				t.Logf("%d %s %s:%d is %s, called %s: %s", n, l.Protocol, l.Address, l.Port, want, l.Reach, l.Through)
			}
			for _, fd := range sockets {
				_ = unix.Close(fd)
			}
		}
		t.Logf("%d combinations, %d of them seen by nmap too: %d wrong not-reachable, %d judged exactly, the rest wider than true",
			tried, scanned, wrong, exact)
		if tried < 60 || scanned < 60 {
			t.Errorf("got %d combinations, %d of them by nmap; want 60", tried, scanned)
		}
		if exact*10 < tried*7 {
			t.Errorf("%d of %d judged exactly: the judge gives up too often", exact, tried)
		}
	})
}

// inReachWorld is inWorld with a private network beside the public one.
func inReachWorld(t *testing.T, test func(t *testing.T, w world)) {
	inWorld(t, func(t *testing.T, w world) {
		shell(t, `ip addr add 10.9.0.1/24 dev eth0; ip -6 addr add fd09::1/64 dev eth0 nodad
			ip -n `+w.outside+` addr add 10.9.0.2/24 dev eth0; ip -n `+w.outside+` -6 addr add fd09::2/64 dev eth0 nodad`)
		test(t, w)
	})
}

func loadRules(t *testing.T, rules string) {
	t.Helper()
	c := exec.Command("timeout", "20", "nft", "-f", "-")
	c.Stdin = strings.NewReader("flush ruleset\n" + rules)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("load rules: %v\n%s\n%s", err, out, rules)
	}
}

// generator makes firewalls of the kinds that people write.
type generator struct{ *rand.Rand }

// reachPorts are the ports in play.
var reachPorts = []uint16{8000, 8001, 8002, 8003, 8004, 8005}

func (g generator) port() uint16            { return reachPorts[g.IntN(len(reachPorts))] }
func (g generator) pick(s ...string) string { return s[g.IntN(len(s))] }

func (g generator) verdict() string {
	return g.pick("accept", "accept", "drop", "reject", "jump sub", "goto sub", "return")
}

func (g generator) final() string { return g.pick("accept", "accept", "drop", "return", "jump deep") }

// rule is one rule of the input chain, or of a chain it jumps to.
func (g generator) rule(verdict func() string) string {
	p, q := g.port(), g.port()
	for q == p {
		q = g.port()
	}
	v := verdict()
	plain := g.pick("accept", "drop")
	return g.pick(
		fmt.Sprintf("tcp dport %d %s", p, v),
		fmt.Sprintf("udp dport %d %s", p, v),
		fmt.Sprintf("tcp dport { %d, %d } %s", p, q, v),
		fmt.Sprintf("tcp dport != { %d, %d } counter %s", p, q, v),
		fmt.Sprintf("th dport %d-%d %s", min(p, q), max(p, q), v),
		fmt.Sprintf("meta l4proto { tcp, udp } th dport %d %s", p, v),
		fmt.Sprintf("ip saddr 10.0.0.0/8 tcp dport %d %s", p, v),
		fmt.Sprintf("ip saddr 10.9.0.0/24 %s", v),
		fmt.Sprintf("ip saddr != 10.0.0.0/8 %s", v),
		fmt.Sprintf("ip saddr 192.0.2.0-192.0.2.99 tcp dport %d %s", p, v),
		fmt.Sprintf("ip saddr @lan %s", v),
		fmt.Sprintf("ip saddr != @lan %s", v),
		fmt.Sprintf("ip6 saddr @lan6 %s", v),
		fmt.Sprintf("ip6 saddr fd00::/8 tcp dport %d %s", p, v),
		fmt.Sprintf("ip6 saddr 2001:db8::/32 udp dport %d %s", p, v),
		fmt.Sprintf("ip6 saddr fe80::/10 %s", v),
		fmt.Sprintf("tcp dport vmap { %d : %s, %d : %s }", p, plain, q, g.pick("drop", "accept", "jump deep")),
		fmt.Sprintf("ip saddr vmap { 10.0.0.0/8 : %s, 192.0.2.0/24 : %s }", plain, g.pick("accept", "drop", "jump deep")),
		fmt.Sprintf("ip saddr . tcp dport { 10.0.0.0/8 . %d-%d, 192.0.2.2 . %d } %s", min(p, q), max(p, q), p, v),
		fmt.Sprintf("meta nfproto . th dport { ipv4 . %d, ipv6 . %d } %s", p, q, v),
		fmt.Sprintf("iifname . tcp dport { \"eth0\" . %d, \"wg0\" . %d } %s", p, q, v),
		fmt.Sprintf("iifname \"eth0\" tcp dport %d %s", p, v),
		fmt.Sprintf("iifname vmap { \"lo\" : accept, \"eth0\" : %s }", g.pick("jump deep", "continue")),
		fmt.Sprintf("iifname \"eth*\" udp dport %d %s", p, v),
		fmt.Sprintf("meta nfproto ipv6 tcp dport %d %s", p, v),
		fmt.Sprintf("ct state new tcp dport %d %s", p, v),
		fmt.Sprintf("ct state vmap { established : accept, related : accept, invalid : drop, new : %s }", g.pick("continue", "jump deep")),
		fmt.Sprintf("ct direction original th dport %d %s", p, v),
		fmt.Sprintf("meta l4proto tcp ct original proto-dst %d %s", p, v),
		fmt.Sprintf("tcp flags syn / fin,syn,rst,ack tcp dport %d %s", p, v),
		fmt.Sprintf("tcp flags & (fin|syn|rst|ack) != syn %s", v),
		fmt.Sprintf("fib daddr type local tcp dport %d %s", p, v),
		fmt.Sprintf("fib daddr type != local %s", v),
		fmt.Sprintf("limit rate 10000/second tcp dport %d %s", p, v),
		fmt.Sprintf("meta mark 0 tcp dport %d %s", p, v),
		fmt.Sprintf("ip daddr 10.9.0.1 tcp dport %d %s", p, v),
		fmt.Sprintf("ip daddr 192.0.2.1 %s", v),
		fmt.Sprintf("meta pkttype host tcp dport %d %s", p, v),
		fmt.Sprintf("ip protocol tcp tcp dport %d %s", p, v),
		fmt.Sprintf("ip ttl 64 tcp dport %d %s", p, v),
		fmt.Sprintf("tcp dport @services %s", v),
		fmt.Sprintf("tcp sport 1024-65535 tcp dport %d %s", p, v),
		"log prefix \"seen \" level debug counter",
	)
}

func (g generator) rules(least, most int, verdict func() string) string {
	var b strings.Builder
	for range least + g.IntN(most-least+1) {
		fmt.Fprintf(&b, "\t\t%s\n", g.rule(verdict))
	}
	return b.String()
}

func (g generator) ruleset() string {
	p := g.port()
	opening := g.pick("", "\t\tiif lo accept\n", "\t\tct state established,related accept\n\t\tct state invalid drop\n\t\tiifname \"lo\" accept\n\t\tmeta l4proto icmpv6 accept\n")
	text := fmt.Sprintf(`table inet filter {
	set lan { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } }
	set lan6 { type ipv6_addr; flags interval; elements = { fc00::/7, fe80::/10 } }
	set services { type inet_service; flags interval; elements = { %d, 8080-8090 } }
	chain deep {
%s	}
	chain sub {
%s	}
	chain input {
		type filter hook input priority filter; policy %s;
%s%s		%s
	}
}
`, p, g.rules(0, 2, func() string { return g.pick("accept", "drop", "return") }), g.rules(1, 3, g.final),
		g.pick("drop", "drop", "accept"), opening, g.rules(2, 7, g.verdict), g.pick("", "", "reject", "meta l4proto icmpv6 accept"))
	extra := func() string { return g.pick("accept", "drop") }
	rule := func() string {
		r := g.rule(extra)
		for strings.Contains(r, "@") || strings.Contains(r, "jump") || strings.Contains(r, "ct ") || strings.Contains(r, "fib") {
			r = g.rule(extra)
		}
		return r
	}
	switch g.IntN(6) {
	case 0:
		text += fmt.Sprintf("table inet second { chain in { type filter hook input priority 10; policy accept; %s; }\n}\n", rule())
	case 1:
		text += fmt.Sprintf("table inet raw { chain pre { type filter hook prerouting priority raw; policy accept; %s; ct state new drop; }\n}\n", rule())
	case 2:
		text += fmt.Sprintf("table netdev early { chain in { type filter hook ingress device eth0 priority 0; policy accept; tcp dport %d drop; }\n}\n", p)
	case 3:
		text += fmt.Sprintf("table inet nat { chain pre { type nat hook prerouting priority dstnat; tcp dport %d redirect to :%d; }\n}\n", p, g.port())
	case 4:
		text += fmt.Sprintf("table inet raw { chain pre { type filter hook prerouting priority raw; tcp dport %d notrack; }\n}\n", p)
	}
	return text
}

// binds are listeners on ports of their own, bound in all the ways there are.
func (g generator) binds() []Listener {
	var out []Listener
	for i, port := range reachPorts {
		l := Listener{Protocol: TCP, Port: port}
		if i%3 == 2 {
			l.Protocol = UDP
		}
		switch g.IntN(7) {
		case 0, 1:
			l.Address = netip.IPv4Unspecified()
		case 2, 3:
			l.Address, l.DualStack = netip.IPv6Unspecified(), true
		case 4:
			l.Address = netip.IPv6Unspecified()
		case 5:
			l.Address = netip.MustParseAddr(g.pick("10.9.0.1", "192.0.2.1", "127.0.0.1", "fd09::1", "2001:db8::1"))
		case 6:
			l.Address, l.Interface = netip.IPv4Unspecified(), "eth0"
		}
		out = append(out, l)
	}
	return out
}

// listenAll opens the listeners in the namespace of the calling thread.
func listenAll(t *testing.T, binds []Listener) []int {
	t.Helper()
	var out []int
	for _, l := range binds {
		fd, err := unix.Socket(domainOf(l.Address), socketKind(l.Protocol)|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		mustDo(t, err)
		if v6 := 1; l.Address.Is6() {
			if l.DualStack {
				v6 = 0
			}
			mustDo(t, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, v6))
		}
		if l.Interface != "" {
			mustDo(t, unix.BindToDevice(fd, l.Interface))
		}
		mustDo(t, unix.Bind(fd, sockaddrOf(l.Address, l.Port)))
		if l.Protocol == TCP {
			mustDo(t, unix.Listen(fd, 64))
		}
		out = append(out, fd)
	}
	return out
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sockaddrOf(a netip.Addr, port uint16) unix.Sockaddr {
	if a.Is6() {
		return &unix.SockaddrInet6{Addr: a.As16(), Port: int(port)}
	}
	return &unix.SockaddrInet4{Addr: a.As4(), Port: int(port)}
}

// reached says of each listener who gets to it from outside: TCP connects, and a
// datagram of UDP comes to the socket.
func (w world) reached(t *testing.T, binds []Listener, sockets []int) []Reach {
	out := make([]Reach, len(binds))
	for i := range out {
		out[i] = ReachLoopback
	}
	for to, class := range map[string]Reach{"10.9.0.1": ReachLAN, "fd09::1": ReachLAN, "192.0.2.1": ReachAny, "2001:db8::1": ReachAny} {
		for i, got := range w.knock(t, binds, sockets, netip.MustParseAddr(to)) {
			if got && class.Wider(out[i]) {
				out[i] = class
			}
		}
	}
	return out
}

// scan has nmap look at the TCP listeners from the network outside and from
// loopback, widens what was found out about them by what it sees open, and says
// how many it looked at.
func (w world) scan(t *testing.T, binds []Listener, truth []Reach) int {
	t.Helper()
	outside := []string{"ip", "netns", "exec", w.outside}
	for _, look := range []struct {
		from   []string
		family string
		to     map[string]Reach
	}{
		{outside, "-4", map[string]Reach{"10.9.0.1": ReachLAN, "192.0.2.1": ReachAny}},
		{outside, "-6", map[string]Reach{"fd09::1": ReachLAN, "2001:db8::1": ReachAny}},
		{nil, "-4", map[string]Reach{"127.0.0.1": ReachLoopback}},
	} {
		command := append(slices.Clone(look.from), "timeout", "30", "nmap", "-n", "-Pn", "-T5", "--max-retries", "1",
			"--max-rtt-timeout", "100ms", "-sS", look.family, "-oG", "-", "-p", fmt.Sprintf("%d-%d", reachPorts[0], reachPorts[len(reachPorts)-1]))
		out := shell(t, strings.Join(append(command, slices.Collect(maps.Keys(look.to))...), " "))
		for _, line := range strings.Split(out, "\n") {
			words := strings.Fields(line)
			if len(words) < 2 || !strings.Contains(line, "Ports: ") {
				continue
			}
			class, known := look.to[words[1]]
			for i, l := range binds {
				if l.Protocol == TCP && strings.Contains(line, fmt.Sprintf(" %d/open/", l.Port)) && known && class.Wider(truth[i]) {
					t.Logf("nmap sees port %d open at %s, where no connection was made", l.Port, words[1])
					truth[i] = class
				}
			}
		}
	}
	return len(slices.DeleteFunc(slices.Clone(binds), func(l Listener) bool { return l.Protocol != TCP }))
}

// knock asks for every listener at one address of the host.
func (w world) knock(t *testing.T, binds []Listener, sockets []int, to netip.Addr) []bool {
	t.Helper()
	out, knocking := make([]bool, len(binds)), make([]int, len(binds))
	w.fromOutside(t, func() {
		for i, l := range binds {
			l.Address = to
			fd, err := unix.Socket(domainOf(to), socketKind(l.Protocol)|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Error(err)
				return
			}
			knocking[i] = fd
			_ = unix.Connect(fd, sockaddrOf(to, l.Port)) // it goes on, or the poll below tells
			if l.Protocol == UDP {
				_, _ = unix.Write(fd, []byte("?"))
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	time.Sleep(120 * time.Millisecond)
	for i, l := range binds {
		if l.Protocol == UDP {
			_, err := unix.Read(sockets[i], make([]byte, 8))
			out[i] = err == nil
		} else {
			_, err := unix.Getpeername(knocking[i])
			out[i] = err == nil
		}
		_ = unix.Close(knocking[i])
	}
	return out
}

func domainOf(a netip.Addr) int {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func socketKind(p Protocol) int {
	if p == UDP {
		return unix.SOCK_DGRAM
	}
	return unix.SOCK_STREAM
}
