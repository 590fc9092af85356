package platform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// cron starts programs at boot, and again and again those that look whether they
// still run. The lines that do are made comments. cron sees by itself that its
// file was changed, before it next starts anything.
type cron struct{}

// crontab is one file of cron's.
type crontab struct {
	file  FileState
	owner string // "" if each job names its user
}

func (s cron) find(ctx context.Context, l Listener) ([]Program, error) {
	if !l.ofHost() {
		return nil, nil
	}
	line := ancestry(ProcessID{PID: l.Owner.PID, Start: l.Owner.Start})
	if len(line) == 0 {
		return nil, nil
	}
	tabs, err := readCrontabs()
	if err != nil {
		return nil, err
	}
	line, byCron := belowDaemon(line)
	var found []Program
	for _, tab := range tabs {
		var jobs []cronJob
		top := 0
		for _, job := range parseCrontab(string(tab.file.Data), tab.owner == "") {
			if i := job.topmost(line); i >= 0 && job.mayRun(tab, l.Owner.User) {
				jobs, top = append(jobs, job), max(top, i)
			}
		}
		if len(jobs) > 0 {
			if byCron {
				top = len(line) - 1
			}
			found = append(found, cronProgram(ctx, tab, jobs, line[:top+1], l))
		}
	}
	return found, nil
}

// mayRun tells whether a job's process may run as that user: root's may become
// anybody.
func (j cronJob) mayRun(tab crontab, user string) bool {
	owner := j.user
	if tab.owner != "" {
		owner = tab.owner
	}
	return owner == "root" || owner == user
}

// topmost returns the place in a line of the topmost process that the job starts;
// -1 if it starts none of them.
func (j cronJob) topmost(line []relative) int {
	for i, r := range slices.Backward(line) {
		if j.starts(r.args) {
			return i
		}
	}
	return -1
}

// belowDaemon returns the processes of a line that may be a job's, and whether
// cron itself started them. A script that somebody else runs starts what a job
// starts too, and is none of it.
func belowDaemon(line []relative) (job []relative, byCron bool) {
	for i, r := range line {
		daemon := r.named("cron") || r.named("crond")
		if daemon || i > 0 && !isScript(r) {
			return line[:i], daemon
		}
	}
	return line, false
}

// shells are programs that run scripts.
var shells = []string{"sh", "dash", "bash", "zsh", "ksh", "mksh", "ash", "busybox", "fish"}

// isScript tells whether a process is a shell that runs a script or a command
// line, and not one that somebody types into.
func isScript(r relative) bool {
	exe, _ := r.exe()
	if !slices.Contains(shells, filepath.Base(exe)) && (len(r.args) == 0 || !slices.Contains(shells, filepath.Base(r.args[0]))) {
		return false
	}
	return len(r.args) > 1 && !strings.HasPrefix(r.args[0], "-") && slices.ContainsFunc(r.args[1:], func(a string) bool {
		return !strings.HasPrefix(a, "-") || a == "-c"
	})
}

func cronProgram(ctx context.Context, tab crontab, jobs []cronJob, line []relative, l Listener) Program {
	p := Program{Kind: "cron", Where: tab.file.Path, User: tab.owner, State: map[string]string{}, Kept: true}
	for _, job := range jobs {
		p.State[stateLines] += job.line
	}
	owner := tab.owner
	if owner == "" {
		owner = jobs[0].user
	}
	p.Name = fmt.Sprintf("%s %s", jobs[0].when, filepath.Base(l.Owner.Process))
	p.Title = fmt.Sprintf("the job %q of user %s in %s", printable(p.Name), printable(owner), tab.file.Path)
	ids := family(ctx, line[len(line)-1].PID)
	p.PIDs, p.State[stateProcesses] = pidsOf(ids), writeIDs(ids)
	tab.file.Closed = hashOf(p.linesOff(string(tab.file.Data)))
	p.Files = []FileState{tab.file}
	return p
}

// readCrontabs reads the crontabs of the system and of users. Those that others
// could have written are left out: cron runs none of them.
func readCrontabs() ([]crontab, error) {
	var tabs []crontab
	add := func(path, owner string) {
		uid := uint32(0)
		if u, err := user.Lookup(owner); err == nil && owner != "" {
			n, err := strconv.ParseUint(u.Uid, 10, 32)
			if err != nil {
				return
			}
			uid = uint32(n)
		}
		if f, err := readState(path, uid); err == nil && !f.Absent {
			tabs = append(tabs, crontab{f, owner})
		}
	}
	add("/etc/crontab", "")
	for _, folder := range []struct {
		path  string
		users bool
	}{{"/etc/cron.d", false}, {"/var/spool/cron/crontabs", true}, {"/var/spool/cron", true}} {
		entries, err := os.ReadDir(folder.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list crontabs: %w", readable(err))
		}
		for _, e := range entries {
			owner := ""
			if folder.users {
				owner = e.Name()
			}
			if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
				add(filepath.Join(folder.path, e.Name()), owner)
			}
		}
	}
	return tabs, nil
}

func (s cron) inspect(_ context.Context, p Program) (Program, error) {
	for _, f := range p.Files {
		now, err := readState(f.Path, f.UID)
		if err != nil {
			return Program{}, err
		}
		p.Kept = slices.ContainsFunc(p.lines(), lineIn(string(now.Data)))
	}
	p.PIDs = pidsOf(readIDs(p.State[stateProcesses]))
	return p, nil
}

// close ends what the job started too: cron itself never does.
func (s cron) close(ctx context.Context, p Program) error {
	if err := p.closeLines(); err != nil {
		return err
	}
	return endAll(ctx, readIDs(p.State[stateProcesses]))
}

// restore brings the lines back. What they started, cron starts when it is time
// to: at the next boot, for a job that is for then.
func (s cron) restore(_ context.Context, p Program) error { return p.reopenLines() }
