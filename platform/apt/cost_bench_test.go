//go:build linux

package apt

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// The bars that BenchmarkAgainstApt holds a reading to.
const (
	mostCPU  = 500 * time.Millisecond
	mostHeap = 20 << 20 // bytes beyond what was there before
	mostKept = 20 * time.Millisecond
	minRatio = 10.0
)

// BenchmarkAgainstApt compares one reading of this host with what apt itself takes to
// answer the same question: CPU time, the least of several runs of each. It fails where
// a bar is missed.
func BenchmarkAgainstApt(b *testing.B) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		b.Skip("needs apt-get, to compare with")
	}
	root := trees(b)[0]
	var s State
	var r *Reader
	own := time.Hour
	for range 5 {
		r = New(root)
		own = min(own, costOf(b, func() (err error) { s, err = r.State(b.Context()); return err }))
	}
	again := costOf(b, func() error { _, err := r.State(b.Context()); return err })
	heap := peakOf(func() { _, _ = New(root).State(b.Context()) })
	fmt.Printf("| %-44s | %10s |\n", fmt.Sprintf("%d packages", s.Installed), "CPU ms")
	row := func(name string, took time.Duration) {
		fmt.Printf("| %-44s | %10.2f |\n", name, float64(took.Microseconds())/1000)
	}
	row("read", own)
	row("read again, nothing changed", again)
	config, ratio := aptConfig(b, root), 0.0
	for _, cache := range []string{"without its cache", "making its cache", "with its cache"} {
		took := aptCost(b, config, cache != "without its cache")
		row("apt-get -s dist-upgrade, "+cache, took)
		if cache == "without its cache" {
			ratio = float64(took) / float64(own)
		}
	}
	fmt.Printf("| %-44s | %9.1fx |\n| %-44s | %10.1f |\n", "apt-get without its cache / read", ratio, "MB of heap at the peak", float64(heap)/(1<<20))
	b.ReportMetric(ratio, "apt/read")
	b.ReportMetric(0, "ns/op") // the ratio is the result
	if own > mostCPU || heap > mostHeap || again > mostKept {
		b.Errorf("a reading took %v, %d bytes of heap, and %v when nothing had changed; want at most %v, %d and %v", own, heap, again, mostCPU, mostHeap, mostKept)
	}
	if ratio < minRatio {
		b.Errorf("apt takes %.1f times as much; want at least %.0f", ratio, minRatio)
	}
}

func aptCost(b *testing.B, config string, cached bool) time.Duration {
	b.Helper()
	least := time.Hour
	for range 3 {
		cmd := exec.Command("apt-get", "-s", "dist-upgrade")
		if cached {
			cmd.Args = append(cmd.Args, "-o", "Dir::Cache::pkgcache=pkgcache.bin", "-o", "Dir::Cache::srcpkgcache=srcpkgcache.bin")
		}
		cmd.Env = append(os.Environ(), "APT_CONFIG="+config)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("apt-get: %v\n%s", err, out)
		}
		least = min(least, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	}
	return least
}

// costOf returns the CPU time of this process during f.
func costOf(b *testing.B, f func() error) time.Duration {
	b.Helper()
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	if err := f(); err != nil {
		b.Fatal(err)
	}
	return used() - before
}

// peakOf returns how much the heap grows at most during f.
func peakOf(f func()) uint64 {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	runtime.GC()
	before := heap()
	done, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		for {
			now := heap()
			most = max(most, now-min(now, before))
			select {
			case <-done:
				peak <- most
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	f()
	close(done)
	return <-peak
}
