package platform

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestProcessesOfThisWindows starts a child, finds it, and ends it, and nobody else.
func TestProcessesOfThisWindows(t *testing.T) {
	if os.Getenv("FIREBREAK_TEST_SLEEP") != "" {
		time.Sleep(time.Minute)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=TestProcessesOfThisWindows", "-test.count=1")
	cmd.Env = append(os.Environ(), "FIREBREAK_TEST_SLEEP=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	ctx, processes := t.Context(), newProcesses()
	p, err := processes.Inspect(ctx, cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if p.PPID != os.Getpid() || !strings.EqualFold(p.Exe, exe) || !strings.EqualFold(p.Name, filepath.Base(exe)) || p.User == "" ||
		len(p.Args) > 0 && !slices.Contains(p.Args, "-test.run=TestProcessesOfThisWindows") || time.Since(p.Started).Abs() > time.Minute {
		t.Errorf("got %+v", p)
	}
	children, err := processes.Children(ctx, os.Getpid())
	if err != nil || !slices.Contains(children, cmd.Process.Pid) {
		t.Errorf("children: %v, %v", children, err)
	}
	other := p.ProcessID
	other.Start++
	if err := processes.End(ctx, other, time.Second); err != nil {
		t.Errorf("another process with the pid: %v", err)
	}
	select {
	case <-gone:
		t.Fatal("a process was ended that began at another time")
	case <-time.After(300 * time.Millisecond):
	}
	if err := processes.End(ctx, p.ProcessID, time.Second); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Fatal("it was said to be ended")
	}
	if _, err := processes.Inspect(ctx, p.PID); !errors.Is(err, ErrGone) {
		t.Errorf("ended: got %v; want ErrGone", err)
	}
	if err := processes.End(ctx, p.ProcessID, time.Second); err != nil {
		t.Errorf("ended twice: %v", err)
	}
	for _, pid := range []int{0, systemPID, os.Getpid()} {
		if err := processes.End(ctx, ProcessID{PID: pid}, time.Second); !errors.Is(err, ErrNotPermitted) {
			t.Errorf("process %d: got %v; want ErrNotPermitted", pid, err)
		}
	}
}
