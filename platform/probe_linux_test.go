package platform

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// links lists the interfaces of the namespace of the calling thread.
func links(t *testing.T) string {
	t.Helper()
	return shell(t, "ip -o link | sed 's/: <.*//'; ip -o addr | sed 's/ tentative//' | grep -v ' lo ' || true; ip route; ip -6 route; sysctl -a 2>/dev/null | grep -E 'rp_filter|forwarding' | grep -v vethfb || true")
}

func inbound(t *testing.T, protocol Protocol, to string, want Answer) {
	t.Helper()
	start := time.Now()
	got, err := newProber().Inbound(context.Background(), protocol, netip.MustParseAddrPort(to))
	if err != nil || got != want {
		t.Errorf("inbound %s %s: got %s, %v; want %s", protocol, to, got, err, want)
	}
	took := time.Since(start)
	t.Logf("inbound %s %s: %s after %s", protocol, to, got, took.Round(time.Millisecond))
	if want != Silent && took > knockTimeout {
		t.Errorf("inbound %s %s took %s: its first packet was lost", protocol, to, took)
	}
}

func outbound(t *testing.T, v6 bool, want ...Answer) {
	t.Helper()
	start := time.Now()
	got, err := newProber().Outbound(context.Background(), v6)
	if err != nil || !slices.Contains(want, got) {
		t.Errorf("outbound v6=%v: got %s, %v; want one of %v", v6, got, err, want)
	}
	t.Logf("outbound v6=%v: %s after %s", v6, got, time.Since(start).Round(time.Millisecond))
}

func TestProbe(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		before := links(t)
		serve(t, "445") // [::], dual stack
		for _, address := range []string{"0.0.0.0:446", host4 + ":447", "[" + host6 + "]:448"} {
			l, err := net.Listen("tcp", address)
			if err != nil {
				t.Error(err)
				return
			}
			defer l.Close()
		}
		f := newFirewall()
		for _, to := range []string{"0.0.0.0:445", "[::]:445", host4 + ":445", "[" + host6 + "]:445", "0.0.0.0:446", host4 + ":447", "[" + host6 + "]:448"} {
			inbound(t, TCP, to, Answered)
		}
		inbound(t, UDP, host4+":445", Answered)
		inbound(t, UDP, "[::]:445", Answered)
		for _, to := range []string{"0.0.0.0:1", "[::]:1", host4 + ":446", "[" + host6 + "]:447", "0.0.0.0:447"} {
			want := Refused
			if to == host4+":446" {
				want = Answered
			}
			inbound(t, TCP, to, want)
		}
		inbound(t, UDP, "[::]:1", Refused)
		outbound(t, false, Answered)
		outbound(t, true, Answered)
		apply(t, f, Restrictions{Blocked: []PortRule{{TCP, 445, 445}, {UDP, 445, 445}}})
		for _, to := range []string{"0.0.0.0:445", "[::]:445", host4 + ":445", "[" + host6 + "]:445"} {
			inbound(t, TCP, to, Silent)
		}
		inbound(t, UDP, "[::]:445", Silent)
		inbound(t, TCP, "0.0.0.0:446", Answered)
		outbound(t, false, Answered)
		apply(t, f, Restrictions{Isolation: &Isolation{}})
		inbound(t, TCP, "0.0.0.0:446", Silent)
		inbound(t, TCP, "["+host6+"]:448", Silent)
		inbound(t, TCP, host4+":1", Silent)
		outbound(t, false, Refused, Silent)
		outbound(t, true, Refused, Silent)
		if after := links(t); after != before {
			t.Errorf("left behind:\n%s\nwas:\n%s", after, before)
		}
	})
}

func TestProbeConnect(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		w.fromOutside(t, func() { serve(t, "443") })
		shell(t, "ip netns exec "+w.outside+" nft 'table inet x { chain in { type filter hook input priority 0; tcp dport 444 drop; } ; }'")
		for to, want := range map[string]Answer{far4 + ":443": Answered, "[" + far6 + "]:443": Answered, far4 + ":1": Refused, far4 + ":444": Silent} {
			start := time.Now()
			got, err := newProber().Connect(context.Background(), netip.MustParseAddrPort(to))
			if err != nil || got != want || time.Since(start) > 3*time.Second {
				t.Errorf("connect to %s: got %s, %v after %s; want %s", to, got, err, time.Since(start), want)
			}
		}
	})
}

func TestProbeRefusesWhatItCannotReach(t *testing.T) {
	for _, to := range []string{"[fe80::1%eth0]:22", "224.0.0.251:5353", "[ff02::fb]:5353"} {
		if got, err := newProber().Inbound(context.Background(), UDP, netip.MustParseAddrPort(to)); err == nil {
			t.Errorf("%s: got %s; want an error", to, got)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := newProber().Inbound(ctx, TCP, netip.MustParseAddrPort("0.0.0.0:1")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

// Two agents' worth of probes at a time, one of them given up halfway.
func TestProbesAtTheSameTime(t *testing.T) {
	inWorld(t, func(t *testing.T, _ world) {
		before := links(t)
		serve(t, "445")
		ns, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			t.Error(err)
			return
		}
		defer ns.Close()
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				runtime.LockOSThread() // thrown away
				if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
					t.Error(err)
					return
				}
				if i == 5 {
					ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
					defer cancel()
					if _, err := newProber().Inbound(ctx, UDP, netip.MustParseAddrPort("0.0.0.0:9")); err == nil {
						t.Log("the probe was done before it was given up")
					}
					return
				}
				to := []string{"0.0.0.0:445", "[::]:445"}[i%2]
				if got, err := newProber().Inbound(context.Background(), TCP, netip.MustParseAddrPort(to)); err != nil || got != Answered {
					t.Errorf("got %s, %v; want answered", got, err)
				}
			})
		}
		all.Wait()
		if after := links(t); after != before {
			t.Errorf("left behind:\n%s\nwas:\n%s", after, before)
		}
	})
}

// A probe whose process is killed leaves nothing either.
func TestProbeKilled(t *testing.T) {
	inWorld(t, func(t *testing.T, _ world) {
		before := links(t)
		shell(t, "nft 'table inet wall { chain in { type filter hook input priority 0; tcp dport 445 drop; } ; }'")
		self := exec.Command("/proc/self/exe", "-test.run=TestProbeUntilKilled")
		self.Env = append(os.Environ(), "FIREBREAK_TEST_PROBE=1")
		if err := self.Start(); err != nil {
			t.Error(err)
			return
		}
		seen := false
		for range 200 {
			if seen = strings.Contains(links(t), "vethfb"); seen {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		_ = self.Process.Kill()
		_ = self.Wait()
		if !seen {
			t.Error("never saw the probe's interface")
		}
		after := ""
		for range 200 {
			if after = links(t); after == before {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("left behind:\n%s\nwas:\n%s", after, before)
	})
}

// TestProbeUntilKilled is the process that TestProbeKilled kills.
func TestProbeUntilKilled(t *testing.T) {
	if os.Getenv("FIREBREAK_TEST_PROBE") == "" {
		t.Skip("is run by TestProbeKilled as a process of its own")
	}
	_, _ = newProber().Inbound(context.Background(), TCP, netip.MustParseAddrPort("0.0.0.0:445"))
}

// TestProbeWhileConnectionsAreEnded ends the probe's own connection, as the agent
// does when it isolates the host.
func TestProbeWhileConnectionsAreEnded(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		needTools(t, "ss")
		shell(t, "ip netns exec "+w.outside+` nft 'table inet wall { chain in { type filter hook input priority 0; policy drop; }
}'`)
		end := exec.Command("sh", "-c", "for i in 1 2; do sleep 0.3; ss -tnHK state syn-sent; done")
		var ended strings.Builder
		end.Stdout = &ended
		if err := end.Start(); err != nil {
			t.Error(err)
			return
		}
		answer, err := newProber().Connect(t.Context(), netip.MustParseAddrPort("192.0.2.2:9"))
		if err != nil || answer != Silent {
			t.Errorf("got %q, %v; want %q", answer, err, Silent)
		}
		if err := end.Wait(); err != nil || strings.Count(ended.String(), "192.0.2.2:9") != 2 {
			t.Errorf("ss ended %q, %v; want two connections", ended.String(), err)
		}
	})
}

func TestProbeNeedsRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to become another user")
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // thrown away: its capabilities are gone
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			done <- errno
			return
		}
		_, err := newProber().Inbound(context.Background(), TCP, netip.MustParseAddrPort("0.0.0.0:445"))
		done <- err
	}()
	if err := <-done; !errors.Is(err, ErrNotPermitted) {
		t.Errorf("got %v; want ErrNotPermitted", err)
	}
}
