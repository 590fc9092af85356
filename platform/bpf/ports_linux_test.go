package bpf

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPortsTellOfTCP(t *testing.T) {
	inNetns(t, func() {
		p := watchHere(t, ThisKernel())
		for _, c := range []struct {
			family  int
			address string
		}{
			{unix.AF_INET, "127.0.0.1"}, {unix.AF_INET6, "::1"}, {unix.AF_INET, "0.0.0.0"},
		} {
			fd, cookie := open(t, c.family, unix.SOCK_STREAM)
			check(t, unix.Bind(fd, address(c.family, c.address, 40444)))
			check(t, unix.Listen(fd, 1))
			check(t, unix.Listen(fd, 2)) // no change
			check(t, unix.Close(fd))
			want := PortEvent{
				Change: Listens, TCP: true, Port: 40444, Cookie: cookie, PID: os.Getpid(),
				NetNS: p.netNS, Address: netip.MustParseAddr(c.address),
			}
			if got := p.next(cookie); got != want {
				t.Errorf("listen on %s: got %+v; want %+v", c.address, got, want)
			}
			want.Change = Ceased
			if got := p.next(cookie); got.Change != Ceased || got.Port != 40444 || !p.Here(got) {
				t.Errorf("close %s: got %+v; want %+v", c.address, got, want)
			}
		}
	})
}

// TestPortsTellOfUDP binds in every way there is; only those that ask for a port
// by its number are told of.
func TestPortsTellOfUDP(t *testing.T) {
	inNetns(t, func() {
		p := watchHere(t, ThisKernel())
		var cookies []uint64
		var fds []int
		bound := func(family int, text string, port int) {
			fd, cookie := open(t, family, unix.SOCK_DGRAM)
			if text != "" {
				check(t, unix.Bind(fd, address(family, text, port)))
			}
			cookies, fds = append(cookies, cookie), append(fds, fd)
		}
		bound(unix.AF_INET, "0.0.0.0", 0) // ephemeral
		bound(unix.AF_INET6, "::", 0)
		bound(unix.AF_INET, "", 0) // autobound when it connects
		_ = unix.Connect(fds[2], &unix.SockaddrInet4{Port: 53, Addr: [4]byte{127, 0, 0, 1}})
		bound(unix.AF_INET, "127.0.0.1", 40001)
		bound(unix.AF_INET6, "::", 40002)
		for i, want := range []PortEvent{
			{Change: Bound, Port: 40001, Cookie: cookies[3], Address: netip.MustParseAddr("127.0.0.1")},
			{Change: Bound, Port: 40002, Cookie: cookies[4], Address: netip.IPv6Unspecified()},
		} {
			if got := p.next(cookies...); got != want {
				t.Errorf("%d: got %+v; want %+v", i, got, want)
			}
		}
		for _, fd := range fds {
			check(t, unix.Close(fd))
		}
		for i, port := range []uint16{40001, 40002} {
			if got := p.next(cookies...); got.Change != Released || got.Port != port || got.Cookie != cookies[3+i] {
				t.Errorf("close: got %+v; want %d released", got, port)
			}
		}
	})
}

func TestPortsTellOfOneBoundBefore(t *testing.T) {
	inNetns(t, func() {
		fd, cookie := open(t, unix.AF_INET, unix.SOCK_DGRAM)
		check(t, unix.Bind(fd, address(unix.AF_INET, "127.0.0.1", 5353)))
		p := watchHere(t, ThisKernel())
		check(t, p.TellOf(cookie, 5353))
		check(t, unix.Close(fd))
		if got := p.next(cookie); got.Change != Released || got.Port != 5353 {
			t.Errorf("got %+v; want 5353 released", got)
		}
	})
}

// TestPortsSayWhenTheyLost fills the ring.
func TestPortsSayWhenTheyLost(t *testing.T) {
	inNetns(t, func() {
		p := watchHere(t, ThisKernel())
		if _, lost, err := p.Next(time.Now().Add(10*time.Millisecond), nil); lost || err != nil {
			t.Errorf("before: lost %v, error %v", lost, err)
		}
		for range ringBytes/(2*(portSize+8)) + 10 {
			fd, _ := open(t, unix.AF_INET, unix.SOCK_STREAM)
			check(t, unix.Listen(fd, 1))
			check(t, unix.Close(fd))
		}
		var all []PortEvent
		for lost := false; !lost; {
			var err error
			before := len(all)
			all, lost, err = p.Next(time.Now().Add(time.Second), all)
			if err != nil || (!lost && len(all) == before) {
				t.Errorf("it was not said that events were lost; error %v", err)
				return
			}
		}
		if _, lost, _ := p.Next(time.Now().Add(50*time.Millisecond), nil); lost {
			t.Error("it was said twice")
		}
	})
}

// TestPortsOfAnotherHost has another host listen on the same kernel: a process in
// another control group and namespace.
func TestPortsOfAnotherHost(t *testing.T) {
	inNetns(t, func() {
		root := unified(t)
		ours := fmt.Sprintf("%s/fb-ports-%d", root, os.Getpid())
		check(t, os.Mkdir(ours, 0o755))
		defer os.Remove(ours)
		p, err := OpenPorts(ThisKernel(), here(t), ours)
		check(t, err)
		defer p.Close()
		inNetns(t, func() { // we are in the root's group, and elsewhere
			fd, _ := open(t, unix.AF_INET, unix.SOCK_STREAM)
			check(t, unix.Listen(fd, 1))
			check(t, unix.Close(fd))
			fd, _ = open(t, unix.AF_INET, unix.SOCK_DGRAM)
			check(t, unix.Bind(fd, address(unix.AF_INET, "0.0.0.0", 5353)))
			check(t, unix.Close(fd))
		})
		if got, _, err := p.Next(time.Now().Add(100*time.Millisecond), nil); len(got) > 0 || err != nil {
			t.Errorf("got %+v, error %v; want nothing of another host", got, err)
		}
		fd, cookie := open(t, unix.AF_INET, unix.SOCK_STREAM) // in our namespace
		check(t, unix.Listen(fd, 1))
		check(t, unix.Close(fd))
		got, _, err := p.Next(time.Now().Add(time.Second), nil)
		if err != nil || len(got) == 0 || got[0].Cookie != cookie {
			t.Errorf("got %+v, error %v; want the listener in our namespace", got, err)
		}
	})
}

// TestPortsMissNone opens 10,000 ports that live 2 ms.
func TestPortsMissNone(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	inNetns(t, func() {
		p := watchHere(t, ThisKernel())
		heard := map[uint64]PortChange{}
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			var all []PortEvent
			for last := false; !last; {
				select {
				case <-stop:
					last = true
				default:
				}
				var lost bool
				var err error
				all, lost, err = p.Next(time.Now().Add(100*time.Millisecond), all[:0])
				if lost || err != nil {
					t.Errorf("lost %v, error %v", lost, err)
				}
				for _, e := range all {
					heard[e.Cookie] |= e.Change
				}
			}
		}()
		const ports, together = 10000, 10
		var cookies []uint64
		for range ports / together {
			var fds []int
			for range together {
				fd, cookie := open(t, unix.AF_INET, unix.SOCK_STREAM)
				check(t, unix.Listen(fd, 1))
				fds, cookies = append(fds, fd), append(cookies, cookie)
			}
			time.Sleep(2 * time.Millisecond)
			for _, fd := range fds {
				check(t, unix.Close(fd))
			}
		}
		close(stop)
		<-done
		missed := 0
		for _, c := range cookies {
			if heard[c] != Listens|Ceased {
				missed++
			}
		}
		if missed > 0 {
			t.Errorf("%d of %d ports were missed", missed, ports)
		}
	})
}

// BenchmarkPorts measures how long after it begins to listen a port is known of.
func BenchmarkPorts(b *testing.B) {
	inNetns(b, func() {
		p := watchHere(b, ThisKernel())
		known := make(chan time.Time, 16)
		go func() {
			var all []PortEvent
			for {
				var err error
				if all, _, err = p.Next(time.Time{}, all[:0]); err != nil {
					return
				}
				now := time.Now()
				for _, e := range all {
					if e.Change == Listens && p.Here(e) {
						known <- now
					}
				}
			}
		}()
		var took []time.Duration
		for b.Loop() {
			fd, _ := open(b, unix.AF_INET, unix.SOCK_STREAM)
			time.Sleep(2 * time.Millisecond)
			begun := time.Now()
			check(b, unix.Listen(fd, 1))
			took = append(took, (<-known).Sub(begun))
			check(b, unix.Close(fd))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-µs")
		b.ReportMetric(float64(took[len(took)-1].Microseconds()), "worst-µs")
	})
}
