//go:build linux

package lab_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

// leakPolicy keeps three peers and the resolver, and no DHCP.
const leakPolicy = `version: firebreak/v1
name: lab
revision: 1
mode: enforce
isolation:
  keep: ["10.77.0.2:22 in", "[fd77::2]:22 in", "10.77.0.2:443", "10.77.0.2:444/udp", "10.77.0.2:9000", "[fd77::2]:9000", dns]
  lease: 5m
`

// leakKeep is the same for the judge.
var leakKeep = lab.Keep{
	Peers: []lab.Peer{
		{Network: management, Port: 22, Inbound: true},
		{Network: management6, Port: 22, Inbound: true},
		{Network: management, Port: 443},
		{Network: management, Port: 444, UDP: true},
		{Network: management, Port: 9000},
		{Network: management6, Port: 9000},
	},
	Resolvers: []netip.Addr{management.Addr()},
}

var (
	management  = netip.MustParsePrefix("10.77.0.2/32")
	management6 = netip.MustParsePrefix("fd77::2/128")
)

// containers makes two containers on a bridge, the first with a published port,
// and one on a macvlan child of the uplink.
const containers = `
ip route add default via 10.77.0.66
ip link add br0 type bridge
ip addr add 10.88.0.1/24 dev br0
ip link set br0 up
for i in 2 3; do
	ip netns add c$i
	ip link add veth-c$i type veth peer name eth0 netns c$i
	ip link set veth-c$i master br0 up
	ip -n c$i addr add 10.88.0.$i/24 dev eth0
	ip -n c$i addr add fd88::$i/64 dev eth0 nodad
	ip -n c$i link set eth0 up
	ip -n c$i route add default via 10.88.0.1
done
ip netns add child
ip link add link host0 name mv0 netns child type macvlan mode bridge
ip -n child addr add 10.77.0.31/24 dev mv0
ip -n child addr add fd77::31/64 dev mv0 nodad
ip -n child link set mv0 up
nft -f - <<END
table ip docker {
	chain published {
		type nat hook prerouting priority dstnat;
		tcp dport 8080 dnat to 10.88.0.2:7000
	}
	chain outside {
		type nat hook postrouting priority srcnat;
		ip saddr 10.88.0.0/24 oifname "host0" masquerade
	}
}
END
`

// stage makes the scene on a booted host and watches all of it.
func stage(t *testing.T, n *lab.Network, h *lab.Host) (*scene, *lab.Watch) {
	t.Helper()
	h.Put(t, "/etc/resolv.conf", 0o644, []byte("nameserver 10.77.0.2\n"))
	h.Put(t, "/root/containers", 0o755, []byte("#!/bin/sh -e\n"+containers))
	h.Run(t, "/root/containers")
	// /proc/sys is read-only on the host itself. A kernel that shows bridged packets
	// to the inet family too would hide that the bridge family is missing.
	err := h.Do(func() error {
		for name, value := range map[string]string{"ipv4/ip_forward": "1", "bridge/bridge-nf-call-iptables": "0", "bridge/bridge-nf-call-ip6tables": "0"} {
			err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0)
			if err != nil && !(errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(name, "bridge")) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("let the host forward: %v", err)
	}
	inContainer := func(name string) func(func() error) error {
		return func(f func() error) error { return h.DoIn(name, f) }
	}
	s := &scene{hostInBridge: netip.MustParseAddr("10.88.0.1"), broadcast: net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	for _, p := range []struct {
		into   *place
		do     func(func() error) error
		link   string
		v4, v6 string
	}{
		{&s.host, h.Do, "host0", h.IPv4.String(), h.IPv6.String()},
		{&s.attacker, n.Attacker.Do, "lan0", n.Attacker.IPv4.String(), n.Attacker.IPv6.String()},
		{&s.management, n.Management.Do, "lan0", n.Management.IPv4.String(), n.Management.IPv6.String()},
		{&s.first, inContainer("c2"), "eth0", "10.88.0.2", "fd88::2"},
		{&s.second, inContainer("c3"), "eth0", "10.88.0.3", "fd88::3"},
		{&s.child, inContainer("child"), "mv0", "10.77.0.31", "fd77::31"},
	} {
		var err error
		if *p.into, err = newPlace(p.do, p.link, netip.MustParseAddr(p.v4), netip.MustParseAddr(p.v6)); err != nil {
			t.Fatalf("set the scene: %v", err)
		}
	}
	if err := n.Attacker.IP("route add 10.88.0.0/24 via "+h.IPv4.String(), "route add 224.0.0.0/4 dev lan0"); err != nil {
		t.Fatal(err)
	}
	w := lab.NewWatch(t)
	w.Wire(t, h)
	w.Inside(t, h)
	w.Link(t, "first container", s.first.do, "eth0", false)
	w.Link(t, "second container", s.second.do, "eth0", false)
	w.Link(t, "macvlan child", s.child.do, "mv0", false)
	return s, w
}

// round tries all vectors once and returns, for each, the packets that got
// through, and all that the judge forbids.
func round(t *testing.T, s *scene, w *lab.Watch) (through [][]lab.Packet, forbidden []lab.Packet) {
	t.Helper()
	began := time.Now()
	for i, err := range s.tryAll() {
		if err != nil {
			t.Errorf("%s: %v", vectors[i].name, err)
		}
	}
	seen := w.Since(began)
	through = make([][]lab.Packet, len(vectors))
	for i := range vectors {
		for _, p := range seen {
			if marked(i).on(p) {
				through[i] = append(through[i], p)
			}
		}
	}
	return through, leakKeep.Forbids(seen)
}

// TestLeak tries all ways into and out of a host: before it is isolated, where
// each must be seen to get through, while it is, where none may, and with one
// chain of the rules alone, which must stop what it is there for and nothing
// else.
func TestLeak(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	s, w := stage(t, n, h)
	if err := s.establish(); err != nil {
		t.Fatal(err)
	}
	control(t, s, w)
	t.Run("open/a new link", func(t *testing.T) {
		if len(newLink(t, h, w, "lan1", 78)) == 0 {
			t.Error("nothing came out of a new link, though nothing stops it: the test is blind here")
		}
	})

	for _, port := range []uint16{443, 9000} {
		n.Management.Serve(t, port)
	}
	h.InstallAgent(t, leakPolicy)
	if err := s.establish(); err != nil {
		t.Fatal(err)
	}
	h.Firebreak(t, "isolate", "--reason", "test")
	isolated(t, n, h, s, w, "lan2", time.Second)
	rules := ownRules(t, h)
	if !strings.Contains(rules, "host0") {
		t.Errorf("no chain hangs on the host's link: %s", rules)
	}
	h.Firebreak(t, "release")
	if err := n.Attacker.Connect(h.IPv4, 22); err != nil {
		t.Errorf("released: %v", err)
	}
	h.Firebreak(t, "uninstall", "--purge")
	for _, chain := range allChains {
		t.Run("only "+chain, func(t *testing.T) { alone(t, h, s, w, rules, chain) })
	}

	t.Run("every link", func(t *testing.T) {
		// Without the library that cannot list it, one chain hangs on every link.
		h.Run(t, "sh", "-c", "rm /usr/lib/*/libnftnl.so.*")
		h.InstallAgent(t, leakPolicy)
		if err := s.establish(); err != nil {
			t.Fatal(err)
		}
		h.Firebreak(t, "isolate", "--reason", "test")
		// This machine's nft(8) may not be able to list the chain either, but it
		// would list those of single links.
		err := h.Do(func() error {
			listed, _ := exec.Command("timeout", "1", "nft", "list", "table", "netdev", "firebreak").Output()
			if strings.Contains(string(listed), "host0") {
				return fmt.Errorf("the rules do not hang on every link: %s", listed)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		isolated(t, n, h, s, w, "lan3", 0)
	})
}

// control shows that the vectors work, and that the judge would convict them.
func control(t *testing.T, s *scene, w *lab.Watch) {
	t.Helper()
	through, forbidden := round(t, s, w)
	for i, v := range vectors {
		t.Run("open/"+v.name, func(t *testing.T) {
			if len(through[i]) == 0 {
				t.Error("nothing of it was seen, though nothing stops it: the test is blind here")
			}
			// Whether a datagram is an answer can not be told from it alone.
			if !slices.ContainsFunc(forbidden, marked(i).on) && v.name != fromKeptPort {
				t.Errorf("the judge allows it: %s", show(through[i]))
			}
		})
	}
}

// rounds is how often everything is tried on the isolated host.
const rounds = 3

// isolated tries everything on a host that says it is isolated. A link that is
// added may be open for grace.
func isolated(t *testing.T, n *lab.Network, h *lab.Host, s *scene, w *lab.Watch, link string, grace time.Duration) {
	t.Helper()
	since := time.Now()
	all := make([][]lab.Packet, len(vectors))
	for range rounds {
		through, _ := round(t, s, w)
		for i := range all {
			all[i] = append(all[i], through[i]...)
		}
	}
	for i, v := range vectors {
		t.Run("isolated/"+v.name, func(t *testing.T) {
			if len(all[i]) > 0 {
				t.Errorf("%d packets got through:%s", len(all[i]), show(all[i]))
			}
		})
	}
	t.Run("isolated/a new link", func(t *testing.T) {
		if out := newLink(t, h, w, link, link[3]-'0'+77); len(out) > 0 {
			open := out[len(out)-1].At.Sub(out[0].At)
			t.Logf("%d packets came out, for %s:%s", len(out), open, show(out))
			if open > grace {
				t.Errorf("it was open for %s; want at most %s", open, grace)
			}
		}
	})
	t.Run("isolated/what is kept", func(t *testing.T) { kept(t, n, h, s) })
	t.Run("isolated/nothing else", func(t *testing.T) {
		unclaimed := slices.DeleteFunc(leakKeep.Forbids(w.Since(since)), func(p lab.Packet) bool {
			for i := range vectors {
				if marked(i).on(p) {
					return true
				}
			}
			return strings.HasPrefix(p.Place, "cable")
		})
		if len(unclaimed) > 0 {
			t.Errorf("%d packets got through that nobody here sent:%s", len(unclaimed), show(unclaimed))
		}
	})
}

// kept shows that an isolated host still has what policy keeps.
func kept(t *testing.T, n *lab.Network, h *lab.Host, s *scene) {
	for _, to := range []netip.Addr{h.IPv4, h.IPv6} {
		if err := n.Management.Connect(to, 22); err != nil {
			t.Errorf("management does not reach %s: %v", to, err)
		}
	}
	for _, to := range []netip.Addr{n.Management.IPv4, n.Management.IPv6} {
		if !h.Reaches(to, 9000) {
			t.Errorf("the host does not reach management at %s", to)
		}
	}
	var server net.PacketConn
	err := s.management.do(func() (err error) {
		server, err = net.ListenPacket("udp", netip.AddrPortFrom(n.Management.IPv4, 53).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		asked := make([]byte, 512)
		if size, from, err := server.ReadFrom(asked); err == nil {
			_, _ = server.WriteTo(asked[:size], from)
		}
	}()
	err = s.host.do(func() error {
		conn, err := net.Dial("udp", netip.AddrPortFrom(n.Management.IPv4, 53).String())
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write(question(marked(0))); err != nil {
			return err
		}
		return errors.Join(conn.SetReadDeadline(time.Now().Add(time.Second)), readOnce(conn))
	})
	if err != nil {
		t.Errorf("the configured resolver does not answer: %v", err)
	}
}

// newLink plugs a second cable in while a program on the host tries to send on
// it from the first moment on, and returns what came out that may not.
func newLink(t *testing.T, h *lab.Host, w *lab.Watch, name string, subnet byte) []lab.Packet {
	t.Helper()
	v4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, subnet, 0, 11}), 24)
	v6 := netip.MustParsePrefix(fmt.Sprintf("fd%d::11/64", subnet))
	link, err := h.PrepareLink(name, v4, v6)
	if err != nil {
		t.Fatal(err)
	}
	w.Link(t, "cable of "+name, link.Do, link.Outside(), true)
	began := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for time.Since(began) < 1500*time.Millisecond {
			var here place
			err := h.Do(func() error {
				itf, err := net.InterfaceByName(name)
				if err != nil {
					return err
				}
				here = place{do: func(f func() error) error { return h.Do(f) }, link: name, mac: itf.HardwareAddr, index: itf.Index, times: 3}
				return nil
			})
			if err != nil {
				continue // it is not plugged in yet
			}
			// What fails here is what should fail; the cable is what is judged.
			_ = here.frames(false, frame(net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, here.mac, 0x88b5, []byte(name)))
			_ = here.datagram(netip.AddrFrom4([4]byte{10, subnet, 0, 255}), 9, 0, []byte(name))
			_ = here.datagram(here.zone(netip.MustParseAddr("ff02::77")), 9, 0, []byte(name))
		}
	}()
	if err := link.Plug(); err != nil {
		t.Error(err)
	}
	<-done
	return slices.DeleteFunc(leakKeep.Forbids(w.Since(began)), func(p lab.Packet) bool { return p.Place != "cable of "+name })
}

// alone tries everything under one chain of the rules: what it guards must be
// stopped, and all else must get through. So each chain is seen to be needed,
// and each vector to fail without its own.
func alone(t *testing.T, h *lab.Host, s *scene, w *lab.Watch, rules, chain string) {
	text := onlyChain(rules, chain)
	if !strings.Contains(text, "hook "+strings.Fields(chain)[1]) {
		t.Fatalf("the rules have no chain %s:\n%s", chain, rules)
	}
	if err := s.establish(); err != nil {
		t.Fatal(err)
	}
	h.Put(t, "/root/rules.nft", 0o600, []byte(text))
	h.Run(t, "nft", "-f", "/root/rules.nft")
	defer func() {
		for _, family := range []string{"inet", "bridge", "netdev"} {
			h.Try("nft", "delete", "table", family, "firebreak")
		}
	}()
	through, _ := round(t, s, w)
	for i, v := range vectors {
		stopped := true
		for _, group := range v.guards {
			stopped = stopped && slices.Contains(group, chain)
		}
		if got := len(through[i]) == 0; got != stopped {
			t.Errorf("%s: stopped %v; want %v:%s", v.name, got, stopped, show(through[i]))
		}
	}
}

// ownRules are Firebreak's tables as text. nft(8) cannot list a chain that is
// hooked to all links before libnftnl 1.3.1: it lists for ever.
func ownRules(t *testing.T, h *lab.Host) string {
	t.Helper()
	var all strings.Builder
	for _, family := range []string{"inet", "bridge", "netdev"} {
		text, errs, code := h.Try("timeout", "2", "nft", "list", "table", family, "firebreak")
		if code != 0 {
			t.Errorf("nft does not list the table of %s: exit code %d %s", family, code, errs)
		}
		all.WriteString(text + "\n")
	}
	return all.String()
}

var (
	tableLine  = regexp.MustCompile(`^table (\w+) (\S+) \{`)
	hookLine   = regexp.MustCompile(`type \w+ hook (\w+)`)
	deviceList = regexp.MustCompile(`(hook (?:ingress|egress)).*?priority`)
)

// onlyChain takes all hooked chains but one out of Firebreak's tables, as `nft
// list ruleset` writes them, and the other tables with them. A chain of netdev is
// hooked to the links that the scene has.
func onlyChain(rules, chain string) string {
	var out strings.Builder
	family, block := "", ""
	inChain, ours := false, false
	for line := range strings.Lines(rules) {
		if m := tableLine.FindStringSubmatch(line); m != nil {
			family, ours = m[1], m[2] == "firebreak"
		}
		switch {
		case !ours || strings.HasPrefix(line, "\tflags "): // of the table: who owns it
			continue
		case strings.HasPrefix(line, "table "):
			line, _, _ = strings.Cut(line, " #")
			out.WriteString(strings.TrimSpace(line) + "\n")
		case strings.HasPrefix(line, "\tchain "):
			inChain, block = true, line
		case inChain && line == "\t}\n":
			inChain = false
			m := hookLine.FindStringSubmatch(block)
			if m == nil || family+" "+m[1] == chain {
				out.WriteString(deviceList.ReplaceAllString(block, "$1 devices = { host0, br0, veth-c2, veth-c3 } priority") + line)
			}
		case inChain:
			block += line
		default:
			out.WriteString(line)
		}
	}
	return out.String()
}

// show lists the first packets of many.
func show(packets []lab.Packet) string {
	var b strings.Builder
	for _, p := range packets[:min(len(packets), 8)] {
		fmt.Fprintf(&b, "\n%s", p)
	}
	if more := len(packets) - 8; more > 0 {
		fmt.Fprintf(&b, "\nand %d more", more)
	}
	return b.String()
}
