package platform

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// startShell starts a shell script, whose last word it waits for.
func startShell(t *testing.T, script string) (*exec.Cmd, Process) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	ready := make([]byte, 6)
	if _, err := out.Read(ready); err != nil {
		t.Fatal(err)
	}
	p, err := newProcesses().Inspect(t.Context(), cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return cmd, p
}

func TestEndAsksBeforeItKills(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		grace  time.Duration
		killed bool
	}{
		"obeys":    {`trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done`, 5 * time.Second, false},
		"stubborn": {`trap '' TERM; echo ready; while :; do sleep 0.05; done`, 200 * time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			cmd, p := startShell(t, c.script)
			if err := newProcesses().End(t.Context(), p.ProcessID, c.grace); err != nil {
				t.Fatal(err)
			}
			if _, err := newProcesses().Inspect(t.Context(), p.PID); !errors.Is(err, ErrGone) {
				t.Errorf("a process that only its parent still knows is not gone: %v", err)
			}
			_ = cmd.Wait()
			if killed := cmd.ProcessState.ExitCode() != 7; killed != c.killed {
				t.Fatalf("ended with %v", cmd.ProcessState)
			}
			if err := newProcesses().End(t.Context(), p.ProcessID, c.grace); err != nil {
				t.Fatalf("a process that is gone is an error: %v", err)
			}
		})
	}
}

func TestEndSparesAnotherProcessWithThePID(t *testing.T) {
	_, p := startShell(t, `echo ready; sleep 60`)
	other := ProcessID{PID: p.PID, Start: p.Start - 1}
	if err := newProcesses().End(t.Context(), other, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := newProcesses().Inspect(t.Context(), p.PID); err != nil {
		t.Fatalf("ended a process that only had the same pid: %v", err)
	}
}

func TestEndRefusesTheInitProcess(t *testing.T) {
	if err := newProcesses().End(t.Context(), ProcessID{PID: 1}, 0); !errors.Is(err, ErrNotPermitted) {
		t.Fatal(err)
	}
}

func TestEndStopsWaitingWithItsContext(t *testing.T) {
	_, p := startShell(t, `trap '' TERM; echo ready; while :; do sleep 0.05; done`)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := newProcesses().End(ctx, p.ProcessID, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestInspectSaysWhatRuns(t *testing.T) {
	cmd, p := startShell(t, `echo ready; sleep 60; true`)
	if !slices.Equal(p.Args, cmd.Args) || p.Exe == "" || p.Dir == "" || p.PPID == 0 || p.UID != uint32(os.Geteuid()) {
		t.Fatalf("%+v", p)
	}
	if age := time.Since(p.Started); age < -time.Second || age > 10*time.Second {
		t.Fatalf("started %v ago", age)
	}
	var children []int
	for range 50 {
		children, _ = newProcesses().Children(t.Context(), p.PID)
		if len(children) == 1 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if len(children) != 1 {
		t.Fatalf("children: %v", children)
	}
	if _, err := newProcesses().Inspect(t.Context(), 1<<22+1); !errors.Is(err, ErrGone) {
		t.Fatal(err)
	}
}
