//go:build linux

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLeftovers makes what a killed program leaves, and shows that the next site
// takes it away.
func TestLeftovers(t *testing.T) {
	Need(t)
	// No process has had this pid and this start time.
	dead := &Site{ID: "4194303-1-leftover"}
	if err := os.MkdirAll(dead.Dir()+"/mount", 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dead.Remove(); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mount("tmpfs", dead.Dir()+"/mount", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	ns, err := dead.Namespace("net")
	if err != nil {
		t.Fatal(err)
	}
	cgroup, err := dead.Cgroup("group")
	if err != nil {
		t.Fatal(err)
	}
	args := cgroup.Command("sleep", "600")
	sleeper := exec.Command(args[0], args[1:]...)
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- sleeper.Wait() }()
	lookFor := append([]string{dead.Dir(), ns.Path()}, cgroup.Dirs...)
	Eventually(t, 5*time.Second, func() error {
		if pids, err := processesBelow(cgroup.Dirs[0]); err != nil || len(pids) == 0 {
			return fmt.Errorf("nothing runs in the cgroup yet: %v", err)
		}
		return nil
	})

	next, err := NewSite()
	if err != nil {
		t.Fatalf("make the next site: %v", err)
	}
	if err := next.Remove(); err != nil {
		t.Fatalf("remove the next site: %v", err)
	}
	for _, name := range lookFor {
		if _, err := os.Stat(name); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	if err := <-ended; err == nil {
		t.Error("the process of the killed program ended by itself")
	}
}
