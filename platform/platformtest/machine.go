// Package platformtest is a host that lives in memory, for tests of what the
// agent decides. It behaves as a real host would where that matters: a stopped
// service takes its listeners with it, a socket unit starts its service again, a
// process that is kept alive comes back, a shut port is silent from outside.
package platformtest

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
)

// AgentPID is the process of the agent itself on every Machine.
const AgentPID = 900

// Machine is one host in memory. All methods may be called at any time from any
// goroutine. The zero Machine is of no use: New makes one.
type Machine struct {
	mu        sync.Mutex
	now       time.Time
	boots     int
	booted    time.Time
	os        platform.OS
	gaps      []platform.Gap
	sessions  []platform.Session
	inForce   platform.Restrictions
	denied    []platform.BindRule
	units     []*unit
	procs     []*process
	programs  []*program
	kernel    []platform.Listener // held by no process
	flags     map[string]platform.Flag
	files     map[string][]byte
	notices   []string
	banner    string
	network   platform.Network
	updates   platform.Updates // the zero value is a host that misses none
	running   platform.RunningCode
	links     map[netip.Prefix]platform.Route // the way to a network; else over eth0
	live      []platform.Connection
	raw       platform.Answer       // to a frame while isolated
	stubborn  []platform.Connection // of those, what cannot be ended
	left      time.Duration         // of the lease, at leaseAt
	leaseAt   time.Duration         // since boot
	lacks     []string              // of the firewall
	dropped   uint64
	uncounted bool // what is dropped is not counted
	peers     map[netip.AddrPort]peerAnswers
	faults    map[string][]fault
	calls     []string
	watchers  []chan platform.Event
	lastPID   int
	cookie    uint64
}

// fault makes a method fail: the next times calls of it, or all if times < 0.
type fault struct {
	err   error
	times int
}

// New returns a Debian 12 host that was booted an hour before noon of
// 2026-09-01, with nothing on it but PID 1 and the agent.
func New() *Machine {
	m := &Machine{
		now: time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC),
		os: platform.OS{
			ID: "debian", Version: "12", Name: "Debian GNU/Linux 12 (bookworm)", Codename: "bookworm",
			Kernel: "6.1.0-37-amd64", Arch: "amd64", DebianVersion: "12.11",
		},
		flags:  map[string]platform.Flag{},
		files:  map[string][]byte{},
		faults: map[string][]fault{},
	}
	m.boot(m.now.Add(-time.Hour))
	return m
}

// Host returns the machine as the agent sees it.
func (m *Machine) Host() *platform.Host {
	return &platform.Host{
		Observer: observer{m}, Firewall: firewall{m}, Connections: connections{m}, Routes: routes{m},
		Services: services{m}, Supervisors: supervisors{m}, Processes: processes{m}, Binds: binds{m},
		Notifier: notifier{m}, Flags: flags{m}, Prober: prober{m}, Files: files{m},
	}
}

// Now returns the machine's clock, which stands still but for SetNow.
func (m *Machine) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// SetNow lets time pass until t.
func (m *Machine) SetNow(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = t
}

// SetClock sets the machine's clock without any time passing, as a person or a
// time server does.
func (m *Machine) SetClock(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.booted = m.booted.Add(t.Sub(m.now))
	m.now = t
}

// SetOS makes the machine run another release.
func (m *Machine) SetOS(os platform.OS) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.os = os
	m.tell(platform.PartOS, "the operating system changed")
}

// SetUpdates makes the package data say something else, and older code run.
func (m *Machine) SetUpdates(u platform.Updates, running platform.RunningCode) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.updates, m.running = u, running
	m.tell(platform.PartUpdates, "packages changed")
}

// SetGaps makes parts of every later snapshot unreadable. A part with a gap that
// is not partial is left empty.
func (m *Machine) SetGaps(gaps ...platform.Gap) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gaps = gaps
}

// AddSession logs a person in.
func (m *Machine) AddSession(s platform.Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions = append(m.sessions, s)
}

// AddFile puts a file on the machine.
func (m *Machine) AddFile(path string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[path] = data
}

// Notices returns what the users were shown, oldest first.
func (m *Machine) Notices() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.notices)
}

// Fail makes every later call of a method, named "Firewall.Apply", fail with
// err before it does anything; nil makes it work again.
func (m *Machine) Fail(method string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.faults, method)
	if err != nil {
		m.faults[method] = []fault{{err, -1}}
	}
}

// FailTimes makes the next n calls of a method fail with err.
func (m *Machine) FailTimes(method string, n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults[method] = append(m.faults[method], fault{err, n})
}

// Calls returns the methods that were called to change the host, with what they
// were called for, oldest first.
func (m *Machine) Calls() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

// Reboot ends everything that runs, forgets the restrictions, and starts what is
// enabled and not masked.
func (m *Machine) Reboot() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boot(m.now)
	m.tell(platform.PartListeners, "the host has booted")
}

func (m *Machine) boot(at time.Time) {
	m.boots++
	m.booted = at
	m.inForce, m.denied = platform.Restrictions{}, nil
	m.sessions = nil
	kept := m.procs
	m.procs, m.lastPID = nil, AgentPID+100*m.boots
	m.procs = append(m.procs,
		&process{Process: platform.Process{ProcessID: platform.ProcessID{PID: 1}, Name: "systemd", Exe: "/usr/lib/systemd/systemd", User: "root"}},
		&process{Process: platform.Process{ProcessID: platform.ProcessID{PID: AgentPID, Start: uint64(50 + m.boots)}, PPID: 1, Name: "firebreak", Exe: "/usr/bin/firebreak", User: "root", Unit: "firebreak.service"}})
	for _, p := range kept {
		if p.persistent {
			m.spawn(p)
		}
	}
	for _, u := range m.units {
		u.active, u.failed, u.pid = false, false, 0
	}
	for _, u := range m.units {
		if u.enabled {
			m.start(u)
		}
	}
}

// called records a call and returns the fault that was planted for it.
func (m *Machine) called(method string, what any) error {
	if what != nil {
		m.calls = append(m.calls, fmt.Sprintf("%s %v", method, what))
	}
	fs := m.faults[method]
	if len(fs) == 0 {
		return nil
	}
	err := fs[0].err
	if fs[0].times > 0 {
		if fs[0].times--; fs[0].times == 0 {
			m.faults[method] = fs[1:]
		}
	}
	return err
}

// tell sends an event to whoever listens, and drops it where nobody takes it.
func (m *Machine) tell(part platform.Part, why string) {
	for _, w := range m.watchers {
		select {
		case w <- platform.Event{Part: part, Why: why}:
		default:
		}
	}
}
