package platform

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/live"
)

// TestKeptGoesOn isolates a host whose kept connections were made without
// connection tracking, and lets the side speak first whose packet would be judged
// as of the wrong direction.
func TestKeptGoesOn(t *testing.T) {
	for _, loose := range []int{1, 0} {
		for _, test := range []struct {
			name      string
			iso       Isolation
			inbound   bool
			peerFirst bool
			uid       int
		}{
			{name: "inbound, this host first", inbound: true, iso: Isolation{Keep: []Peer{keep(far4+"/32", TCP, 22, true)}}},
			{name: "inbound, the peer first", inbound: true, peerFirst: true, iso: Isolation{Keep: []Peer{keep(far4+"/32", TCP, 22, true)}}},
			{name: "outbound, this host first", iso: Isolation{Keep: []Peer{keep(far4+"/32", TCP, 443, false)}}},
			{name: "outbound, the peer first", peerFirst: true, iso: Isolation{Keep: []Peer{keep(far4+"/32", TCP, 443, false)}}},
			{name: "of a kept user, the peer first", peerFirst: true, uid: 4711, iso: Isolation{Users: []uint32{4711}}},
		} {
			t.Run(fmt.Sprintf("%s, loose %d", test.name, loose), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w world) {
					shell(t, fmt.Sprintf("echo %d > /proc/sys/net/netfilter/nf_conntrack_tcp_loose", loose))
					var k call
					if test.inbound {
						k = w.connectFromOutside(t, listen(t, "tcp4", ":22"), "tcp4", host4+":22")
						k.near, k.far = k.far, k.near
					} else {
						k = connect(t, w.listenOutside(t, "tcp4", ":443"), "tcp4", far4+":443")
					}
					if test.uid != 0 {
						chown(t, k.near, test.uid)
					}
					for range 3 {
						reaches(k.near, k.far, patience)
						reaches(k.far, k.near, patience)
					}
					// A late acknowledgement would be the test's own: the rules see that
					// its sockets are not really another user's.
					time.Sleep(100 * time.Millisecond)
					apply(t, newFirewall(), Restrictions{Isolation: &test.iso})
					if done := cut(t, cutting(t), test.iso); done.Ended != 0 {
						t.Errorf("got %d ended; want 0", done.Ended)
					}
					from, to := k.near, k.far
					if test.peerFirst {
						from, to = to, from
					}
					// A retransmission would take 200 ms.
					if took, ok := reaches(from, to, time.Second); !ok || took > 100*time.Millisecond {
						t.Errorf("the first word: arrived %v after %v; want at once", ok, took)
					}
					for range 3 {
						if _, ok := reaches(to, from, patience); !ok {
							t.Error("the answer did not arrive")
						}
						if _, ok := reaches(from, to, patience); !ok {
							t.Error("the next word did not arrive")
						}
					}
				})
			})
		}
	}
}

// TestKeptSpeaksBeforeItIsKnown lets this host speak on a kept connection after
// the rules are in force and before connection tracking is told of it.
func TestKeptSpeaksBeforeItIsKnown(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		k := w.connectFromOutside(t, listen(t, "tcp4", ":22"), "tcp4", host4+":22")
		k.near, k.far = k.far, k.near
		iso := Isolation{Keep: []Peer{keep(far4+"/32", TCP, 22, true)}}
		apply(t, newFirewall(), Restrictions{Isolation: &iso})
		if _, ok := reaches(k.near, k.far, 50*time.Millisecond); ok {
			t.Fatal("connection tracking knows already: this test shows nothing")
		}
		if done := cut(t, cutting(t), iso); done.Ended != 0 {
			t.Errorf("got %d ended; want 0", done.Ended)
		}
		if err := k.far.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
			t.Error(err)
		}
		if _, err := k.far.Read(make([]byte, 64)); err != nil {
			t.Errorf("what was said in between did not arrive: %v", err)
		}
		if err := errorOf(k.near); err != nil {
			t.Errorf("it did not outlive the moment in between: %v", err)
		}
	})
}

// TestKnownTheWrongWay has connection tracking begin in the middle of a kept
// connection, with a packet of the side that did not make it.
func TestKnownTheWrongWay(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		inbound := w.connectFromOutside(t, listen(t, "tcp4", ":22"), "tcp4", host4+":22")
		outbound := connect(t, w.listenOutside(t, "tcp4", ":443"), "tcp4", far4+":443")
		shell(t, "nft add table inet other; nft add chain inet other c '{ type filter hook prerouting priority 0 ; }'; nft add rule inet other c ct state new accept")
		reaches(inbound.far, inbound.near, patience)
		reaches(outbound.far, outbound.near, patience)
		iso := Isolation{Keep: []Peer{keep(far4+"/32", TCP, 443, false), keep(far4+"/32", TCP, 22, true)}}
		apply(t, newFirewall(), Restrictions{Isolation: &iso})
		if done := cut(t, cutting(t), iso); done.Ended != 0 {
			t.Errorf("got %d ended; want 0", done.Ended)
		}
		for _, k := range []call{inbound, outbound} {
			if _, ok := reaches(k.far, k.near, 100*time.Millisecond); !ok {
				t.Errorf("from %v: did not arrive", k.far.LocalAddr())
			}
			if _, ok := reaches(k.near, k.far, 100*time.Millisecond); !ok {
				t.Errorf("from %v: did not arrive", k.near.LocalAddr())
			}
		}
	})
}

// TestCutForgetsFlows has flows of every kind before the cut, and looks which are
// left.
func TestCutForgetsFlows(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		shell(t, `nft add table inet other
			nft add chain inet other c '{ type filter hook prerouting priority 0 ; }'
			nft add chain inet other n '{ type nat hook prerouting priority -100 ; }'
			nft add rule inet other c ct state new accept
			nft add rule inet other n tcp dport 2222 redirect to :22
			ip link set lo up`)
		ssh, smb := listen(t, "tcp4", ":22"), listen(t, "tcp4", ":445")
		hub, web := w.listenOutside(t, "tcp4", ":443"), w.listenOutside(t, "tcp4", ":80")
		redirected := w.connectFromOutside(t, ssh, "tcp4", host4+":2222")
		direct := w.connectFromOutside(t, ssh, "tcp4", host4+":22")
		w.connectFromOutside(t, smb, "tcp4", host4+":445")
		connect(t, hub, "tcp4", far4+":443")
		connect(t, web, "tcp4", far4+":80")
		connect(t, smb, "tcp4", "127.0.0.1:445")
		user := connect(t, web, "tcp4", far4+":80")
		chown(t, user.near, 4711)
		shell(t, "ping -c1 -W1 "+far4+" >/dev/null; ping -c1 -W1 "+far6+" >/dev/null")
		_, _ = dialUDP(t, far4+":9999").Write([]byte("hello"))
		_, _ = dialUDP(t, far4+":53").Write([]byte("hello"))
		before := tracked(t)

		iso := Isolation{
			Keep:  []Peer{keep(far4+"/32", TCP, 443, false), keep(far4+"/32", TCP, 2222, true)},
			Users: []uint32{4711}, Resolvers: []netip.Addr{netip.MustParseAddr(far4)},
		}
		done := cut(t, cutting(t), iso)
		var got []string
		after := tracked(t)
		for _, f := range after {
			text := fmt.Sprintf("%d to %v", f.Protocol, f.Original.Dest)
			if f.Mark&keptMark != 0 {
				text += " marked"
			}
			got = append(got, text)
		}
		slices.Sort(got)
		want := []string{"17 to " + far4 + ":53", "6 to 127.0.0.1:445", "6 to " + host4 + ":2222", "6 to " + far4 + ":443", "6 to " + far4 + ":80 marked"}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("got flows\n%q; want\n%q", got, want)
		}
		if done.Flows != len(before)-len(after) {
			t.Errorf("got %d forgotten; want %d", done.Flows, len(before)-len(after))
		}
		if _, ok := reaches(redirected.near, redirected.far, patience); !ok {
			t.Error("the redirected connection was not kept")
		}
		if err := errorOf(direct.far); !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("the same port without redirection: got error %v; want %v", err, unix.ECONNABORTED)
		}
	})
}

func tracked(t *testing.T) []live.Flow {
	t.Helper()
	l, err := live.OpenTracking()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	all, err := l.List(nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestCutThousand ends 1,000 connections of all kinds in three namespaces, while
// the rules are in force, and sends on all of them after the release.
func TestCutThousand(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		inside := w.outside + "-c"
		shell(t, "ip netns add "+inside+" && ip -n "+inside+" link set lo up")
		defer shell(t, "ip netns del "+inside)
		container := world{inside}
		shell(t, `ip link add c0 index 81 type veth peer name eth0 index 82 netns `+inside+`
			ip addr add 10.9.0.1/24 dev c0; ip link set c0 up; ip -n `+inside+` addr add 10.9.0.2/24 dev eth0; ip -n `+inside+` link set eth0 up
			ip -n `+inside+` route add default via 10.9.0.1; echo 1 > /proc/sys/net/ipv4/ip_forward
			ip -n `+w.outside+` route add 10.9.0.0/24 via 192.0.2.1`)
		web, web6 := w.listenOutside(t, "tcp4", ":80"), w.listenOutside(t, "tcp6", ":80")
		smb, hub := listen(t, "tcp", ":445"), w.listenOutside(t, "tcp4", ":443")
		var calls []call
		for range 200 {
			calls = append(calls, connect(t, web, "tcp4", far4+":80"), connect(t, web6, "tcp6", "["+far6+"]:80"))
		}
		turned := func(k call) call { return call{k.far, k.near} }
		w.fromOutside(t, func() {
			for range 150 {
				calls = append(calls, turned(connect(t, smb, "tcp4", host4+":445")), turned(connect(t, smb, "tcp6", "["+host6+"]:445")))
			}
		})
		container.fromOutside(t, func() {
			for range 100 {
				calls = append(calls, connect(t, web, "tcp4", far4+":80"), call{near: dialUDP(t, far4+":9999")})
			}
			for range 50 {
				connect(t, smb, "tcp4", "10.9.0.1:445")
			}
		})
		for range 100 {
			calls = append(calls, call{near: dialUDP(t, far4+":9999")})
		}
		kept := connect(t, hub, "tcp4", far4+":443")
		sink := w.sinkUDP(t, ":9999")

		iso := Isolation{Keep: []Peer{keep(far4+"/32", TCP, 443, false)}}
		f := newFirewall()
		apply(t, f, Restrictions{Isolation: &iso})
		began := time.Now()
		done := cut(t, cutting(t, inside), iso)
		took := time.Since(began)
		t.Logf("%d sockets ended and %d flows forgotten in %v", done.Ended, done.Flows, took)
		if took > time.Second || done.Ended < 1000 {
			t.Errorf("got %d ended in %v; want at least 1000 within 1s", done.Ended, took)
		}
		for _, k := range calls {
			if err := errorOf(k.near); !errors.Is(err, unix.ECONNABORTED) {
				t.Fatalf("%v to %v: got error %v; want %v", k.near.LocalAddr(), k.near.RemoteAddr(), err, unix.ECONNABORTED)
			}
		}
		if _, ok := reaches(kept.near, kept.far, patience); !ok {
			t.Error("what is kept was cut")
		}
		apply(t, f, Restrictions{})
		for _, k := range calls {
			_, _ = k.near.Write([]byte("still here?"))
			if k.far != nil {
				_, _ = k.far.Write([]byte("still here?"))
			}
		}
		time.Sleep(patience)
		for _, k := range calls {
			for _, end := range []interface {
				SetReadDeadline(time.Time) error
				Read([]byte) (int, error)
			}{k.near, k.far} {
				if end == nil || k.far == nil {
					continue
				}
				_ = end.SetReadDeadline(time.Now().Add(time.Millisecond))
				if n, _ := end.Read(make([]byte, 64)); n > 0 {
					t.Errorf("%v to %v resumed after the release", k.near.LocalAddr(), k.near.RemoteAddr())
				}
			}
		}
		if n := sink(); n > 0 {
			t.Errorf("%d datagrams arrived after the release", n)
		}
		if _, ok := reaches(kept.far, kept.near, patience); !ok {
			t.Error("what is kept does not go on")
		}
	})
}

// sinkUDP counts the datagrams that arrive outside.
func (w world) sinkUDP(t *testing.T, at string) func() int {
	t.Helper()
	var fd int
	w.fromOutside(t, func() {
		var err error
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(netip.MustParseAddrPort("0.0.0.0" + at).Port())})
		}
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { unix.Close(fd) })
	return func() int {
		n := 0
		for b := make([]byte, 64); ; n++ {
			if _, _, err := unix.Recvfrom(fd, b, 0); err != nil {
				return n
			}
		}
	}
}

// TestLiveChangesNothing looks at everything and finds it as it was.
func TestLiveChangesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		k := connect(t, w.listenOutside(t, "tcp4", ":80"), "tcp4", far4+":80")
		for range 2 {
			seen, err := cutting(t, w.outside).Live(context.Background(), Isolation{})
			if err != nil || len(seen) != 2 {
				t.Errorf("got %v, %v; want both ends", seen, err)
			}
		}
		if _, ok := reaches(k.near, k.far, patience); !ok {
			t.Error("the connection was ended")
		}
	})
}
