//go:build linux

package lab_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/lab"
)

// TestBurstOfListeners has ports open and close for ten seconds, 10,000 a second,
// and then one that policy denies. The agent has to stay small, and to see it.
func TestBurstOfListeners(t *testing.T) {
	t.Parallel()
	const (
		second    = 10000 // ports in one
		span      = 10 * time.Second
		mostShare = 0.30 // of one core
		mostRSS   = 60 << 20
	)
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	h.InstallAgent(t, shutPolicy)
	if doctor, _, _ := h.TryFirebreak("doctor"); !strings.Contains(doctor, "events: from the kernel (eBPF)") {
		t.Fatalf("doctor does not say that the kernel tells of ports: %s", doctor)
	}
	pid := h.Run(t, "systemctl", "show", "-p", "MainPID", "--value", "firebreak")
	before := onCPU(t, h, pid)
	begun := time.Now()
	opened := 0
	if err := h.Do(func() error {
		for time.Since(begun) < span {
			for opened < int(time.Since(begun).Seconds()*second) {
				if err := openAndClose(); err != nil {
					return err
				}
				opened++
			}
			time.Sleep(time.Millisecond)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begun)
	spent := onCPU(t, h, pid) - before
	share, rss := spent.Seconds()/took.Seconds(), memory(t, h, pid)
	t.Logf("%d ports in %s: %s of CPU (%.1f %% of a core), %.1f MB in memory", opened, took, spent, 100*share, float64(rss)/(1<<20))
	if share > mostShare {
		t.Errorf("it takes %.1f %% of a core; at most %.0f %% is allowed", 100*share, 100*mostShare)
	}
	if rss > mostRSS {
		t.Errorf("it holds %d bytes of memory; at most %d are allowed", rss, mostRSS)
	}
	h.SSH(t, "lena", "nc -lkd 0.0.0.0 7001")
	resolved(t, h, 30*time.Second, 7001)
	// Of the others some were seen in their moment; none is left.
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		left := slices.DeleteFunc(h.Threats(t), func(th lab.Threat) bool {
			return th.Subject.Port == nil || th.Stage == "resolved"
		})
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("these ports are still said to be open: %+v", left)
		}
	}
}

// openAndClose listens for a moment on a port that the kernel chooses.
func openAndClose() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make socket: %w", err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return unix.Close(fd)
}
