package platform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// stateProcesses is the key under which a Program holds its processes as
// "PID:START", those that outlive their parent too.
const stateProcesses = "processes"

// endGrace is how long a process of a program may take to end by itself.
const endGrace = 5 * time.Second

// relative is a process in a line of descent.
type relative struct {
	*processFacts
	args []string
}

// ancestry returns the process and those that it descends from, without PID 1;
// none if it is another process by now.
func ancestry(id ProcessID) []relative {
	const deepest = 64
	book := newProcessBook()
	var line []relative
	for pid := id.PID; pid > 1 && len(line) < deepest; {
		facts, err := book.facts(pid)
		if err != nil || len(line) == 0 && id.Start != 0 && facts.Start != id.Start ||
			len(line) > 0 && facts.Start > line[len(line)-1].Start {
			break
		}
		line = append(line, relative{facts, argsOf(pid)})
		pid = facts.ppid
	}
	return line
}

func argsOf(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	return splitArgs(data)
}

// ofHost tells whether a listener is one of a process on the host itself.
func (l Listener) ofHost() bool {
	return l.Owner.PID > 1 && l.Owner.Container == "" && l.NetNS == "" && l.Forward == ""
}

// named tells whether a process is a program of that name: what it runs, or the
// script that an interpreter runs.
func (r relative) named(name string) bool {
	exe, _ := r.exe()
	if filepath.Base(exe) == name {
		return true
	}
	return r.name == name && len(r.args) > 1 && slices.ContainsFunc(r.args[:2], func(a string) bool { return filepath.Base(a) == name })
}

// trusted tells whether a supervisor is the system's own. What another one says,
// and the files it goes by, may be anybody's: it is a process like all others.
func (r relative) trusted() bool {
	return r.uid == 0 && sameFile(fmt.Sprintf("/proc/%d/root", r.PID), "/")
}

// under returns the nearest ancestor of a listener's process that is the system's
// own supervisor of that name, and its child in that line, which is nil if it
// holds the listener itself.
func under(l Listener, name string) (supervisor, child *relative) {
	if !l.ofHost() {
		return nil, nil
	}
	line := ancestry(ProcessID{PID: l.Owner.PID, Start: l.Owner.Start})
	i := slices.IndexFunc(line, func(r relative) bool { return r.named(name) && r.trusted() })
	switch {
	case i < 0 || inSession(line[:i]):
		return nil, nil
	case i > 0:
		child = &line[i-1]
	}
	return &line[i], child
}

// doors are programs through which people log in.
var doors = []string{"sshd", "sshd-session", "dropbear", "login"}

// inSession tells whether the first of a line of processes is one that somebody
// started who had logged in: what keeps the way in running does not keep that.
func inSession(line []relative) bool {
	for i, r := range line {
		if i > 0 && slices.Contains(doors, r.base()) && r.base() != line[0].base() {
			return true
		}
	}
	return false
}

func (r relative) base() string {
	exe, _ := r.exe()
	return filepath.Base(exe)
}

// daemons returns the processes of the system's own that are named so.
func daemons(name string) ([]relative, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	book := newProcessBook()
	var found []relative
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		facts, err := book.facts(pid)
		if err != nil || facts.name != name || facts.place.container != "" {
			continue
		}
		if r := (relative{facts, argsOf(pid)}); r.named(name) && r.trusted() {
			found = append(found, r)
		}
	}
	return found, nil
}

// signal sends a signal to that very process.
func (id ProcessID) signal(signal unix.Signal) error {
	fd, err := unix.PidfdOpen(id.PID, 0)
	if err != nil {
		return fmt.Errorf("signal process %d: %w", id.PID, err)
	}
	defer unix.Close(fd)
	if start, err := startOf(id.PID); err != nil || start != id.Start {
		return fmt.Errorf("signal process %d: %w", id.PID, ErrGone)
	}
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil {
		return fmt.Errorf("signal process %d: %w", id.PID, err)
	}
	return nil
}

// family returns the processes with all that descend from them, parents first.
func family(ctx context.Context, pids ...int) []ProcessID {
	const most = 4096
	var all []ProcessID
	for len(pids) > 0 && len(all) < most {
		pid := pids[0]
		pids = pids[1:]
		start, err := startOf(pid)
		id := ProcessID{PID: pid, Start: start}
		if err != nil || slices.Contains(all, id) {
			continue
		}
		all = append(all, id)
		if children, err := (procProcesses{}).Children(ctx, pid); err == nil {
			pids = append(pids, children...)
		}
	}
	return all
}

func writeIDs(ids []ProcessID) string {
	var words []string
	for _, id := range ids {
		words = append(words, fmt.Sprintf("%d:%d", id.PID, id.Start))
	}
	return strings.Join(words, " ")
}

func readIDs(text string) []ProcessID {
	var ids []ProcessID
	for word := range strings.FieldsSeq(text) {
		var id ProcessID
		if n, err := fmt.Sscanf(word, "%d:%d", &id.PID, &id.Start); err == nil && n == 2 {
			ids = append(ids, id)
		}
	}
	return ids
}

// pidsOf returns those of the processes that still run, lowest first.
func pidsOf(ids []ProcessID) []int {
	var pids []int
	for _, id := range ids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id.PID))
		if err != nil || hasEnded(stat) {
			continue
		}
		if s, ok := parseStat(stat); ok && s.start == id.Start {
			pids = append(pids, id.PID)
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// endAll ends processes, parents first: what would start another one again ends
// before it.
func endAll(ctx context.Context, ids []ProcessID) error {
	var failed []error
	for _, id := range ids {
		failed = append(failed, procProcesses{}.End(ctx, id, endGrace))
	}
	return errors.Join(failed...)
}
