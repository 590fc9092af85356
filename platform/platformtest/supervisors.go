package platformtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/firebreak-sec/firebreak/platform"
)

// program is what a supervisor of the machine keeps running.
type program struct {
	platform.Program
	process   process
	published []platform.Listener // passed on to it, without a socket of the host
	kept      bool
	on        bool
	changed   bool // somebody changed it since it was closed
}

func (p *program) is(q platform.Program) bool {
	return p.Kind == q.Kind && p.Name == q.Name && p.User == q.User && p.Where == q.Where
}

// AddProgram has a supervisor start a program, which the supervisor starts again
// whenever it ends, also after a reboot. A listener with Forward set is open as
// long as the program runs, and held by nobody.
func (m *Machine) AddProgram(p platform.Program, exe string, listeners ...platform.Listener) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := &program{Program: p, kept: true, process: process{Process: platform.Process{Exe: exe, User: "root", PPID: 1}, persistent: true}}
	if p.User != "" {
		n.process.User, n.process.UID = p.User, 1000
	}
	for _, l := range listeners {
		if l.Forward == "" {
			n.process.listens = append(n.process.listens, l)
		} else {
			n.published = append(n.published, l)
		}
	}
	n.process.keeper = n
	m.programs = append(m.programs, n)
	m.startProgram(n)
}

// ChangeProgram has somebody change a program behind the agent's back: put back
// blindly, that would be lost.
func (m *Machine) ChangeProgram(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.programs {
		p.changed = p.changed || p.Name == name
	}
}

// ProgramState says whether a program runs, and whether it would start again.
func (m *Machine) ProgramState(name string) (runs, kept bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.programs {
		if p.Name == name {
			return p.on, p.kept
		}
	}
	return false, false
}

func (m *Machine) startProgram(p *program) {
	if !p.on {
		p.on = true
		m.spawn(&p.process)
		m.tell(platform.PartListeners, p.Name+" started")
	}
}

func (m *Machine) stopProgram(p *program) {
	p.on = false
	for _, pid := range m.pidsOf(p) {
		m.process(pid).persistent = false
		m.end(pid)
	}
}

func (m *Machine) pidsOf(p *program) []int {
	var pids []int
	for _, q := range m.procs {
		if q.keeper == p && !q.ended {
			pids = append(pids, q.PID)
		}
	}
	return pids
}

// publishedPorts returns what is passed on to programs that run.
func (m *Machine) publishedPorts() []platform.Listener {
	var all []platform.Listener
	for _, p := range m.programs {
		if p.on {
			all = append(all, p.published...)
		}
	}
	return all
}

// seen returns the program as its supervisor tells it.
func (m *Machine) seen(p *program) platform.Program {
	now := p.Program
	now.PIDs, now.Kept = m.pidsOf(p), p.kept
	now.State = maps.Clone(now.State)
	return now
}

func (m *Machine) programOf(want platform.Program) *program {
	for _, p := range m.programs {
		if p.is(want) {
			return p
		}
	}
	return nil
}

type supervisors struct{ m *Machine }

func (s supervisors) Find(_ context.Context, l platform.Listener) ([]platform.Program, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if err := s.m.called("Supervisors.Find", nil); err != nil {
		return nil, err
	}
	for _, p := range s.m.programs {
		holds := slices.ContainsFunc(s.m.pidsOf(p), func(pid int) bool { return slices.Contains(l.Owner.PIDs, pid) })
		passes := p.on && slices.ContainsFunc(p.published, func(q platform.Listener) bool {
			return l.Forward != "" && q.Forward == l.Forward && q.Port == l.Port && q.Protocol == l.Protocol
		})
		if holds || passes {
			return []platform.Program{s.m.seen(p)}, nil
		}
	}
	return nil, nil
}

func (s supervisors) Inspect(_ context.Context, programs []platform.Program) ([]platform.Program, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if err := s.m.called("Supervisors.Inspect", nil); err != nil {
		return nil, err
	}
	var found []platform.Program
	for _, want := range programs {
		if p := s.m.programOf(want); p != nil {
			found = append(found, s.m.seen(p))
		}
	}
	return found, nil
}

func (s supervisors) Close(_ context.Context, programs []platform.Program) error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if err := s.m.called("Supervisors.Close", programNames(programs)); err != nil {
		return err
	}
	for _, want := range programs {
		if p := s.m.programOf(want); p != nil {
			p.kept, p.changed = false, false
			s.m.stopProgram(p)
		}
	}
	return nil
}

func (s supervisors) Restore(_ context.Context, programs []platform.Program) error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if err := s.m.called("Supervisors.Restore", programNames(programs)); err != nil {
		return err
	}
	var failed []error
	for _, want := range programs {
		p := s.m.programOf(want)
		switch {
		case p == nil:
			failed = append(failed, fmt.Errorf("restore %s: %w", want.Title, platform.ErrGone))
		case p.changed:
			failed = append(failed, fmt.Errorf("restore %s: %w", want.Title, platform.ErrChanged))
		default:
			p.kept = want.Kept
			if len(want.PIDs) > 0 {
				s.m.startProgram(p)
			}
		}
	}
	return errors.Join(failed...)
}

func programNames(programs []platform.Program) []string {
	var names []string
	for _, p := range programs {
		names = append(names, p.Name)
	}
	return names
}
