package platform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// winProcesses are the processes of a Windows host. A handle names one process for
// good: as long as it is open its pid is not given to another one.
type winProcesses struct{}

func newProcesses() Processes { return winProcesses{} }

func (winProcesses) Inspect(_ context.Context, pid int) (Process, error) {
	h, err := openProcess(pid, windows.PROCESS_QUERY_LIMITED_INFORMATION|windows.SYNCHRONIZE)
	if err != nil {
		return Process{}, fmt.Errorf("inspect process: %w", err)
	}
	defer windows.CloseHandle(h)
	if ended, err := waitEnd(h, 0); err != nil || ended {
		return Process{}, fmt.Errorf("inspect process %d: %w", pid, errors.Join(err, ErrGone))
	}
	p := Process{ProcessID: ProcessID{PID: pid}}
	if p.Start, err = startOf(h); err != nil {
		return Process{}, fmt.Errorf("inspect process %d: %w", pid, err)
	}
	p.Started = time.Unix(0, (&windows.Filetime{HighDateTime: uint32(p.Start >> 32), LowDateTime: uint32(p.Start)}).Nanoseconds())
	if p.Exe, err = exeOf(h); err != nil {
		return Process{}, fmt.Errorf("inspect process %d: %w", pid, err)
	}
	p.Name = filepath.Base(p.Exe)
	if p.User, err = userOf(h); err != nil && !errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return Process{}, fmt.Errorf("inspect process %d: %w", pid, err)
	}
	if line, err := commandLineOf(h); err == nil {
		if p.Args, err = windows.DecomposeCommandLine(line); err != nil {
			p.Args = []string{line}
		}
	}
	services, err := servicesByPID()
	if err == nil && len(services[pid]) == 1 {
		p.Unit = services[pid][0]
	}
	all, err := processTree()
	if err != nil {
		return Process{}, fmt.Errorf("inspect process %d: %w", pid, err)
	}
	p.PPID = all[pid]
	return p, nil
}

func (winProcesses) Children(_ context.Context, pid int) ([]int, error) {
	all, err := processTree()
	if err != nil {
		return nil, fmt.Errorf("list children of process %d: %w", pid, err)
	}
	if _, ok := all[pid]; !ok {
		return nil, fmt.Errorf("list children of process %d: %w", pid, ErrGone)
	}
	parent, err := winStart(pid)
	if err != nil {
		return nil, fmt.Errorf("list children of process %d: %w", pid, err)
	}
	var pids []int
	for child, of := range all {
		if of != pid || child == pid {
			continue
		}
		// Windows keeps the pid of a parent that ended, and gives it to others: a
		// child is not older than its parent.
		if start, err := winStart(child); err == nil && start >= parent {
			pids = append(pids, child)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

func winStart(pid int) (uint64, error) {
	h, err := openProcess(pid, windows.PROCESS_QUERY_LIMITED_INFORMATION)
	if err != nil {
		return 0, err
	}
	defer windows.CloseHandle(h)
	return startOf(h)
}

// killWait is how long a process that was ended may take to be gone.
const killWait = 5 * time.Second

// End ends a process at once: Windows has no way of asking a program without a
// window to end itself, and a service is asked by the service manager. The grace
// is given to one that is ending already.
func (winProcesses) End(ctx context.Context, id ProcessID, grace time.Duration) error {
	if id.PID <= systemPID || id.PID == os.Getpid() {
		return fmt.Errorf("end process %d: the agent never ends that one: %w", id.PID, ErrNotPermitted)
	}
	h, err := openProcess(id.PID, windows.PROCESS_QUERY_LIMITED_INFORMATION|windows.PROCESS_TERMINATE|windows.SYNCHRONIZE)
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("end process: %w", err)
	}
	defer windows.CloseHandle(h)
	start, err := startOf(h)
	if err != nil {
		return fmt.Errorf("end process %d: %w", id.PID, err)
	}
	if start != id.Start {
		return nil // another one has the number now
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("end process %d: %w", id.PID, err)
	}
	if err := windows.TerminateProcess(h, 1); err != nil {
		if ended, waitErr := waitEnd(h, grace); waitErr == nil && ended {
			return nil
		}
		return fmt.Errorf("end process %d: %w", id.PID, err)
	}
	ended, err := waitEnd(h, killWait)
	if err != nil {
		return fmt.Errorf("end process %d: %w", id.PID, err)
	}
	if !ended {
		return fmt.Errorf("end process %d: it was ended and is still there after %s", id.PID, killWait)
	}
	return nil
}

// waitEnd waits for the end of a process, and tells whether it came.
func waitEnd(h windows.Handle, wait time.Duration) (bool, error) {
	event, err := windows.WaitForSingleObject(h, uint32(wait.Milliseconds()))
	switch event {
	case windows.WAIT_OBJECT_0:
		return true, nil
	case uint32(windows.WAIT_TIMEOUT):
		return false, nil
	}
	return false, fmt.Errorf("wait for process: %w", err)
}

// processTree is the parent of every process.
func processTree() (map[int]int, error) {
	list, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPPROCESS, 0)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer windows.CloseHandle(list)
	entry := windows.ProcessEntry32{Size: uint32(unsafe.Sizeof(windows.ProcessEntry32{}))}
	all := map[int]int{}
	for err = windows.Process32First(list, &entry); err == nil; err = windows.Process32Next(list, &entry) {
		all[int(entry.ProcessID)] = int(entry.ParentProcessID)
	}
	if !errors.Is(err, windows.ERROR_NO_MORE_FILES) {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	return all, nil
}

// commandLineOf asks for the command line of a process (ProcessCommandLineInformation,
// since Windows 8.1; Wine lacks it).
func commandLineOf(h windows.Handle) (string, error) {
	const class = 60
	buffer := make([]byte, 64<<10+int(unsafe.Sizeof(windows.NTUnicodeString{})))
	var n uint32
	if err := windows.NtQueryInformationProcess(h, class, unsafe.Pointer(&buffer[0]), uint32(len(buffer)), &n); err != nil {
		return "", fmt.Errorf("ask for command line: %w", err)
	}
	return (*windows.NTUnicodeString)(unsafe.Pointer(&buffer[0])).String(), nil
}

// Freeze is not done: a suspended process stays so when the one ends that suspended
// it.
func (winProcesses) Freeze(_ context.Context, id ProcessID) (thaw func(), err error) {
	return nil, fmt.Errorf("freeze process %d: %w", id.PID, ErrUnsupported)
}
