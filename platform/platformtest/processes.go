package platformtest

import (
	"context"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
)

// process is a running process and the sockets it opens when it starts.
type process struct {
	platform.Process
	listens    []platform.Listener
	persistent bool // something that is no unit starts it again, also after a reboot
	again      bool // its parent starts it again
	ended      bool
	copies     int      // of itself that it leaves behind when it is asked to end, one after the other
	keeper     *program // the program of a supervisor that it is, or nil
}

// AddProcess starts a process by hand, as a child of a login shell, and returns
// its pid.
func (m *Machine) AddProcess(exe string, listeners ...platform.Listener) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &process{Process: platform.Process{Exe: exe, User: "lena", UID: 1000, PPID: 1}, listens: listeners}
	m.spawn(p)
	m.tell(platform.PartListeners, exe+" started")
	return m.lastPID
}

// AddCopying starts a process that, asked to end, leaves a copy of itself behind,
// and that copy the next: so many of them, but none if it is killed at once.
func (m *Machine) AddCopying(exe string, copies int, listeners ...platform.Listener) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spawn(&process{Process: platform.Process{Exe: exe, User: "lena", UID: 1000, PPID: 1}, listens: listeners, copies: copies})
	m.tell(platform.PartListeners, exe+" started")
}

// AddPersistent starts a process that comes back whenever it ends, and of which
// nobody can see what starts it.
func (m *Machine) AddPersistent(exe string, listeners ...platform.Listener) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spawn(&process{Process: platform.Process{Exe: exe, User: "lena", UID: 1000, PPID: 1}, listens: listeners, persistent: true})
	m.tell(platform.PartListeners, exe+" started")
}

// Reuse starts a process that gets the pid of one that has ended.
func (m *Machine) Reuse(pid int, exe string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := m.lastPID
	m.lastPID = pid - 3
	m.process(m.spawn(&process{Process: platform.Process{Exe: exe, User: "lena", UID: 1000, PPID: 1}})).Start++
	m.lastPID = last
}

// AddSupervised starts a process that a supervisor, which is no service manager,
// starts again whenever it ends. It returns the pid.
func (m *Machine) AddSupervised(exe, supervisor string, listeners ...platform.Listener) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	parent := m.spawn(&process{Process: platform.Process{Exe: supervisor, User: "root", PPID: 1}, persistent: true})
	m.spawn(&process{Process: platform.Process{Exe: exe, User: "root", PPID: parent}, listens: listeners, persistent: true})
	m.tell(platform.PartListeners, exe+" started")
	return m.lastPID
}

// AddUnder starts a process, by its command line, as a child of another one, which
// starts it again whenever it ends if again is set. It returns the pid.
func (m *Machine) AddUnder(parent int, again bool, exe string, args []string, listeners ...platform.Listener) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spawn(&process{Process: platform.Process{Exe: exe, Args: args, User: "lena", UID: 1000, PPID: parent}, listens: listeners, again: again})
	m.tell(platform.PartListeners, exe+" started")
	return m.lastPID
}

// AddKernelListener opens a socket that no process holds.
func (m *Machine) AddKernelListener(l platform.Listener) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kernel = append(m.kernel, m.opened(l))
	m.tell(platform.PartListeners, "a kernel listener appeared")
}

// Kill ends the process with that pid as if somebody else had done it.
func (m *Machine) Kill(pid int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end(pid)
}

// spawn starts p under a new pid and opens what it listens on, except for the
// ports that no process may bind.
func (m *Machine) spawn(p *process) int {
	m.lastPID += 3
	n := *p
	n.ended = false
	n.PID, n.Start, n.Started = m.lastPID, uint64(m.lastPID)*10, m.now
	n.Name = path.Base(n.Exe)
	if len(n.Args) == 0 {
		n.Args = []string{n.Exe}
	}
	n.listens = nil
	for _, l := range p.listens {
		if m.mayOpen(&n, l) {
			n.listens = append(n.listens, m.opened(l))
		}
	}
	m.procs = append(m.procs, &n)
	return n.PID
}

func (m *Machine) opened(l platform.Listener) platform.Listener {
	m.cookie++
	l.Cookie, l.Inode = m.cookie, 10000+m.cookie
	return l
}

func (m *Machine) process(pid int) *process {
	for _, p := range m.procs {
		if p.PID == pid && !p.ended {
			return p
		}
	}
	return nil
}

// end removes the process, and lets whatever keeps it alive start it again.
func (m *Machine) end(pid int) {
	p := m.process(pid)
	if p == nil {
		return
	}
	p.ended = true
	m.procs = slices.DeleteFunc(m.procs, func(q *process) bool { return q == p })
	m.tell(platform.PartListeners, p.Name+" ended")
	for _, u := range m.units {
		if u.pid == pid {
			u.pid, u.active = 0, false
			if u.respawn {
				m.start(u)
			}
			return
		}
	}
	for _, child := range m.procs {
		if child.PPID == pid {
			child.PPID, child.again = 1, false
		}
	}
	switch {
	case p.persistent, p.again && m.process(p.PPID) != nil:
		m.spawn(p)
	case p.copies > 0:
		p.copies--
		m.spawn(p)
	}
}

type processes struct{ m *Machine }

func (p processes) Inspect(_ context.Context, pid int) (platform.Process, error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if err := p.m.called("Processes.Inspect", nil); err != nil {
		return platform.Process{}, err
	}
	if found := p.m.process(pid); found != nil {
		return found.Process, nil
	}
	return platform.Process{}, fmt.Errorf("inspect process %d: %w", pid, platform.ErrGone)
}

func (p processes) Children(_ context.Context, pid int) ([]int, error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if err := p.m.called("Processes.Children", nil); err != nil {
		return nil, err
	}
	var pids []int
	for _, q := range p.m.procs {
		if q.PPID == pid {
			pids = append(pids, q.PID)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// Freeze notes that the process is frozen, in the list of calls alone.
func (p processes) Freeze(_ context.Context, id platform.ProcessID) (thaw func(), err error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if err := p.m.called("Processes.Freeze", id.PID); err != nil {
		return nil, err
	}
	if found := p.m.process(id.PID); found == nil || found.Start != id.Start {
		return nil, platform.ErrGone
	}
	return func() {
		p.m.mu.Lock()
		defer p.m.mu.Unlock()
		_ = p.m.called("Processes.Thaw", id.PID) // whatever becomes of it
	}, nil
}

func (p processes) End(_ context.Context, id platform.ProcessID, grace time.Duration) error {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if err := p.m.called("Processes.End", id.PID); err != nil {
		return err
	}
	if found := p.m.process(id.PID); found != nil && found.Start == id.Start {
		if grace == 0 {
			found.copies = 0
		}
		p.m.end(id.PID)
	}
	return nil
}
