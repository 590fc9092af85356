package platform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// runit is runit, or s6, which is told the same by the same means: a supervisor
// for each service, in the service's folder, which reads single letters from a
// pipe there. A file named down keeps it from starting the service.
type runit struct {
	kind string
	name string // of the supervisor's program
}

// The key of a runit service's Program.State, and its values.
const (
	stateWanted = "wanted"
	wantedUp    = "up"
	wantedOnce  = "once" // not started again when it ends
)

// downText is what the file down says to who finds it; runit reads none of it.
const downText = "# Firebreak closed this service: see firebreak threats\n"

// runitPatience is how long a service may take to stop when it is asked to.
const runitPatience = 7 * time.Second

func (s runit) find(ctx context.Context, l Listener) ([]Program, error) {
	daemon, child := under(l, s.name)
	if daemon == nil || child == nil {
		return nil, nil
	}
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", daemon.PID))
	if err != nil {
		return nil, fmt.Errorf("find the folder of process %d: %w", daemon.PID, readable(err))
	}
	if filepath.Base(dir) == "log" {
		return nil, fmt.Errorf("it is the logger of the service in %s: %w", filepath.Dir(dir), ErrUnsupported)
	}
	p := Program{
		Kind: s.kind, Name: filepath.Base(dir), Title: fmt.Sprintf("service %s of %s", printable(filepath.Base(dir)), s.kind),
		Where: dir, State: map[string]string{stateWanted: wantedUp},
	}
	if stat, err := readPipeFile(filepath.Join(dir, "supervise"), "stat"); err == nil && strings.Contains(stat, "want down") {
		p.State[stateWanted] = wantedOnce
	}
	ids := family(ctx, child.PID)
	p.PIDs, p.State[stateProcesses] = pidsOf(ids), writeIDs(ids)
	down, err := readState(filepath.Join(dir, "down"), 0)
	if err != nil {
		return nil, err
	}
	if down.Absent {
		down.Closed = hashOf(downText)
		p.Files = []FileState{down}
	}
	p.Kept = down.Absent || p.State[stateWanted] == wantedUp
	return []Program{p}, nil
}

// readPipeFile reads a small file in a folder that is root's.
func readPipeFile(folder, name string) (string, error) {
	dir, err := rootFolder(folder)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 4096))
	return string(data), err
}

// tell writes a letter to the supervisor of a service. It returns ErrGone if
// there is none: then nothing reads the pipe.
func (p Program) tell(letter string) error {
	dir, err := rootFolder(filepath.Join(p.Where, "supervise"))
	if err != nil {
		return err
	}
	defer dir.Close()
	fd, err := unix.Openat(int(dir.Fd()), "control", unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("nobody supervises %s: %w", p.Where, ErrGone)
	}
	if err != nil {
		return fmt.Errorf("tell the supervisor of %s: %w", p.Where, err)
	}
	pipe := os.NewFile(uintptr(fd), p.Where)
	defer pipe.Close()
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil || s.Mode&unix.S_IFMT != unix.S_IFIFO || s.Uid != 0 {
		return fmt.Errorf("tell the supervisor of %s: its pipe is not root's: %w", p.Where, errors.Join(err, ErrUnsupported))
	}
	if _, err := pipe.WriteString(letter); err != nil {
		return fmt.Errorf("tell the supervisor of %s: %w", p.Where, err)
	}
	return nil
}

// running returns the processes of the service, those that its supervisor does
// not know of any more too.
func (s runit) running(ctx context.Context, p Program) ([]ProcessID, error) {
	ids := readIDs(p.State[stateProcesses])
	daemons, err := daemons(s.name)
	if err != nil {
		return nil, err
	}
	for _, d := range daemons {
		dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", d.PID))
		if err != nil || dir != p.Where {
			continue
		}
		children, err := procProcesses{}.Children(ctx, d.PID)
		if err != nil {
			continue
		}
		for _, pid := range children {
			if !isLogger(pid, p.Where) {
				ids = append(ids, family(ctx, pid)...)
			}
		}
	}
	return ids, nil
}

// isLogger tells whether a child of a service's supervisor takes the service's
// output, and is not the service.
func isLogger(pid int, dir string) bool {
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err == nil && cwd == filepath.Join(dir, "log")
}

func (s runit) inspect(ctx context.Context, p Program) (Program, error) {
	down, err := readState(filepath.Join(p.Where, "down"), 0)
	if err != nil {
		return Program{}, err
	}
	if _, err := os.Lstat(p.Where); err != nil {
		return Program{}, fmt.Errorf("find %s: %w", p.Where, ErrGone)
	}
	ids, err := s.running(ctx, p)
	if err != nil {
		return Program{}, err
	}
	p.PIDs = pidsOf(ids)
	p.Kept = down.Absent || len(p.PIDs) > 0
	return p, nil
}

// close makes the file down before it stops the service, so that nothing starts
// it meanwhile.
func (s runit) close(ctx context.Context, p Program) error {
	for _, f := range p.Files {
		if err := f.make(downText); err != nil {
			return err
		}
	}
	FaultPoint("supervisors.unkept")
	if err := p.tell("d"); err != nil && !errors.Is(err, ErrGone) {
		return err
	}
	for until := time.Now().Add(runitPatience); ; {
		ids, err := s.running(ctx, p)
		if err != nil {
			return err
		}
		if len(pidsOf(ids)) == 0 {
			return nil
		}
		if !time.Now().Before(until) {
			return endAll(ctx, ids)
		}
		if err := turn(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// turn waits, or returns the error of a context that ends before.
func turn(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s runit) restore(ctx context.Context, p Program) error {
	for _, f := range p.Files {
		if err := f.unmake(); err != nil {
			return err
		}
	}
	if len(p.PIDs) == 0 {
		return nil
	}
	now, err := s.inspect(ctx, p)
	if err != nil || len(now.PIDs) > 0 {
		return err
	}
	letter := "u"
	if p.State[stateWanted] == wantedOnce {
		letter = "o"
	}
	return p.tell(letter)
}
