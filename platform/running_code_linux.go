package platform

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// codeReader finds what runs that is older than what is installed. To look through
// the memory maps of all processes costs some ten milliseconds: it is done when
// the package data changed, or after codeRest. In between only those are looked at
// again that ran old code.
type codeReader struct {
	users  userNames
	stamps []fileStamp // of the package databases, at the last whole walk
	walked time.Time
	stale  []StaleProcess
	closed int // processes that could not be looked into
}

// codeRest is the longest time between two whole walks: a library may be replaced
// by hand as well.
const codeRest = time.Hour

// packageDatabases are written whenever something is installed.
var packageDatabases = []string{
	"/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite", "/var/lib/rpm/rpmdb.sqlite-wal",
	"/usr/lib/sysimage/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite-wal",
}

// fileStamp changes when a file is written or replaced.
type fileStamp struct {
	size, modified int64
	inode          uint64
}

// read looks at what runs. Processes that may not be looked into are a gap.
func (r *codeReader) read(ctx context.Context, now time.Time) (RunningCode, []Gap) {
	code, err := readReboots("")
	if err != nil {
		return code, []Gap{{Part: PartRunning, Reason: "what needs a reboot is not known: " + err.Error()}}
	}
	r.users.refresh()
	stamps := stampsOf(packageDatabases)
	if !r.walked.IsZero() && slices.Equal(stamps, r.stamps) && now.Sub(r.walked) < codeRest && !now.Before(r.walked) {
		r.lookAgain()
	} else if err := r.walk(ctx); err != nil {
		return code, []Gap{{Part: PartRunning, Reason: "what runs old code is not known: " + err.Error()}}
	} else {
		r.stamps, r.walked = stamps, now
	}
	code.Stale = slices.Clone(r.stale)
	return code, closedProcesses(r.closed, os.Geteuid() == 0)
}

// closedProcesses is the gap for n processes that could not be looked into.
func closedProcesses(n int, root bool) []Gap {
	if n == 0 {
		return nil
	}
	what := fmt.Sprintf("what %d processes run", n)
	if n == 1 {
		what = "what 1 process runs"
	}
	reason := what + " cannot be seen by this user: repeat with sudo"
	if root {
		reason = what + " cannot be seen from here, not even by root"
	}
	return []Gap{{Part: PartRunning, Partial: true, Reason: reason}}
}

// lookAgain drops what no longer runs, or no longer runs old code.
func (r *codeReader) lookAgain() {
	r.stale = slices.DeleteFunc(r.stale, func(p StaleProcess) bool {
		again, stale, _ := r.process(p.PID)
		return !stale || again.ProcessID != p.ProcessID
	})
}

// walk looks into every process of the host.
func (r *codeReader) walk(ctx context.Context) error {
	list, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	var found []StaleProcess
	closed := 0
	for _, entry := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		p, stale, err := r.process(pid)
		switch {
		case os.IsPermission(err):
			closed++
		case stale:
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b StaleProcess) int { return cmp.Compare(a.PID, b.PID) })
	r.stale, r.closed = found, closed
	return nil
}

// process tells whether one process runs code whose file was replaced or deleted.
// Those in containers are not this host's packages.
func (r *codeReader) process(pid int) (StaleProcess, bool, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	maps, err := os.ReadFile(dir + "/maps")
	if err != nil || len(maps) == 0 {
		return StaleProcess{}, false, err
	}
	files := oldCode(maps)
	if len(files) == 0 {
		return StaleProcess{}, false, nil
	}
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return StaleProcess{}, false, err
	}
	facts, ok := parseStat(stat)
	cgroup, err := os.ReadFile(dir + "/cgroup")
	if !ok || err != nil {
		return StaleProcess{}, false, err
	}
	place := placeIn(string(cgroup))
	if place.container != "" {
		return StaleProcess{}, false, nil
	}
	p := StaleProcess{
		ProcessID: ProcessID{PID: pid, Start: facts.start}, Name: printable(facts.name),
		Unit: place.unit, UserUnit: place.userUnit, Session: sessionIn(string(cgroup)), Files: files,
	}
	var owner syscall.Stat_t
	if syscall.Stat(dir, &owner) == nil {
		p.User = r.users.name(owner.Uid)
	}
	return p, true, nil
}

// mostFiles is how many files of one process are named.
const mostFiles = 8

// oldCode returns the files that a process executes code of and that were replaced
// or deleted since it mapped them, from the text of /proc/PID/maps.
func oldCode(maps []byte) []string {
	var files []string
	for len(maps) > 0 && len(files) < mostFiles {
		var line []byte
		line, maps, _ = bytes.Cut(maps, []byte("\n"))
		if !bytes.HasSuffix(line, []byte(" (deleted)")) {
			continue
		}
		// ADDRESS PERMISSIONS OFFSET DEVICE INODE PATH
		fields := bytes.Fields(line)
		slash := bytes.IndexByte(line, '/')
		if len(fields) < 6 || len(fields[1]) < 3 || fields[1][2] != 'x' || slash < 0 {
			continue
		}
		path := strings.TrimSuffix(string(line[slash:]), " (deleted)")
		if isProgramFile(path) && !slices.Contains(files, path) {
			files = append(files, path)
		}
	}
	slices.Sort(files)
	return files
}

// isProgramFile tells the files that packages bring from what programs make for
// themselves and delete at once: shared memory, code made at run time, graphics.
func isProgramFile(path string) bool {
	for _, dir := range []string{"/usr/", "/lib", "/bin/", "/sbin/", "/opt/", "/snap/"} {
		if strings.HasPrefix(path, dir) {
			return true
		}
	}
	return false
}

// sessionIn returns the login session that a control group belongs to: "4" of
// "session-4.scope", or "".
func sessionIn(cgroup string) string {
	for _, part := range strings.FieldsFunc(cgroup, func(r rune) bool { return r == '/' || r == '\n' }) {
		if id, ok := strings.CutPrefix(part, "session-"); ok && strings.HasSuffix(id, ".scope") {
			return strings.TrimSuffix(id, ".scope")
		}
	}
	return ""
}

func stampsOf(paths []string) []fileStamp {
	stamps := make([]fileStamp, len(paths))
	for i, path := range paths {
		stamps[i] = stampOf(path)
	}
	return stamps
}

func stampOf(path string) fileStamp {
	var s syscall.Stat_t
	if syscall.Stat(path, &s) != nil {
		return fileStamp{}
	}
	return fileStamp{size: s.Size, modified: s.Mtim.Nano(), inode: s.Ino}
}
