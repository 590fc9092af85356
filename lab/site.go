//go:build linux

package lab

import (
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

// sites is where the lab keeps what it has made on this machine. What belongs to
// a site can be told from the name of its folder alone, so that it can be
// removed after the program that made it was killed.
const sites = "/run/firebreak-lab"

// Site is a set of namespaces, cgroups and mounts that are removed together.
type Site struct {
	ID string // "PID-STARTTIME-RANDOM" of the program that made it
}

// NewSite makes an empty site. It first removes the sites of programs that are
// no longer there.
func NewSite() (*Site, error) {
	if err := os.MkdirAll(sites, 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	unlock, err := lock(sites + "/lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeLeftovers(); err != nil {
		return nil, fmt.Errorf("remove leftovers: %w", err)
	}
	start, err := startTime(os.Getpid())
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(sites, fmt.Sprintf("%d-%d-", os.Getpid(), start))
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	return &Site{ID: filepath.Base(dir)}, nil
}

// Dir is the site's own folder; what is mounted below it is unmounted by Remove.
func (s *Site) Dir() string { return filepath.Join(sites, s.ID) }

// Remove ends every process in the site's cgroups and takes away its mounts,
// namespaces, cgroups and folder.
func (s *Site) Remove() error {
	return errors.Join(
		s.endProcesses(),
		s.removeNspawnFiles(),
		s.unmount(),
		s.deleteNamespaces(),
		s.removeCgroups(),
		os.RemoveAll(s.Dir()),
	)
}

// removeNspawnFiles removes what systemd-nspawn leaves in /run when it is killed:
// a folder named after the host, and a lock named after its root folder's inode.
func (s *Site) removeNspawnFiles() error {
	var errs []error
	folders, err := filepath.Glob("/run/systemd/nspawn/*/*-" + s.ID)
	errs = append(errs, err)
	for _, dir := range folders {
		errs = append(errs, os.Remove(dir))
	}
	roots, err := filepath.Glob(s.Dir() + "/*/root")
	errs = append(errs, err)
	for _, root := range roots {
		var st unix.Stat_t
		if unix.Stat(root, &st) != nil {
			continue
		}
		err := os.Remove(fmt.Sprintf("/run/systemd/nspawn/locks/inode-%d:%d", st.Dev, st.Ino))
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func removeLeftovers() error {
	entries, err := os.ReadDir(sites)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		part := strings.Split(e.Name(), "-")
		if !e.IsDir() || len(part) != 3 {
			continue
		}
		pid, err := strconv.Atoi(part[0])
		if err != nil {
			continue
		}
		if start, err := startTime(pid); err == nil && strconv.FormatUint(start, 10) == part[1] {
			continue // its program is still running
		}
		errs = append(errs, (&Site{ID: e.Name()}).Remove())
	}
	return errors.Join(errs...)
}

// startTime returns when a process was started, in clock ticks since boot. With
// it a pid is an identity.
func startTime(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name of the program may hold spaces and brackets; the last ) ends it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("read start time of %d: %q", pid, stat)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// lock waits for the lock on a file and returns what gives it back.
func lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() { f.Close() }, nil
}

// unmount takes away all mounts below the site's folder, the innermost first.
func (s *Site) unmount() error {
	points, err := mountPoints()
	if err != nil {
		return err
	}
	slices.Reverse(points)
	var errs []error
	for _, p := range points {
		if strings.HasPrefix(p.dir, s.Dir()+"/") {
			if err := unix.Unmount(p.dir, unix.MNT_DETACH); err != nil {
				errs = append(errs, fmt.Errorf("unmount %s: %w", p.dir, err))
			}
		}
	}
	return errors.Join(errs...)
}

type mountPoint struct{ dir, fstype, options string }

// mountPoints reads /proc/self/mountinfo, in the order of mounting; see proc(5).
func mountPoints() ([]mountPoint, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var points []mountPoint
	for line := range strings.Lines(string(text)) {
		head, tail, found := strings.Cut(line, " - ")
		left, right := strings.Fields(head), strings.Fields(tail)
		if !found || len(left) < 5 || len(right) < 3 {
			return nil, fmt.Errorf("read mountinfo: %q", line)
		}
		points = append(points, mountPoint{left[4], right[0], right[2]})
	}
	return points, nil
}

// A group of processes is ended by pid, and pids are read from the cgroup again
// until none is left: what is born meanwhile is born in the same cgroup.
func (s *Site) endProcesses() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return poll(ctx, 20*time.Millisecond, func() error {
		dirs, err := s.cgroupDirs()
		if err != nil {
			return err
		}
		left := 0
		for _, dir := range dirs {
			pids, err := processesBelow(dir)
			if err != nil {
				return err
			}
			left += len(pids)
			for _, pid := range pids {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		if left > 0 {
			return fmt.Errorf("end processes: %d left", left)
		}
		return nil
	})
}

// processesBelow lists the processes in a cgroup and in all below it.
func processesBelow(dir string) (pids []int, err error) {
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a cgroup that went while we looked
		}
		if err != nil || d.IsDir() || d.Name() != "cgroup.procs" {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil // likewise
		}
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids, err
}

// poll calls f until it returns nil, at most until ctx ends; then it returns
// f's last error.
func poll(ctx context.Context, every time.Duration, f func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
