//go:build linux

package lab_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
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
		{Network: management, Port: 22, Inbound: true}, {Network: management6, Port: 22, Inbound: true},
		{Network: management, Port: 443}, {Network: management, Port: 444, UDP: true},
		{Network: management, Port: 9000}, {Network: management6, Port: 9000},
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

// TestLeak tries all ways into and out of a host, before it is isolated, where
// each must be seen to get through, and while it is, where none may.
func TestLeak(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	s, w := stage(t, n, h)
	if err := s.establish(); err != nil {
		t.Fatal(err)
	}
	control(t, s, w)
}

// control shows that the vectors work, and that the judge would convict them.
func control(t *testing.T, s *scene, w *lab.Watch) {
	through, forbidden := round(t, s, w)
	for i, v := range vectors {
		t.Run("open/"+v.name, func(t *testing.T) {
			if len(through[i]) == 0 {
				t.Error("nothing of it was seen, though nothing stops it: the test is blind here")
			}
			convicted := func(p lab.Packet) bool { return marked(i).on(p) }
			if !slices.ContainsFunc(forbidden, convicted) && !strings.HasPrefix(v.name, "datagram from a kept") {
				t.Errorf("the judge allows it: %v", through[i])
			}
			if testing.Verbose() {
				t.Log(show(through[i]))
			}
		})
	}
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
