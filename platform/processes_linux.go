package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// procProcesses reads processes from /proc and ends them through pidfds.
type procProcesses struct{}

func newProcesses() Processes { return procProcesses{} }

func (procProcesses) Inspect(_ context.Context, pid int) (Process, error) {
	facts, err := newProcessBook().facts(pid)
	if err != nil {
		return Process{}, fmt.Errorf("inspect process: %w", err)
	}
	dir := "/proc/" + strconv.Itoa(pid)
	if stat, err := os.ReadFile(dir + "/stat"); err != nil || hasEnded(stat) {
		return Process{}, fmt.Errorf("inspect process %d: %w", pid, ErrGone)
	}
	var users userNames
	users.refresh()
	exe, _ := facts.exe()
	p := Process{
		ProcessID: facts.ProcessID, PPID: facts.ppid, Name: facts.name, Exe: exe,
		UID: facts.uid, User: users.name(facts.uid), Unit: facts.place.unit, Started: startedAt(facts.Start),
	}
	if args, err := os.ReadFile(dir + "/cmdline"); err == nil {
		p.Args = splitArgs(args)
	}
	if cwd, err := os.Readlink(dir + "/cwd"); err == nil {
		p.Dir = cwd
	}
	if cgroup, err := os.ReadFile(dir + "/cgroup"); err == nil {
		p.Cgroup = groupPath(string(cgroup))
	}
	return p, nil
}

// hasEnded tells from /proc/PID/stat whether nothing is left of a process but
// its exit status, which its parent has not asked for yet.
func hasEnded(stat []byte) bool {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	return len(fields) > 0 && strings.ContainsAny(string(fields[0]), "ZX")
}

// splitArgs reads /proc/PID/cmdline: every argument ends in a zero byte. A
// process may have written anything over it.
func splitArgs(cmdline []byte) []string {
	text := strings.TrimRight(string(cmdline), "\x00")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\x00")
}

// groupPath returns the control group of version 2, or else systemd's own.
func groupPath(cgroup string) string {
	var named string
	for line := range strings.Lines(cgroup) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(f) != 3:
		case f[0] == "0" && f[1] == "" && f[2] != "/":
			return f[2]
		case f[1] == "name=systemd":
			named = f[2]
		}
	}
	return named
}

// startedAt turns clock ticks since boot into a time. The kernel tells user
// space 100 ticks a second on every architecture that Go runs on.
func startedAt(ticks uint64) time.Time {
	const hertz = 100
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return time.Time{}
	}
	up := time.Duration(now.Nano())
	return time.Now().Add(time.Duration(ticks)*time.Second/hertz - up).Round(10 * time.Millisecond)
}

// Children reads the children of every thread: one that a thread started is
// listed under that thread alone.
func (procProcesses) Children(_ context.Context, pid int) ([]int, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil || len(tasks) == 0 {
		return nil, fmt.Errorf("list children of process %d: %w", pid, ErrGone)
	}
	var pids []int
	for _, task := range tasks {
		data, err := os.ReadFile(task)
		if err != nil {
			continue // the thread ended meanwhile
		}
		for word := range strings.FieldsSeq(string(data)) {
			if child, err := strconv.Atoi(word); err == nil {
				pids = append(pids, child)
			}
		}
	}
	slices.Sort(pids)
	return pids, nil
}

func (procProcesses) End(ctx context.Context, id ProcessID, grace time.Duration) error {
	if id.PID <= 1 || id.PID == os.Getpid() {
		return fmt.Errorf("end process %d: the agent never ends that one: %w", id.PID, ErrNotPermitted)
	}
	fd, err := unix.PidfdOpen(id.PID, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("end process %d: this kernel has no pidfds: %w", id.PID, ErrUnsupported)
	case err != nil:
		return fmt.Errorf("end process %d: %w", id.PID, err)
	}
	defer unix.Close(fd)
	// The pidfd names one process for good; only now is it sure which one.
	if start, err := startOf(id.PID); errors.Is(err, ErrGone) || err == nil && start != id.Start {
		return nil
	} else if err != nil {
		return fmt.Errorf("end process %d: %w", id.PID, err)
	}
	for _, step := range []struct {
		signal unix.Signal
		wait   time.Duration
	}{{unix.SIGTERM, grace}, {unix.SIGKILL, killWait}} {
		ended, err := signalAndWait(ctx, fd, step.signal, step.wait)
		if err != nil {
			return fmt.Errorf("end process %d: %w", id.PID, err)
		}
		if ended {
			return nil
		}
		FaultPoint("processes.terminated")
	}
	return fmt.Errorf("end process %d: it was killed and still does not end: the kernel is busy for it", id.PID)
}

// killWait is how long a killed process may take to be gone: it ends only when
// it returns from the kernel, such as from a network file system.
const killWait = 10 * time.Second

func startOf(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, ErrGone
	}
	if err != nil {
		return 0, fmt.Errorf("read start time: %w", err)
	}
	stat, ok := parseStat(data)
	if !ok {
		return 0, errors.New("its status cannot be understood")
	}
	return stat.start, nil
}

// signalAndWait sends the signal and tells whether the process ended within the
// wait.
func signalAndWait(ctx context.Context, pidfd int, signal unix.Signal, wait time.Duration) (bool, error) {
	err := unix.PidfdSendSignal(pidfd, signal, nil, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return true, nil
	case errors.Is(err, unix.EPERM):
		return false, ErrNotPermitted
	case err != nil:
		return false, fmt.Errorf("signal: %w", err)
	}
	const turn = 100 * time.Millisecond // how soon the end of ctx is noticed
	for until := time.Now().Add(wait); ; {
		left := max(min(turn, time.Until(until)), 0)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return false, fmt.Errorf("wait for its end: %w", err)
		case n > 0:
			return true, nil
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if !time.Now().Before(until) {
			return false, nil
		}
	}
}
