package evidence

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/platform"
)

const (
	maxAncestors = 32
	maxProcesses = 256      // of one threat, children with children
	maxArgs      = 64 << 10 // bytes of one command line
	maxHashes    = 32
	maxUnits     = 32
	maxFile      = 256 << 10 // bytes kept of one unit file
)

// part is what one step brings, bit by bit.
type part struct {
	file *file
	gap  *Gap
	done string // name of the step that is done
}

// steps are the looks that may take long, or never return.
var steps = []struct {
	what   string
	gather func(*gatherer)
}{
	{"processes", (*gatherer).processes},
	{"executables", (*gatherer).executables},
	{"units", (*gatherer).units},
}

// gather looks at the subject as it is now, for as long as ctx lets it. A look
// that does not return (a file on a dead network drive) is left behind: it has
// nothing in common with the bundle but a channel that nobody reads.
func (b *bundle) gather(ctx context.Context, host *platform.Host, s platform.Subject) {
	parts := make(chan part)
	go (&gatherer{ctx: ctx, host: host, subject: s, out: parts}).run()
	for waiting := steps; len(waiting) > 0; {
		select {
		case <-ctx.Done():
			for _, step := range waiting {
				b.miss(step.what, "there was no time left")
			}
			return
		case p := <-parts:
			switch {
			case p.file != nil:
				b.add(*p.file)
			case p.gap != nil:
				b.miss(p.gap.What, p.gap.Reason)
			case p.done == waiting[0].what:
				waiting = waiting[1:]
			}
		}
	}
}

// gatherer runs in a goroutine of its own.
type gatherer struct {
	ctx     context.Context
	host    *platform.Host
	subject platform.Subject
	out     chan<- part
	tree    []relative
}

// relative is a process with what it is to the threat.
type relative struct {
	Role string `json:"role"` // subject | ancestor | descendant
	platform.Process
}

func (g *gatherer) run() {
	for _, step := range steps {
		if g.ctx.Err() != nil {
			return
		}
		step.gather(g)
		g.send(part{done: step.what})
	}
}

func (g *gatherer) send(p part) {
	select {
	case g.out <- p:
	case <-g.ctx.Done():
	}
}

func (g *gatherer) miss(what, reason string) { g.send(part{gap: &Gap{What: what, Reason: reason}}) }

func (g *gatherer) keep(name, what string, v any) {
	var b bundle
	b.keep(name, what, v)
	for _, f := range b.files {
		g.send(part{file: &f})
	}
}

// subjects are the processes the threat is about. PID 1 holds a socket for the
// service it starts, and is not it.
func (g *gatherer) subjects() (ids []platform.ProcessID) {
	add := func(id platform.ProcessID) {
		i := slices.IndexFunc(ids, func(x platform.ProcessID) bool { return x.PID == id.PID })
		switch {
		case id.PID <= 1:
		case i < 0:
			ids = append(ids, id)
		case ids[i].Start == 0:
			ids[i].Start = id.Start
		}
	}
	if p := g.subject.Process; p != nil {
		add(p.ProcessID)
	}
	if p := g.subject.Port; p != nil {
		for _, s := range p.Sockets {
			add(platform.ProcessID{PID: s.Owner.PID, Start: s.Owner.Start})
			for _, pid := range s.Owner.PIDs {
				add(platform.ProcessID{PID: pid})
			}
		}
		add(platform.ProcessID{PID: p.PID})
	}
	return ids
}

// processes keeps the processes of the threat, what started them, and what they
// started.
func (g *gatherer) processes() {
	if g.host.Processes == nil {
		g.miss("processes", platform.ErrUnsupported.Error())
		return
	}
	for _, id := range g.subjects() {
		p, err := g.host.Processes.Inspect(g.ctx, id.PID)
		switch {
		case errors.Is(err, platform.ErrGone):
			g.miss(fmt.Sprintf("process %d", id.PID), "it is no longer there")
		case err != nil:
			g.miss(fmt.Sprintf("process %d", id.PID), err.Error())
		case id.Start != 0 && p.Start != id.Start:
			g.miss(fmt.Sprintf("process %d", id.PID), "it is no longer there, and another process has its number now")
		default:
			g.join("subject", p)
			g.ancestors(p)
			g.descendants(p.PID)
		}
	}
	if len(g.tree) > 0 {
		g.keep("processes.json", "the processes, what started them and what they started", g.tree)
	}
}

// join takes a process up, unless it is there already or they are too many.
func (g *gatherer) join(role string, p platform.Process) bool {
	if slices.ContainsFunc(g.tree, func(r relative) bool { return r.PID == p.PID }) {
		return false
	}
	if len(g.tree) == maxProcesses {
		return false
	}
	size := 0
	for i, arg := range p.Args {
		if size += len(arg); size > maxArgs {
			g.miss(fmt.Sprintf("command line of process %d", p.PID), fmt.Sprintf("cut off after %d bytes", maxArgs))
			p.Args = append(slices.Clone(p.Args[:i]), arg[:len(arg)-(size-maxArgs)])
			break
		}
	}
	g.tree = append(g.tree, relative{role, p})
	if len(g.tree) == maxProcesses {
		g.miss("more processes", fmt.Sprintf("only the first %d are kept", maxProcesses))
	}
	return true
}

func (g *gatherer) ancestors(p platform.Process) {
	for range maxAncestors {
		if p.PPID <= 0 || g.ctx.Err() != nil {
			return
		}
		parent, err := g.host.Processes.Inspect(g.ctx, p.PPID)
		if err != nil {
			g.miss(fmt.Sprintf("parent of process %d", p.PID), err.Error())
			return
		}
		if !g.join("ancestor", parent) {
			return
		}
		p = parent
	}
}

func (g *gatherer) descendants(pid int) {
	for todo := []int{pid}; len(todo) > 0 && len(g.tree) < maxProcesses && g.ctx.Err() == nil; todo = todo[1:] {
		children, err := g.host.Processes.Children(g.ctx, todo[0])
		if err != nil && !errors.Is(err, platform.ErrGone) {
			g.miss(fmt.Sprintf("children of process %d", todo[0]), err.Error())
		}
		for _, child := range children {
			// One that ended meanwhile is no gap: it was there for a moment only.
			if p, err := g.host.Processes.Inspect(g.ctx, child); err == nil && g.join("descendant", p) {
				todo = append(todo, child)
			}
		}
	}
}

// executable is the file that some of the processes run.
type executable struct {
	PIDs []int `json:"pids"`
	platform.FileFacts
}

// executables keeps the hashes of what the processes run. Each process of the
// threat is asked for its own, because the file of that name may have been
// replaced since one of them started.
func (g *gatherer) executables() {
	if g.host.Files == nil {
		g.miss("executables", platform.ErrUnsupported.Error())
		return
	}
	var found []executable
	if f := g.subject.File; f != nil {
		g.hash(&found, 0, f.Path)
	}
	for _, p := range g.tree {
		i := slices.IndexFunc(found, func(e executable) bool { return e.Path == p.Exe })
		switch {
		case p.Exe == "" || g.ctx.Err() != nil:
		case i >= 0 && p.Role != "subject":
			found[i].PIDs = append(found[i].PIDs, p.PID)
		case len(found) == maxHashes:
			g.miss("executable of process "+fmt.Sprint(p.PID), fmt.Sprintf("only %d are hashed", maxHashes))
		default:
			g.hash(&found, p.PID, p.Exe)
		}
	}
	// The file may be there when the process is not.
	if p := g.subject.Port; p != nil && p.Exe != "" && len(found) == 0 {
		g.hash(&found, 0, p.Exe)
	}
	if len(found) > 0 {
		g.keep("executables.json", "the files that the processes run", found)
	}
}

func (g *gatherer) hash(found *[]executable, pid int, exe string) {
	facts, err := g.host.Files.Facts(g.ctx, pid, exe)
	if err != nil {
		g.miss("executable "+exe, err.Error())
		return
	}
	for i, e := range *found {
		if e.FileFacts == facts {
			(*found)[i].PIDs = append(e.PIDs, pid)
			return
		}
	}
	e := executable{FileFacts: facts}
	if pid > 0 {
		e.PIDs = []int{pid}
	}
	*found = append(*found, e)
}

// units keeps the units of the processes and the files they are made of.
func (g *gatherer) units() {
	names := g.unitNames()
	if len(names) == 0 {
		return
	}
	if g.host.Services == nil || g.host.Files == nil {
		g.miss("units", platform.ErrUnsupported.Error())
		return
	}
	found, err := g.host.Services.Inspect(g.ctx, names...)
	if err != nil {
		g.miss("units", err.Error())
		return
	}
	g.keep("units.json", "the units and what can start them", found)
	kept := map[string]bool{}
	for _, u := range found[:min(len(found), maxUnits)] {
		for _, file := range append([]string{u.Fragment}, u.DropIns...) {
			if file != "" && !kept[file] && g.ctx.Err() == nil {
				kept[file] = true
				g.unitFile(u.Name, file)
			}
		}
	}
}

func (g *gatherer) unitNames() (names []string) {
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if p := g.subject.Port; p != nil {
		add(p.Unit)
		for _, s := range p.Sockets {
			add(s.Owner.Unit)
		}
	}
	for _, r := range g.tree {
		if r.Role == "subject" {
			add(r.Unit)
		}
	}
	return names
}

func (g *gatherer) unitFile(unit, name string) {
	data, err := g.host.Files.Read(g.ctx, name, maxFile+1)
	if err != nil {
		g.miss("file "+name+" of "+unit, err.Error())
		return
	}
	f := file{name: "files" + path.Clean("/"+strings.NewReplacer(`\`, "/", ":", "").Replace(name)), what: "file of " + unit, data: data}
	if len(data) > maxFile {
		f.data = data[:maxFile]
		f.note = fmt.Sprintf("cut off after %d bytes", maxFile)
	}
	g.send(part{file: &f})
}
