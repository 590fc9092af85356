package actions

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
)

const (
	// endGrace is how long a process may take to end by itself.
	endGrace = 5 * time.Second
	// respawnWindow is how long an ended process is waited for to come back:
	// supervisors start one again within a second.
	respawnWindow = 2 * time.Second
	respawnTurn   = 200 * time.Millisecond
	// maxCopies is how many copies of itself a process may leave behind before it
	// counts as one that something else starts.
	maxCopies = 3
	// maxRounds is how often a port is looked at after what came back was ended.
	maxRounds = maxCopies + maxStarters + 4
)

// parentsFirst orders processes so that none is ended while another of them
// would start it again.
func parentsFirst(processes []platform.Process) []platform.Process {
	isChild := func(p platform.Process) bool {
		return slices.ContainsFunc(processes, func(q platform.Process) bool { return q.PID == p.PPID })
	}
	var parents, children []platform.Process
	for _, p := range processes {
		if isChild(p) {
			children = append(children, p)
		} else {
			parents = append(parents, p)
		}
	}
	return append(parents, children...)
}

// endProcesses ends what is still there of the processes, and then looks whether
// one comes back: if one of the starters made it come back, that one is ended too.
func endProcesses(ctx context.Context, h *platform.Host, o Order, c closed) ([]string, error) {
	var done []string
	for _, p := range slices.Concat(c.Respawners, c.Processes) {
		there, err := stillRuns(ctx, h, p)
		if err != nil {
			return done, fmt.Errorf("close port: %w", err)
		}
		if !there {
			continue
		}
		if err := h.Processes.End(ctx, p.ProcessID, endGrace); err != nil {
			return done, fmt.Errorf("close port: %w", err)
		}
		platform.FaultPoint("close-port: ended process")
		done = append(done, fmt.Sprintf("ended %s (process %d)", label(p), p.PID))
	}
	if len(done) == 0 || o.Subject.Port == nil {
		return done, nil
	}
	port, processes := *o.Subject.Port, slices.Clone(c.Processes)
	copies := 0
	for range maxRounds {
		l, err := watchRespawn(ctx, h, port, processes)
		if l == nil || err != nil {
			return done, err
		}
		said, again, err := endStarter(ctx, h, &c, *l)
		done = append(done, said...)
		if err != nil {
			return done, fmt.Errorf("close port: %w", err)
		}
		if again.PID != 0 {
			processes = append(processes, again)
			continue
		}
		p, left, err := leftBehind(ctx, h, *l)
		if errors.Is(err, platform.ErrGone) {
			continue
		}
		if err != nil {
			return done, fmt.Errorf("close port: %w", err)
		}
		if !left || copies == maxCopies {
			return done, fmt.Errorf("close %s: it came back: something starts it again%s: %w", portRule(port), starter(ctx, h, l.Owner), ErrCannot)
		}
		// It knows by now that it is to end, and would make another copy.
		if err := h.Processes.End(ctx, p.ProcessID, 0); err != nil {
			return done, fmt.Errorf("close port: %w", err)
		}
		copies++
		processes = append(processes, p)
		done = append(done, fmt.Sprintf("ended the copy of itself that %s left behind (process %d)", p.Name, p.PID))
	}
	return done, fmt.Errorf("close %s: it comes and goes: something starts it again and again: %w", portRule(port), ErrCannot)
}

// endStarter ends the starter that made a listener come back, and the program that
// it started again, which it returns; none if it was none of the starters.
func endStarter(ctx context.Context, h *platform.Host, c *closed, l platform.Listener) (done []string, again platform.Process, err error) {
	if again, err = h.Processes.Inspect(ctx, l.Owner.PID); errors.Is(err, platform.ErrGone) || err == nil && again.Start != l.Owner.Start {
		return nil, platform.Process{}, nil
	}
	if err != nil {
		return nil, platform.Process{}, err
	}
	s, found, err := starterAmong(ctx, h, c.Starters, again)
	if err != nil || !found {
		return nil, platform.Process{}, err
	}
	c.Starters = slices.DeleteFunc(slices.Clone(c.Starters), func(p platform.Process) bool { return p.ProcessID == s.ProcessID })
	for _, p := range []platform.Process{s, again} {
		if err := h.Processes.End(ctx, p.ProcessID, endGrace); err != nil {
			return done, platform.Process{}, err
		}
		if p.ProcessID == s.ProcessID {
			done = append(done, fmt.Sprintf("ended %s (process %d): it had started %s again", label(s), s.PID, again.Name))
		} else {
			done = append(done, fmt.Sprintf("ended %s (process %d)", again.Name, again.PID))
		}
	}
	return done, again, nil
}

// leftBehind tells whether the holder of a socket is nobody's: a copy that an
// ended process made of itself, rather than the work of something that starts it.
func leftBehind(ctx context.Context, h *platform.Host, l platform.Listener) (platform.Process, bool, error) {
	p, err := h.Processes.Inspect(ctx, l.Owner.PID)
	if err != nil {
		return p, false, err
	}
	kept, err := h.Supervisors.Find(ctx, l)
	return p, err == nil && len(kept) == 0 && p.PPID == 1 && p.Start == l.Owner.Start && !ofUnit(l), err
}

// watchRespawn returns the listener of a program that listens again within the
// respawn window, or nil: then something keeps it alive.
func watchRespawn(ctx context.Context, h *platform.Host, port platform.PortSubject, ended []platform.Process) (*platform.Listener, error) {
	turn := time.NewTicker(respawnTurn)
	defer turn.Stop()
	window := time.NewTimer(respawnWindow)
	defer window.Stop()
	for {
		s, err := h.Observer.Snapshot(ctx, platform.Parts{platform.PartListeners, platform.PartOwners})
		if err != nil {
			return nil, fmt.Errorf("look whether it came back: %w", err)
		}
		if l := respawned(s, port, ended); l != nil {
			return l, nil
		}
		select {
		case <-turn.C:
		case <-window.C:
			return nil, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("look whether it came back: %w", ctx.Err())
		}
	}
}

// respawned returns the listener of a new process of one of the ended programs
// on the port, if there is one.
func respawned(s platform.Snapshot, port platform.PortSubject, ended []platform.Process) *platform.Listener {
	for i, l := range s.Listeners {
		if l.Port != port.Port || l.Protocol != port.Protocol || l.NetNS != port.NetNS {
			continue
		}
		same := func(p platform.Process) bool { return p.PID == l.Owner.PID && p.Start == l.Owner.Start }
		program := func(p platform.Process) bool { return p.Exe == l.Owner.Exe }
		if !slices.ContainsFunc(ended, same) && slices.ContainsFunc(ended, program) {
			return &s.Listeners[i]
		}
	}
	return nil
}

// starter names what started a process again, in parentheses; "" if unknown.
func starter(ctx context.Context, h *platform.Host, o platform.Owner) string {
	switch {
	case o.UserUnit != "":
		return fmt.Sprintf(" (%s, a service of user %s)", o.UserUnit, o.User)
	case path.Ext(o.Unit) == ".service":
		return fmt.Sprintf(" (unit: %s)", o.Unit)
	}
	p, err := h.Processes.Inspect(ctx, o.PID)
	if err != nil {
		return ""
	}
	parent, err := h.Processes.Inspect(ctx, p.PPID)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (parent: %s)", parent.Name)
}

func stillRuns(ctx context.Context, h *platform.Host, p platform.Process) (bool, error) {
	now, err := h.Processes.Inspect(ctx, p.PID)
	if errors.Is(err, platform.ErrGone) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at process: %w", err)
	}
	return now.Start == p.Start, nil
}
