package platform

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Addresses of the two ends of a world's wire. The zone is a number because Go
// remembers the names of interfaces for a minute, whatever the namespace.
const (
	host4, host6, hostLocal = "192.0.2.1", "2001:db8::1", "fe80::1%78"
	far4, far6              = "192.0.2.2", "2001:db8::2"
)

// patience is how long a test waits for a packet that should not come.
const patience = 300 * time.Millisecond

// serve echoes on the port, all addresses, both versions of IP, TCP and UDP, in
// the namespace of the calling thread.
func serve(t *testing.T, port string) {
	t.Helper()
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	p, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	t.Cleanup(func() { l.Close(); p.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				b := make([]byte, 64)
				for n, err := c.Read(b); err == nil; n, err = c.Read(b) {
					_, _ = c.Write(b[:n])
				}
			}()
		}
	}()
	go func() {
		b := make([]byte, 64)
		for n, from, err := p.ReadFrom(b); err == nil; n, from, err = p.ReadFrom(b) {
			_, _ = p.WriteTo(b[:n], from)
		}
	}()
}

// talks tells whether an echo comes back; sourcePort "" is any.
func talks(network, address, port, sourcePort string) bool {
	d := net.Dialer{Timeout: patience}
	if sourcePort != "" {
		if network == "tcp" {
			d.LocalAddr, _ = net.ResolveTCPAddr("tcp", ":"+sourcePort)
		} else {
			d.LocalAddr, _ = net.ResolveUDPAddr("udp", ":"+sourcePort)
		}
	}
	c, err := d.Dial(network, net.JoinHostPort(address, port))
	if err != nil {
		return false
	}
	defer c.Close()
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return echoes(c)
}

func echoes(c net.Conn) bool {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("hello")); err != nil {
		return false
	}
	n, err := c.Read(make([]byte, 64))
	return err == nil && n == 5
}

// talk is one thing that should work, or not.
type talk struct {
	network, address, port, source string
	want                           bool
}

func check(t *testing.T, who string, talks_ ...talk) {
	t.Helper()
	for _, k := range talks_ {
		if got := talks(k.network, k.address, k.port, k.source); got != k.want {
			t.Errorf("%s to %s %s port %s from port %q: got through %v; want %v", who, k.network, k.address, k.port, k.source, got, k.want)
		}
	}
}

func TestBlockedPort(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		f := newFirewall()
		serve(t, "445")
		serve(t, "80")
		w.fromOutside(t, func() { serve(t, "9000"); serve(t, "445") })
		var live net.Conn
		w.fromOutside(t, func() {
			var err error
			if live, err = net.Dial("tcp", host4+":445"); err != nil {
				t.Error(err)
			}
			check(t, "outside, open", talk{"tcp", host6, "445", "", true}, talk{"udp", host4, "445", "", true})
		})
		apply(t, f, Restrictions{Blocked: []PortRule{{TCP, 445, 445}, {UDP, 445, 445}, {TCP, 5000, 5010}, {UDP, 5000, 5010}}})
		w.fromOutside(t, func() {
			check(t, "outside, blocked",
				talk{"tcp", host4, "445", "", false}, talk{"tcp", host6, "445", "", false}, talk{"tcp", hostLocal, "445", "", false},
				talk{"udp", host4, "445", "", false}, talk{"udp", host6, "445", "", false}, talk{"udp", hostLocal, "445", "", false},
				talk{"tcp", host4, "80", "", true}, talk{"tcp", host6, "80", "", true}, talk{"udp", host4, "80", "", true},
				talk{"tcp", host4, "80", "5001", true}, talk{"udp", host4, "80", "5001", true})
		})
		check(t, "the host itself",
			talk{"tcp", "127.0.0.1", "445", "", true}, talk{"tcp", "::1", "445", "", true}, talk{"udp", "127.0.0.1", "445", "", true},
			talk{"tcp", host4, "445", "", true}, talk{"udp", host6, "445", "", true})
		check(t, "outgoing from a blocked port",
			talk{"tcp", far4, "9000", "5001", true}, talk{"tcp", far6, "9000", "5002", true},
			talk{"udp", far4, "9000", "5003", true}, talk{"udp", far6, "9000", "5004", true},
			talk{"tcp", far4, "445", "", true}, talk{"udp", far4, "445", "", true})
		if live == nil || !echoes(live) {
			t.Error("a session from before the block was cut")
		}
		apply(t, f, Restrictions{})
		w.fromOutside(t, func() {
			check(t, "outside, released", talk{"tcp", host4, "445", "", true}, talk{"udp", host6, "445", "", true})
		})
	})
}

// A port that is published from a container is blocked by the number that the
// outside uses; a port of somebody else behind this host is left alone.
func TestBlockedPublishedPort(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		box := world{outside: w.outside + "-box"}
		shell(t, "ip netns add "+box.outside)
		defer exec.Command("ip", "netns", "del", box.outside).Run()
		shell(t, `echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
			ip link add box0 index 78 type veth peer name eth0 netns `+box.outside+`
			ip addr add 10.9.0.1/24 dev box0; ip -6 addr add fd99::1/64 dev box0 nodad; ip -6 addr add fe80::9/64 dev box0 nodad; ip link set box0 up
			ip -n `+box.outside+` addr add 10.9.0.2/24 dev eth0; ip -n `+box.outside+` -6 addr add fd99::2/64 dev eth0 nodad
			ip -n `+box.outside+` link set lo up; ip -n `+box.outside+` link set eth0 up
			ip -n `+box.outside+` route add default via 10.9.0.1; ip -n `+box.outside+` -6 route add default via fd99::1
			ip -n `+w.outside+` route add 10.9.0.0/24 via 192.0.2.1
			nft 'table inet docker { chain pre { type nat hook prerouting priority dstnat
				tcp dport 5432 fib daddr type local meta nfproto ipv4 dnat ip to 10.9.0.2:7000
				udp dport 5432 fib daddr type local meta nfproto ipv4 dnat ip to 10.9.0.2:7000
				tcp dport 5432 fib daddr type local meta nfproto ipv6 dnat ip6 to [fd99::2]:7000
			} 
			}'`)
		box.fromOutside(t, func() { serve(t, "7000"); serve(t, "5432") })
		open := []talk{{"tcp", host4, "5432", "", true}, {"udp", host4, "5432", "", true}, {"tcp", host6, "5432", "", true}, {"tcp", "10.9.0.2", "5432", "", true}}
		w.fromOutside(t, func() { check(t, "outside, published", open...) })
		f := newFirewall()
		apply(t, f, Restrictions{Blocked: []PortRule{{TCP, 5432, 5432}, {UDP, 5432, 5432}}})
		w.fromOutside(t, func() {
			check(t, "outside, blocked",
				talk{"tcp", host4, "5432", "", false}, talk{"udp", host4, "5432", "", false}, talk{"tcp", host6, "5432", "", false},
				talk{"tcp", "10.9.0.2", "5432", "", true}, talk{"udp", "10.9.0.2", "5432", "", true})
		})
		apply(t, f, Restrictions{Isolation: &Isolation{}})
		w.fromOutside(t, func() {
			check(t, "outside, isolated", talk{"tcp", host4, "5432", "", false}, talk{"tcp", "10.9.0.2", "5432", "", false})
		})
		// Nothing goes through an isolated host, not even from a kept peer: that
		// no reply comes is not enough.
		var leaks chan string
		box.fromOutside(t, func() { leaks = hear(t, "5433") })
		apply(t, f, Restrictions{Isolation: &Isolation{Keep: []Peer{{Network: prefix("192.0.2.0/24"), Port: 5433, Inbound: true}}}})
		w.fromOutside(t, func() { send(t, "10.9.0.2", "5433", "9001") })
		expect(t, leaks, "")
		apply(t, f, Restrictions{})
		w.fromOutside(t, func() { check(t, "outside, released", open...) })
	})
}

func TestIsolation(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		for _, port := range []string{"22", "80", "68"} {
			serve(t, port)
		}
		w.fromOutside(t, func() {
			for _, port := range []string{"443", "444", "53", "67"} {
				serve(t, port)
			}
		})
		f := newFirewall()
		apply(t, f, Restrictions{Isolation: &Isolation{
			Keep: []Peer{
				{Network: prefix(far4 + "/32"), Protocol: TCP, Port: 443},
				{Network: prefix("2001:db8::/64"), Protocol: TCP, Port: 443},
				{Network: prefix("192.0.2.0/24"), Protocol: TCP, Port: 22, Inbound: true},
			},
			Resolvers: []netip.Addr{netip.MustParseAddr(far4)}, DHCP: true,
		}})
		shell(t, "ip neigh flush all; ip -6 neigh flush all")
		check(t, "the isolated host",
			talk{"tcp", far6, "443", "", true}, talk{"tcp", far4, "443", "", true},
			talk{"tcp", far4, "444", "", false}, talk{"udp", far4, "443", "", false}, talk{"udp", far6, "53", "", false},
			talk{"udp", far4, "53", "", true}, talk{"tcp", far4, "53", "", true}, talk{"tcp", far6, "53", "", false},
			talk{"tcp", "127.0.0.1", "80", "", true}, talk{"tcp", host4, "80", "", true}, talk{"udp", "::1", "80", "", true})
		w.fromOutside(t, func() {
			check(t, "outside",
				talk{"tcp", host4, "22", "", true}, talk{"tcp", host6, "22", "", false}, talk{"udp", host4, "22", "", false},
				talk{"tcp", host4, "80", "", false}, talk{"tcp", host6, "80", "", false}, talk{"udp", host4, "80", "", false})
		})
		if out, err := exec.Command("ping", "-c1", "-W1", far4).CombinedOutput(); err == nil {
			t.Errorf("ping got through: %s", out)
		}
		start := time.Now()
		if _, err := net.Dial("tcp", far4+":80"); err == nil || !strings.Contains(err.Error(), "refused") || time.Since(start) > patience {
			t.Errorf("a local program got %v after %s; want a refusal at once", err, time.Since(start))
		}
		apply(t, f, Restrictions{})
		check(t, "the released host", talk{"tcp", far4, "444", "", true}, talk{"udp", far6, "53", "", true})
		w.fromOutside(t, func() { check(t, "outside, released", talk{"tcp", host6, "80", "", true}) })
	})
}

// What comes from a kept peer's port is let in only as a reply.
func TestIsolationKnowsDirections(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		serve(t, "80")
		heard := hear(t, "68", "546", "81")
		var leaks chan string
		w.fromOutside(t, func() { leaks = hear(t, "9001") })
		f := newFirewall()
		isolation := Isolation{
			Keep: []Peer{
				{Network: prefix(far4 + "/32"), Port: 443},
				{Network: prefix(far6 + "/128")},
				{Network: prefix("192.0.2.0/24"), Port: 99, Inbound: true},
			},
			Resolvers: []netip.Addr{netip.MustParseAddr(far4)},
		}
		apply(t, f, Restrictions{Isolation: &isolation})
		w.fromOutside(t, func() {
			check(t, "a kept peer's port",
				talk{"tcp", host4, "80", "443", false}, talk{"udp", host4, "80", "443", false},
				talk{"tcp", host6, "80", "443", false}, talk{"udp", host6, "80", "443", false},
				talk{"tcp", host4, "80", "53", false}, talk{"udp", host4, "80", "53", false})
			send(t, host4, "68", "67")
			send(t, host4, "81", "443")
		})
		// The host may not connect out from the port that peers may connect to.
		w.fromOutside(t, func() { serve(t, "9000") })
		check(t, "the isolated host", talk{"tcp", far4, "9000", "99", false}, talk{"udp", far4, "9000", "99", false})
		expect(t, heard, "")
		// Nothing is sent to whom nothing is kept: that no reply comes is not enough.
		for _, to := range []string{far4, "192.0.2.255"} {
			if c, err := net.Dial("udp", to+":9001"); err == nil {
				_, _ = c.Write([]byte("secret"))
				c.Close()
			}
		}
		expect(t, leaks, "")
		isolation.DHCP = true
		apply(t, f, Restrictions{Isolation: &isolation})
		w.fromOutside(t, func() { send(t, host4, "68", "67"); send(t, host4, "81", "67") })
		expect(t, heard, "68")
		w.fromOutside(t, func() { send(t, hostLocal, "546", "547") })
		expect(t, heard, "546")
		expect(t, heard, "")
	})
}

// hear says on which of the ports a datagram arrives in the namespace of the
// calling thread.
func hear(t *testing.T, ports ...string) chan string {
	t.Helper()
	heard := make(chan string, 9)
	for _, port := range ports {
		p, err := net.ListenPacket("udp", ":"+port)
		if err != nil {
			t.Error(err)
			runtime.Goexit()
		}
		t.Cleanup(func() { p.Close() })
		go func() {
			for b := make([]byte, 9); ; {
				if _, _, err := p.ReadFrom(b); err != nil {
					return
				}
				heard <- port
			}
		}()
	}
	return heard
}

func send(t *testing.T, address, port, source string) {
	t.Helper()
	local, _ := net.ResolveUDPAddr("udp", ":"+source)
	d := net.Dialer{LocalAddr: local}
	c, err := d.Dial("udp", net.JoinHostPort(address, port))
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte("x"))
}

// expect waits for a datagram on the port, or for none if port is "".
func expect(t *testing.T, heard chan string, port string) {
	t.Helper()
	got := ""
	select {
	case got = <-heard:
	case <-time.After(patience):
	}
	if got != port {
		t.Errorf("heard a datagram on port %q; want %q", got, port)
	}
}

// Applying again and changing the set of ports leaks nothing: a stranger who
// knocks all the time never gets in.
func TestBlockedPortNeverOpensWhileOthersCome(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		serve(t, "445")
		f := newFirewall()
		base := Restrictions{Blocked: []PortRule{{UDP, 445, 445}, {TCP, 445, 445}}}
		apply(t, f, base)
		ctx, cancel := context.WithCancel(context.Background())
		knocked := make(chan int)
		go w.fromOutside(t, func() {
			c, err := net.Dial("udp", host4+":445")
			if err != nil {
				t.Error(err)
			}
			defer c.Close()
			n := 0
			for ; ctx.Err() == nil; n++ {
				_, _ = c.Write([]byte("x"))
			}
			_ = c.SetReadDeadline(time.Now().Add(patience))
			if _, err := c.Read(make([]byte, 9)); err == nil {
				t.Error("a datagram got through while other ports were blocked and released")
			}
			knocked <- n
		})
		for i := range 100 {
			more := base
			more.Blocked = append([]PortRule{{UDP, uint16(i), 440}, {TCP, 446, 447}, {UDP, 446, uint16(446 + i)}}, base.Blocked...)
			if i%3 == 0 {
				more.Isolation = &Isolation{}
			}
			apply(t, f, more)
			apply(t, f, base)
		}
		cancel()
		t.Logf("%d datagrams during 200 changes", <-knocked)
	})
}
