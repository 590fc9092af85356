//go:build linux

package lab_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

// TestIdle watches an agent that has nothing to do, for a minute or for SOAK. It
// is not parallel: it wants the machine for itself.
func TestIdle(t *testing.T) {
	watch := time.Minute
	if soak := os.Getenv("SOAK"); soak != "" {
		d, err := time.ParseDuration(soak)
		if err != nil {
			t.Fatalf("SOAK=%s: %v", soak, err)
		}
		watch = d
	}
	const (
		mostRSS   = 25 << 20 // bytes
		mostShare = 0.0005   // of one core
	)
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	h.InstallAgent(t, shutPolicy)
	time.Sleep(15 * time.Second) // what it does once, after its start

	pid := h.Run(t, "systemctl", "show", "-p", "MainPID", "--value", "firebreak")
	before := onCPU(t, h, pid)
	time.Sleep(watch)
	spent := onCPU(t, h, pid) - before
	share := spent.Seconds() / watch.Seconds()
	rss := memory(t, h, pid)
	t.Logf("idle for %s: %s of CPU (%.4f %% of a core), %.1f MB in memory", watch, spent, 100*share, float64(rss)/(1<<20))
	if share > mostShare {
		t.Errorf("idle, it takes %.4f %% of a core; at most %.2f %% is allowed", 100*share, 100*mostShare)
	}
	if rss > mostRSS {
		t.Errorf("it holds %d bytes of memory; at most %d are allowed", rss, mostRSS)
	}
	if now := h.Run(t, "systemctl", "show", "-p", "MainPID", "--value", "firebreak"); now != pid {
		t.Errorf("it was restarted meanwhile: process %s, then %s", pid, now)
	}
	for line := range strings.Lines(h.Run(t, "ss", "-Hlntuwp")) {
		if strings.Contains(line, "firebreak") {
			t.Errorf("the agent listens: %s", line)
		}
	}
}

// onCPU sums up how long the threads of a process have run; see the kernel's
// Documentation/scheduler/sched-stats.rst.
func onCPU(t *testing.T, h *lab.Host, pid string) (sum time.Duration) {
	t.Helper()
	for line := range strings.Lines(h.Run(t, "sh", "-c", "cat /proc/"+pid+"/task/*/schedstat")) {
		ns, err := strconv.ParseInt(strings.Fields(line)[0], 10, 64)
		if err != nil {
			t.Fatalf("read schedstat %q: %v", line, err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// memory is the resident set of a process, in bytes.
func memory(t *testing.T, h *lab.Host, pid string) (bytes int) {
	t.Helper()
	for line := range strings.Lines(h.Run(t, "cat", "/proc/"+pid+"/status")) {
		if n, err := fmt.Sscanf(line, "VmRSS: %d kB", &bytes); err == nil && n == 1 {
			return bytes << 10
		}
	}
	t.Fatalf("process %s has no VmRSS", pid)
	return 0
}
