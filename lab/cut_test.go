//go:build linux

package lab_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

// TestThousandConnections isolates a host with a thousand connections that are
// not kept: all are dead within a second of the order, those that are kept live
// on, and nothing comes alive again after the release.
func TestThousandConnections(t *testing.T) {
	t.Parallel()
	const forbidden = 1000
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	h.InstallAgent(t, leakPolicy)
	host := place{do: h.Do, v4: h.IPv4, v6: h.IPv6}
	attacker := place{do: n.Attacker.Do, v4: n.Attacker.IPv4, v6: n.Attacker.IPv6}
	management := place{do: n.Management.Do, v4: n.Management.IPv4, v6: n.Management.IPv6}

	var pairs []pair
	for i := range forbidden {
		client, server, inwards := host, attacker, i%3 == 0
		if inwards {
			client, server = attacker, host
		}
		to := server.v4
		if i%2 == 1 {
			to = server.v6
		}
		kind := "TCP"
		if i%5 == 0 {
			kind = "UDP"
		}
		a, b, err := connected(kind, client, server, netip.AddrPortFrom(to, uint16(20000+i)))
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		if inwards {
			a, b = b, a
		}
		pairs = append(pairs, pair{host: a, other: b})
	}
	keptHost, keptPeer, err := connected("TCP", host, management, netip.AddrPortFrom(management.v4, 9000))
	if err != nil {
		t.Fatal(err)
	}

	ordered := time.Now()
	died := make([]time.Duration, len(pairs))
	heard := make([]int, 2*len(pairs))
	var listening, others sync.WaitGroup
	for i, p := range pairs {
		listening.Go(func() { heard[2*i] = listen(p.host); died[i] = time.Since(ordered) })
		others.Go(func() { heard[2*i+1] = listen(p.other) })
	}
	said := h.Firebreak(t, "isolate", "--reason", "test")
	answered := time.Since(ordered)
	dead := make(chan struct{})
	go func() { listening.Wait(); close(dead) }()
	select {
	case <-dead:
	case <-time.After(5 * time.Second):
		t.Errorf("5 s after the order some are still alive; the agent said: %s", said)
		for _, p := range pairs {
			p.host.Close()
		}
		<-dead
	}
	last := time.Duration(0)
	late := 0
	for _, d := range died {
		last = max(last, d)
		if d > time.Second {
			late++
		}
	}
	t.Logf("the last of %d died %s after the order, which was answered after %s", forbidden, last.Round(time.Millisecond), answered.Round(time.Millisecond))
	if late > 0 {
		t.Errorf("%d of %d were alive a second after the order", late, forbidden)
	}
	speak(t, keptHost, keptPeer)

	h.Firebreak(t, "release")
	speak(t, keptHost, keptPeer)
	resumed := 0
	for _, p := range pairs {
		// The other end knows nothing yet: what it sends must not reach anybody.
		_, _ = p.other.Write([]byte("again"))
		if _, err := p.host.Write([]byte("again")); err == nil {
			resumed++
		}
	}
	time.Sleep(500 * time.Millisecond)
	for _, p := range pairs {
		p.other.Close()
	}
	others.Wait()
	for _, size := range heard {
		if size > 0 {
			resumed++
		}
	}
	if resumed > 0 {
		t.Errorf("%d connections resumed after the release", resumed)
	}
	if left := h.Run(t, "ss", "-Hntu", "state", "established"); strings.Contains(left, fmt.Sprintf("%s:2", n.Attacker.IPv4)) {
		t.Errorf("left on the host: %s", left)
	}
}

// listen reads until the connection is dead, and returns how much it heard.
func listen(c net.Conn) (heard int) {
	buf := make([]byte, 64)
	for {
		size, err := c.Read(buf)
		heard += size
		if err != nil {
			return heard
		}
	}
}

// speak says a word on a connection that must still work.
func speak(t *testing.T, from, to net.Conn) {
	t.Helper()
	if _, err := from.Write([]byte("still here")); err != nil {
		t.Errorf("what is kept is cut: %v", err)
		return
	}
	if err := to.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Error(err)
	}
	if err := readOnce(to); err != nil {
		t.Errorf("what is kept is cut: %v", err)
	}
}
