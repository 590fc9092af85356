package platformtest

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/platform"
)

// unit is a service or a socket unit.
type unit struct {
	name     string
	exe      string
	listens  []platform.Listener
	enabled  bool
	masked   bool
	active   bool
	failed   bool
	respawn  bool // Restart=always
	pid      int
	trigger  string   // the socket unit that starts this service
	starts   string   // the service that this socket unit starts
	needed   []string // active units that stop when this one does
	nameless bool     // see Nameless
}

// AddService installs, enables and starts a service. A name without a suffix
// gets ".service".
func (m *Machine) AddService(name, exe string, listeners ...platform.Listener) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := &unit{name: suffixed(name, ".service"), exe: exe, listens: listeners, enabled: true}
	m.units = append(m.units, u)
	m.start(u)
}

// AddSocketService installs, enables and starts NAME.socket, which listens and
// starts NAME.service when somebody connects.
func (m *Machine) AddSocketService(name, exe string, listeners ...platform.Listener) {
	m.mu.Lock()
	defer m.mu.Unlock()
	socket := &unit{name: suffixed(name, ".socket"), listens: listeners, enabled: true, starts: suffixed(name, ".service")}
	service := &unit{name: socket.starts, exe: exe, trigger: socket.name}
	m.units = append(m.units, socket, service)
	m.start(socket)
}

// Respawn makes the service come back whenever its process ends (Restart=always).
func (m *Machine) Respawn(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u := m.unit(suffixed(name, ".service")); u != nil {
		u.respawn = true
	}
}

// Require makes other an active unit that stops when name does.
func (m *Machine) Require(name, other string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u := m.unit(suffixed(name, ".service")); u != nil {
		u.needed = append(u.needed, other)
	}
}

// Systemctl does what a person would: "start", "stop", "enable", "disable",
// "mask" or "unmask" a unit. Starting a masked unit does nothing, as there.
func (m *Machine) Systemctl(verb, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.unit(suffixed(name, ".service"))
	if u == nil {
		return
	}
	switch verb {
	case "start":
		m.start(u)
	case "stop":
		m.stop(u)
	case "enable", "disable":
		u.enabled = verb == "enable"
	case "mask", "unmask":
		u.masked = verb == "mask"
	}
}

// UnitState returns what systemctl show would: ActiveState and UnitFileState, or
// "" for a unit that does not exist.
func (m *Machine) UnitState(name string) (active, file string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u := m.unit(suffixed(name, ".service")); u != nil {
		d := m.described(u)
		return d.Active, d.File
	}
	return "", ""
}

// suffixed gives a unit's name its suffix, unless it has one.
func suffixed(name, suffix string) string {
	if path.Ext(name) != "" {
		return name
	}
	return name + suffix
}

func (m *Machine) unit(name string) *unit {
	for _, u := range m.units {
		if u.name == name {
			return u
		}
	}
	return nil
}

func (m *Machine) start(u *unit) {
	if u.active || u.masked {
		return
	}
	u.active, u.failed = true, false
	if u.starts == "" {
		u.pid = m.spawn(&process{
			Process: platform.Process{Exe: u.exe, PPID: 1, User: "root", Unit: u.name, Cgroup: "/system.slice/" + u.name},
			listens: u.listens,
		})
	} else {
		for i := range u.listens {
			u.listens[i] = m.opened(u.listens[i])
		}
	}
	m.tell(platform.PartListeners, u.name+" started")
}

func (m *Machine) stop(u *unit) {
	if !u.active {
		return
	}
	u.active = false
	if pid := u.pid; pid != 0 {
		u.pid = 0
		m.end(pid)
	}
	for _, name := range u.needed {
		if other := m.unit(name); other != nil {
			m.stop(other)
		}
	}
	m.tell(platform.PartListeners, u.name+" stopped")
}

// described returns the unit as the service manager would show it.
func (m *Machine) described(u *unit) platform.Unit {
	fragment := "/usr/lib/systemd/system/" + u.name
	d := platform.Unit{Name: u.name, Active: "inactive", Sub: "dead", File: "disabled", Fragment: fragment, Description: u.name, MainPID: u.pid}
	if u.active {
		d.Active, d.Sub = "active", "running"
		if u.starts != "" {
			d.Sub = "listening"
		}
	} else if u.failed {
		d.Active, d.Sub = "failed", "failed"
	}
	if u.trigger != "" {
		d.TriggeredBy = []string{u.trigger}
		d.File = "static"
	}
	if u.starts != "" {
		d.Triggers = []string{u.starts}
	}
	if u.enabled {
		d.File = "enabled"
		target := "multi-user.target.wants/"
		if u.starts != "" {
			target = "sockets.target.wants/"
		}
		d.Links = []platform.Link{{Path: "/etc/systemd/system/" + target + u.name, Target: fragment}}
	}
	if u.masked {
		d.File = "masked"
		d.Links = append(d.Links, platform.Link{Path: "/etc/systemd/system.control/" + u.name, Target: "/dev/null"})
	}
	for _, name := range u.needed {
		if other := m.unit(name); other == nil || other.active {
			d.RequiredBy = append(d.RequiredBy, name)
		}
	}
	return d
}

type services struct{ m *Machine }

func (s services) Inspect(_ context.Context, names ...string) ([]platform.Unit, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if err := s.m.called("Services.Inspect", nil); err != nil {
		return nil, err
	}
	var all []platform.Unit
	add := func(name string) {
		u := s.m.unit(name)
		if u != nil && !slices.ContainsFunc(all, func(d platform.Unit) bool { return d.Name == name }) {
			all = append(all, s.m.described(u))
		}
	}
	for _, name := range names {
		if u := s.m.unit(name); u != nil {
			add(u.trigger)
			add(u.name)
		}
	}
	return all, nil
}

func (s services) Close(_ context.Context, units []platform.Unit) error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if err := s.m.called("Services.Close", unitNames(units)); err != nil {
		return err
	}
	for _, d := range units {
		if u := s.m.unit(d.Name); u != nil {
			u.masked = true
		}
	}
	for _, d := range units {
		if u := s.m.unit(d.Name); u != nil {
			s.m.stop(u)
			u.enabled = false
		}
	}
	return nil
}

func (s services) Restore(_ context.Context, units []platform.Unit) error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if err := s.m.called("Services.Restore", unitNames(units)); err != nil {
		return err
	}
	var changed []string
	for _, want := range units {
		u := s.m.unit(want.Name)
		if u == nil {
			return fmt.Errorf("restore %s: %w", want.Name, platform.ErrGone)
		}
		enabled, masked := wanted(want)
		if !u.masked && (u.enabled != enabled || masked) {
			changed = append(changed, u.name)
			continue
		}
		u.enabled, u.masked = enabled, masked
	}
	for _, want := range units {
		if u := s.m.unit(want.Name); want.Active == "active" && !slices.Contains(changed, u.name) {
			u.masked = false
			s.m.start(u)
			_, u.masked = wanted(want)
		}
	}
	if len(changed) > 0 {
		return fmt.Errorf("restore %s: %w", strings.Join(changed, ", "), platform.ErrChanged)
	}
	return nil
}

// wanted reads from the links of a unit whether it was enabled and masked.
func wanted(u platform.Unit) (enabled, masked bool) {
	for _, l := range u.Links {
		if l.Target == "/dev/null" {
			masked = true
		} else {
			enabled = true
		}
	}
	return enabled, masked
}

func unitNames(units []platform.Unit) string {
	var names []string
	for _, u := range units {
		names = append(names, u.Name)
	}
	return strings.Join(names, " ")
}

// Nameless has the look at owners not know which unit opens a socket, as for the
// moment in which it does.
func (m *Machine) Nameless(name string, yes bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unit(name).nameless = yes
}
