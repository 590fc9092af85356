package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/bpf"
)

func needPortEvents(t testing.TB) {
	t.Helper()
	if why := ListenerEvents(); why != "" {
		t.Skipf("the kernel tells nothing here: %s", why)
	}
}

// watching returns an observer to which the kernel tells of ports already.
func watching(t testing.TB) (*observer, <-chan Event) {
	t.Helper()
	o := newObserver(Options{}, nil).(*observer)
	events := o.Events(t.Context())
	for end := time.Now().Add(5 * time.Second); o.news.Told() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Error("the kernel does not tell")
			break
		}
	}
	return o, events
}

// boundSocket returns a socket that is bound, and closed with the test.
func boundSocket(t testing.TB, kind int, port int) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: port})
	}
	if err != nil {
		t.Errorf("bind %d: %v", port, err)
		return -1
	}
	return fd
}

// portsOf reads the UDP ports of a snapshot.
func portsOf(t testing.TB, o Observer, p Protocol) map[uint16]Listener {
	t.Helper()
	s, err := o.Snapshot(t.Context(), Parts{PartListeners, PartOwners})
	if err != nil {
		t.Errorf("look: %v", err)
	}
	all := map[uint16]Listener{}
	for _, l := range s.Listeners {
		if l.Protocol == p {
			all[l.Port] = l
		}
	}
	return all
}

func TestKernelTellsOfPorts(t *testing.T) {
	needPortEvents(t)
	inNewNetns(t, func(t *testing.T) {
		o, events := watching(t)
		portsOf(t, o, TCP)
		fd := boundSocket(t, unix.SOCK_STREAM, 40445)
		if err := unix.Listen(fd, 1); err != nil {
			t.Error(err)
		}
		if took := awaitEvent(t, events, PartListeners, "tcp 40445 began to listen"); took > 50*time.Millisecond {
			t.Errorf("it was told after %v", took)
		}
		if l := portsOf(t, o, TCP)[40445]; l.Owner.PID != os.Getpid() {
			t.Errorf("got %+v; want this process as its owner", l)
		}
		unix.Close(fd)
		awaitEvent(t, events, PartListeners, "tcp 40445 ceased to listen")
	})
}

// TestKernelTellsServicesFromQuestions has UDP sockets inside of the range that
// the kernel hands out.
func TestKernelTellsServicesFromQuestions(t *testing.T) {
	needPortEvents(t)
	inNewNetns(t, func(t *testing.T) {
		before, asked := boundSocket(t, unix.SOCK_DGRAM, 40001), boundSocket(t, unix.SOCK_DGRAM, 0)
		o, events := watching(t)
		portsOf(t, o, UDP)
		asks := boundSocket(t, unix.SOCK_DGRAM, 0)
		serves := boundSocket(t, unix.SOCK_DGRAM, 40002)
		awaitEvent(t, events, PartListeners, "udp 40002 began to listen")
		got := portsOf(t, o, UDP)
		if ports := slices.Sorted(maps.Keys(got)); !slices.Equal(ports, []uint16{40001, 40002}) {
			t.Errorf("got UDP services %v; want 40001, which was there before, and 40002", ports)
		}
		for _, fd := range []int{serves, before, asked, asks} {
			unix.Close(fd)
		}
		awaitEvent(t, events, PartListeners, "udp 40002 ceased to listen")
		if got := portsOf(t, o, UDP); len(got) > 0 {
			t.Errorf("got UDP services %v; want none", got)
		}
	})
}

// TestPollingWhereTheKernelDoesNotTell has a kernel that refuses the first step.
func TestPollingWhereTheKernelDoesNotTell(t *testing.T) {
	inNewNetns(t, func(t *testing.T) {
		o := newObserver(Options{}, nil).(*observer)
		o.kernel.NewMap = func(*ebpf.MapSpec) (*ebpf.Map, error) { return nil, unix.EPERM }
		events := o.Events(t.Context())
		time.Sleep(50 * time.Millisecond)
		fd := boundSocket(t, unix.SOCK_STREAM, 40445)
		defer unix.Close(fd)
		if err := unix.Listen(fd, 1); err != nil {
			t.Error(err)
		}
		if took := awaitEvent(t, events, PartListeners, "tcp 40445 began to listen"); took > 1100*time.Millisecond {
			t.Errorf("it was told after %v; want 1.1 s at most", took)
		}
	})
}

func TestWhyNoEvents(t *testing.T) {
	for _, c := range []struct {
		err            error
		lockdown, want string
	}{
		{errNoGroups, "", "no control groups"},
		{fmt.Errorf("make map: %w", syscall.EPERM), "", "CAP_BPF"},
		{fmt.Errorf("load: %w", syscall.EPERM), "none integrity [confidentiality]", "locked down"},
		{fmt.Errorf("load: %w", syscall.EPERM), "none [integrity] confidentiality", "CAP_BPF"},
		{fmt.Errorf("%w: %w", bpf.ErrRing, syscall.EINVAL), "", "too old"},
		{fmt.Errorf("watch TCP: %w; with tracefs: %w", ebpf.ErrNotSupported, fs.ErrNotExist), "", "tracefs"},
		{errors.New("something else"), "", "something else"},
	} {
		if got := whyNoEvents(c.err, c.lockdown); !strings.Contains(got, c.want) {
			t.Errorf("%v, %q: got %q; want %q", c.err, c.lockdown, got, c.want)
		}
	}
}

func TestPaceRestsOnlyInBursts(t *testing.T) {
	var p portPace
	now := time.Unix(1, 0)
	for range 500 { // one in 5 ms
		if now = now.Add(5 * time.Millisecond); p.busy(1, now) {
			t.Fatal("it rests though there is little")
		}
	}
	if p.busy(manyPorts/2, now) {
		t.Error("it rests before there is much")
	}
	rests := 0
	for range 100 {
		if now = now.Add(portRest); p.busy(400, now) {
			rests++
		}
	}
	if rests < 99 {
		t.Errorf("it rested %d times of 100 in a burst", rests)
	}
	if p.busy(1, now.Add(time.Second)) {
		t.Error("it rests after the burst")
	}
}

// TestBurstOfPorts has ports open and close as fast as a program can, and then
// compares what is said to be there with what is.
func TestBurstOfPorts(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	needPortEvents(t)
	inNewNetns(t, func(t *testing.T) {
		o, events := watching(t)
		portsOf(t, o, TCP)
		stop, done := make(chan struct{}), make(chan int)
		go func() {
			told := 0
			for {
				select {
				case <-events:
					told++
				case <-stop:
					done <- told
					return
				}
			}
		}()
		const a = 30000
		begun := time.Now()
		for range a {
			fd := boundSocket(t, unix.SOCK_STREAM, 0)
			_ = unix.Listen(fd, 1)
			unix.Close(fd)
		}
		took := time.Since(begun)
		last := boundSocket(t, unix.SOCK_STREAM, 40445)
		defer unix.Close(last)
		_ = unix.Listen(last, 1)
		time.Sleep(100 * time.Millisecond)
		close(stop)
		told := <-done
		t.Logf("%d ports in %v: %d events", a, took, told)
		if told == 0 || told > 2*int(took/portRest)+3*manyPorts {
			t.Errorf("%d events were told in %v", told, took)
		}
		if got := portsOf(t, o, TCP); len(got) != 1 || got[40445].Port == 0 {
			t.Errorf("got %v; want 40445 alone", got)
		}
	})
}

// BenchmarkPortKnown measures how long after listen() an event is had.
func BenchmarkPortKnown(b *testing.B) {
	needPortEvents(b)
	_, events := watching(b)
	heard := make(chan time.Time, 16)
	go func() {
		for e := range events {
			if strings.Contains(e.Why, "tcp 40447 began") {
				heard <- time.Now()
			}
		}
	}()
	var took []time.Duration
	for b.Loop() {
		fd := boundSocket(b, unix.SOCK_STREAM, 40447)
		time.Sleep(3 * time.Millisecond)
		for len(heard) > 0 { // of the round before: it is said twice
			<-heard
		}
		begun := time.Now()
		if err := unix.Listen(fd, 1); err != nil {
			b.Fatal(err)
		}
		took = append(took, (<-heard).Sub(begun))
		unix.Close(fd)
		time.Sleep(7 * time.Millisecond)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-µs")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "worst-µs")
}
