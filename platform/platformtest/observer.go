package platformtest

import (
	"context"
	"fmt"
	"slices"

	"github.com/firebreak-sec/firebreak/platform"
)

type observer struct{ m *Machine }

func (o observer) Snapshot(_ context.Context, parts platform.Parts) (platform.Snapshot, error) {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	if err := o.m.called("Observer.Snapshot", nil); err != nil {
		return platform.Snapshot{}, err
	}
	return o.m.snapshot(parts), nil
}

// Events passes on what happens to the machine until ctx ends.
func (o observer) Events(ctx context.Context) <-chan platform.Event {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	ch := make(chan platform.Event, 16)
	o.m.watchers = append(o.m.watchers, ch)
	context.AfterFunc(ctx, func() {
		o.m.mu.Lock()
		defer o.m.mu.Unlock()
		o.m.watchers = slices.DeleteFunc(o.m.watchers, func(w chan platform.Event) bool { return w == ch })
		close(ch)
	})
	return ch
}

// Snapshot returns what the agent would see now, all parts.
func (m *Machine) Snapshot() platform.Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.snapshot(platform.AllParts)
}

func (m *Machine) snapshot(parts platform.Parts) platform.Snapshot {
	s := platform.Snapshot{
		Taken: m.now,
		Boot:  m.thisBoot(),
		Agent: m.process(AgentPID).ProcessID,
	}
	readable := func(p platform.Part) bool {
		return parts.Has(p) && !slices.ContainsFunc(m.gaps, func(g platform.Gap) bool { return g.Part == p && !g.Partial })
	}
	for _, g := range m.gaps {
		if parts.Has(g.Part) {
			s.Gaps = append(s.Gaps, g)
		}
	}
	if readable(platform.PartOS) {
		s.OS = m.os
	}
	if readable(platform.PartListeners) {
		s.Listeners = m.listeners()
		if !readable(platform.PartOwners) {
			for i := range s.Listeners {
				s.Listeners[i].Owner = platform.Owner{}
			}
		}
	}
	if readable(platform.PartRestrictions) {
		s.InForce = m.inForce.Normal()
	}
	if readable(platform.PartSessions) {
		s.Sessions = slices.Clone(m.sessions)
	}
	if readable(platform.PartNetwork) {
		s.Network = m.network
	}
	if readable(platform.PartUpdates) {
		s.Updates = m.updates
		if s.Updates.Manager == "" {
			s.Updates = platform.Updates{Manager: "apt", Installed: 812, ListsAsOf: m.now}
		}
	}
	if readable(platform.PartRunning) {
		s.Running = m.running
	}
	return s
}

// Boot returns the run of the machine's kernel, as platform.ReadBoot does.
func (m *Machine) Boot() platform.Boot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.thisBoot()
}

func (m *Machine) thisBoot() platform.Boot {
	return platform.Boot{ID: fmt.Sprintf("boot-%d", m.boots), Time: m.booted, Uptime: m.now.Sub(m.booted)}
}

// listeners returns all open sockets with their owners, by port.
func (m *Machine) listeners() []platform.Listener {
	var all []platform.Listener
	for _, p := range m.procs {
		for _, l := range p.listens {
			l.UID, l.Owner = p.UID, owner(p)
			all = append(all, l)
		}
	}
	for _, u := range m.units {
		if u.starts == "" || !u.active {
			continue
		}
		for _, l := range u.listens {
			l.Owner = m.socketOwner(u)
			all = append(all, l)
		}
	}
	all = append(all, m.publishedPorts()...)
	for _, l := range m.kernel {
		l.Owner = platform.Owner{Kernel: true}
		all = append(all, l)
	}
	slices.SortStableFunc(all, func(a, b platform.Listener) int { return int(a.Port) - int(b.Port) })
	return all
}

func owner(p *process) platform.Owner {
	return platform.Owner{PIDs: []int{p.PID}, PID: p.PID, Start: p.Start, Process: p.Name, Exe: p.Exe, User: p.User, Unit: p.Unit}
}

// socketOwner is PID 1 alone, or the service beside it while it runs.
func (m *Machine) socketOwner(socket *unit) platform.Owner {
	o := owner(m.process(1))
	if service := m.unit(socket.starts); service != nil && service.active {
		o = owner(m.process(service.pid))
		o.PIDs = []int{1, service.pid}
	}
	o.Unit = socket.name
	if socket.nameless {
		o.Unit = "init.scope"
	}
	return o
}
