package platform

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/windows"
)

// observer looks at this host.
type observer struct {
	root string
	self ProcessID
}

func newObserver(o Options, _ Firewall) Observer {
	self := ProcessID{PID: os.Getpid()}
	if start, err := startOf(windows.CurrentProcess()); err == nil {
		self.Start = start
	}
	return observer{root: o.Root, self: self}
}

// Snapshot reads the wanted parts of the host. What is not read on Windows yet is
// a gap that says so.
func (o observer) Snapshot(ctx context.Context, parts Parts) (Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return Snapshot{}, fmt.Errorf("look at host: %w", err)
	}
	s := Snapshot{Taken: time.Now().UTC(), Agent: o.self}
	for _, p := range parts {
		switch {
		case p == PartOS:
			o.lookAtOS(&s)
		case o.root != "":
			s.lack(p, "only the files of "+o.root+" are looked at")
		case p == PartListeners:
			o.lookAtListeners(&s, parts.Has(PartOwners))
		case p != PartOwners:
			s.lack(p, "not supported yet on Windows")
		}
	}
	return s, nil
}

// lack notes that a part is not there at all.
func (s *Snapshot) lack(p Part, reason string) {
	s.Gaps = append(s.Gaps, Gap{Part: p, Reason: reason})
}

func (o observer) lookAtOS(s *Snapshot) {
	var err error
	if s.OS, err = readOS(o.root); err != nil {
		s.lack(PartOS, err.Error())
	}
	if o.root != "" {
		return
	}
	if s.Boot, err = ReadBoot(s.Taken); err != nil {
		s.Gaps = append(s.Gaps, Gap{Part: PartOS, Partial: true, Reason: err.Error()})
	}
}

func (o observer) lookAtListeners(s *Snapshot, owners bool) {
	found, err := readListeners()
	if err != nil {
		s.lack(PartListeners, "open ports cannot be seen: "+err.Error())
		return
	}
	// Whether a socket for every address of IPv6 takes IPv4 too is told nowhere: it
	// counts as if.
	networked := isNetworked()
	for i := range found {
		found[i].DualStack = found[i].Address.Is6() && found[i].Address.IsUnspecified()
		found[i].Reach = reachOf(found[i], networked)
	}
	s.Gaps = append(s.Gaps, Gap{Part: PartListeners, Partial: true, Reason: "the Windows firewall is not taken into account: a port that it shuts counts as open"})
	if owners {
		s.Gaps = append(s.Gaps, tellOwners(found)...)
	}
	slices.SortFunc(found, compareListeners)
	s.Listeners = found
}

// tellOwners fills in who holds the listeners.
func tellOwners(found []Listener) []Gap {
	services, err := servicesByPID()
	if err != nil {
		return []Gap{{Part: PartOwners, Reason: "the owners of ports cannot be seen: " + err.Error()}}
	}
	known := map[int]Owner{}
	hidden, refused := 0, false
	for i := range found {
		l := &found[i]
		if l.Owner.PID == systemPID {
			l.Owner = Owner{Kernel: true, PID: systemPID, PIDs: []int{systemPID}, Process: "System", Unit: kernelService(systemPID, l.Protocol, l.Port)}
			continue
		}
		o, ok := known[l.Owner.PID]
		if !ok {
			if o, err = ownerOf(l.Owner.PID, services); err != nil {
				hidden++
				refused = refused || errors.Is(err, ErrNotPermitted)
			}
			known[l.Owner.PID] = o
		}
		l.Owner = o
	}
	if hidden == 0 {
		return nil
	}
	reason := fmt.Sprintf("the owners of %d ports are not known", hidden)
	if refused {
		reason += ": repeat as an administrator"
	}
	return []Gap{{Part: PartOwners, Partial: true, Reason: reason}}
}

// isNetworked tells whether the host has any interface beside loopback.
func isNetworked() bool {
	all, err := net.Interfaces()
	return err != nil || slices.ContainsFunc(all, func(i net.Interface) bool { return i.Flags&net.FlagLoopback == 0 })
}

// Events never says anything.
func (observer) Events(ctx context.Context) <-chan Event {
	events := make(chan Event)
	context.AfterFunc(ctx, func() { close(events) })
	return events
}
