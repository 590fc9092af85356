package platform

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The bars that BenchmarkIsolate holds the isolating of a host to.
const (
	isolateRounds = 100

	maxFirstDrop   = 2 * time.Millisecond // from the decision to the first packet that is dropped
	maxReadBack    = 5 * time.Millisecond // until the rules are read back as well
	minOverNftFile = 8.0                  // times sooner than nft -f with the same rules
)

// BenchmarkIsolate measures how long it takes from the decision to isolate a host
// to the first packet that is dropped, beside nft -f with the same rules: in new
// network namespaces, with nothing prepared but the open line that the agent
// reads by. A thread sends datagrams all the time; the first that the kernel
// refuses is the first drop. It fails where a bar is missed.
func BenchmarkIsolate(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("makes network namespaces: needs root")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			b.Skipf("needs the program %s", tool)
		}
	}
	var ours, theirs []isolating
	for range isolateRounds {
		// By turns: what else the machine does meets both.
		ours, theirs = append(ours, isolateOnce(b, byFirewall)), append(theirs, isolateOnce(b, byNftFile))
	}
	rows := []struct {
		name string
		of   func(isolating) time.Duration
	}{
		{"first drop", func(i isolating) time.Duration { return i.firstDrop }},
		{"applied", func(i isolating) time.Duration { return i.applied }},
		{"read back", func(i isolating) time.Duration { return i.readBack }},
	}
	fmt.Printf("| %-24s | %9s | %9s | %9s | %9s | %6s |\n", "isolate, ms", "median", "p90", "nft -f", "p90", "ratio")
	for _, r := range rows {
		us, them := spread(ours, r.of), spread(theirs, r.of)
		fmt.Printf("| %-24s | %9.3f | %9.3f | %9.3f | %9.3f | %5.1fx |\n", r.name, ms(us[0]), ms(us[1]), ms(them[0]), ms(them[1]), float64(them[0])/float64(us[0]))
	}
	drop, file, read := spread(ours, rows[0].of)[0], spread(theirs, rows[0].of)[0], spread(ours, rows[2].of)[0]
	ratio := float64(file) / float64(drop)
	b.ReportMetric(ms(drop), "ms/first-drop")
	b.ReportMetric(ms(read), "ms/read-back")
	b.ReportMetric(ratio, "nft-f/first-drop")
	b.ReportMetric(0, "ns/op") // the times above are the result
	if drop > maxFirstDrop {
		b.Errorf("the first packet was dropped after %v; want at most %v", drop, maxFirstDrop)
	}
	if read > maxReadBack {
		b.Errorf("the rules were read back after %v; want at most %v", read, maxReadBack)
	}
	if ratio < minOverNftFile {
		b.Errorf("%.1f times sooner than nft -f; want at least %.0f", ratio, minOverNftFile)
	}
}

// isolating is how long after the decision each came.
type isolating struct{ firstDrop, applied, readBack time.Duration }

// spread is the median and the nine tenths.
func spread(all []isolating, of func(isolating) time.Duration) [2]time.Duration {
	var times []time.Duration
	for _, i := range all {
		times = append(times, of(i))
	}
	slices.Sort(times)
	return [2]time.Duration{times[len(times)/2], times[len(times)*9/10]}
}

// benchIsolation is what a host would be isolated with.
func benchIsolation() Restrictions {
	return Restrictions{Isolation: &Isolation{
		Keep: []Peer{
			{Network: netip.MustParsePrefix("198.51.100.10/32"), Protocol: TCP, Port: 4222},
			{Network: netip.MustParsePrefix("2001:db8:1::10/128"), Protocol: TCP, Port: 4222},
			{Network: netip.MustParsePrefix("10.20.0.0/16"), Protocol: TCP, Port: 22, Inbound: true},
		},
		Resolvers: []netip.Addr{netip.MustParseAddr("198.51.100.53")},
		DHCP:      true, Lease: 15 * time.Minute,
	}}
}

// isolateOnce isolates a host in a namespace of its own, on a thread of its own.
func isolateOnce(b *testing.B, isolate func(*testing.B) (apply, readBack func() error)) (took isolating) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // the thread is thrown away, and the namespace with it
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			b.Error(err)
			return
		}
		cmd := exec.Command("ip", "-batch", "-")
		cmd.Stdin = strings.NewReader(`link set lo up
			link add eth0 type veth peer name eth1
			addr add 192.0.2.1/24 dev eth0
			link set eth0 up
			link set eth1 up
			neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev eth0`)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Errorf("%v: %s", err, out)
			return
		}
		apply, readBack := isolate(b)
		dropped := sendUntilDropped(b)
		began := time.Now()
		if err := apply(); err != nil {
			b.Error(err)
			return
		}
		took.applied = time.Since(began)
		if err := readBack(); err != nil {
			b.Error(err)
		}
		took.readBack = time.Since(began)
		took.firstDrop = (<-dropped).Sub(began)
	}()
	<-done
	if b.Failed() {
		b.FailNow()
	}
	return took
}

// sendUntilDropped sends datagrams from another thread in the calling thread's
// namespace, and tells when the kernel first refused one. When it returns, they
// are on their way.
func sendUntilDropped(b *testing.B) <-chan time.Time {
	dropped, sending := make(chan time.Time, 1), make(chan struct{})
	host, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		defer host.Close()
		runtime.LockOSThread()
		defer close(dropped)
		err := unix.Setns(int(host.Fd()), unix.CLONE_NEWNET)
		fd, err2 := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err := errors.Join(err, err2); err != nil {
			b.Error(err)
			close(sending)
			return
		}
		defer unix.Close(fd)
		to := &unix.SockaddrInet4{Port: 9, Addr: [4]byte{192, 0, 2, 2}}
		for n := 0; ; n++ {
			if err := unix.Sendto(fd, []byte("x"), 0, to); err == unix.EPERM {
				dropped <- time.Now()
				return
			}
			if n == 100 {
				close(sending)
			}
		}
	}()
	<-sending
	return dropped
}

// byFirewall isolates as the agent does: it has looked before.
func byFirewall(b *testing.B) (apply, readBack func() error) {
	f := newFirewall()
	ctx := context.Background()
	if _, err := f.InForce(ctx); err != nil {
		b.Fatal(err)
	}
	want := benchIsolation()
	return func() error { return f.Apply(ctx, want) }, func() error {
		defer f.line.(interface{ Close() error }).Close()
		got, err := f.InForce(ctx)
		if err == nil && !got.Equal(want) {
			err = fmt.Errorf("in force: %+v", got)
		}
		return err
	}
}

// byNftFile isolates by nft -f with the same rules, but without owners: nft
// cannot write them, as it closes its line when it ends.
func byNftFile(b *testing.B) (apply, readBack func() error) {
	can := everyAbility()
	can.Owned, can.AnyDevice = false, false
	tables, err := rulesets(benchIsolation(), ground{can: can, links: linkNames()})
	if err != nil {
		b.Fatal(err)
	}
	text := rulesetText(tables)
	return func() error {
			cmd := exec.Command("nft", "-f", "-")
			cmd.Stdin = strings.NewReader(text)
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		}, func() error {
			return exec.Command("nft", "list", "ruleset").Run()
		}
}
