package platform

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// counter starts a program that writes a line
// every few milliseconds until it ends. lines returns how many there were.
func counter(t *testing.T) (id ProcessID, lines func() int) {
	t.Helper()
	file := t.TempDir() + "/lines"
	cmd := exec.Command("sh", "-c", `while :; do echo x >>"$0"; sleep 0.01; done`, file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	start, err := startOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return ProcessID{PID: cmd.Process.Pid, Start: start}, func() int {
		data, _ := os.ReadFile(file)
		return strings.Count(string(data), "\n")
	}
}

func goesOn(lines func() int) bool {
	before := lines()
	for range 100 {
		time.Sleep(10 * time.Millisecond)
		if lines() > before+2 {
			return true
		}
	}
	return false
}

func needTracing(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to trace a process")
	}
}

func TestFreezeAndThaw(t *testing.T) {
	needTracing(t)
	id, lines := counter(t)
	if !goesOn(lines) {
		t.Fatal("the program does nothing")
	}
	thaw, err := procProcesses{}.Freeze(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // its last sleep is another process
	if goesOn(lines) {
		t.Error("a frozen program goes on")
	}
	if _, err := (procProcesses{}).Freeze(t.Context(), id); err == nil {
		t.Error("a program was frozen that is frozen")
	}
	thaw()
	if !goesOn(lines) {
		t.Error("the program does not go on after it was thawed")
	}
}

func TestFrozenProgramCanBeEnded(t *testing.T) {
	needTracing(t)
	id, _ := counter(t)
	thaw, err := procProcesses{}.Freeze(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer thaw()
	began := time.Now()
	if err := (procProcesses{}).End(t.Context(), id, 0); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestFreezeNotAnother(t *testing.T) {
	id, _ := counter(t)
	id.Start++
	if _, err := (procProcesses{}).Freeze(t.Context(), id); !errors.Is(err, ErrGone) {
		t.Errorf("got %v for a process that has the pid of another; want ErrGone", err)
	}
	for _, pid := range []int{0, 1, os.Getpid()} {
		if _, err := (procProcesses{}).Freeze(t.Context(), ProcessID{PID: pid}); !errors.Is(err, ErrNotPermitted) {
			t.Errorf("process %d: got %v; want that it is never frozen", pid, err)
		}
	}
}

// TestNothingStaysFrozen kills the one who froze a program.
func TestNothingStaysFrozen(t *testing.T) {
	needTracing(t)
	const role = "FIREBREAK_TEST_FREEZE"
	if text := os.Getenv(role); text != "" {
		var id ProcessID
		if _, err := fmt.Sscan(text, &id.PID, &id.Start); err != nil {
			t.Fatal(err)
		}
		if _, err := (procProcesses{}).Freeze(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		fmt.Println("frozen")
		time.Sleep(time.Minute)
	}
	id, lines := counter(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestNothingStaysFrozen$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", role, id.PID, id.Start))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "frozen"; {
	}
	time.Sleep(50 * time.Millisecond)
	if goesOn(lines) {
		t.Error("the program was not frozen")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if !goesOn(lines) {
		t.Error("the program is frozen after the one who froze it was killed")
	}
}
