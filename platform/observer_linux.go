package platform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/firebreak-sec/firebreak/platform/bpf"
	"github.com/firebreak-sec/firebreak/platform/sockets"
)

// observer looks at this host, or at another root file system, of which it sees
// the operating system and its packages only.
type observer struct {
	root     string
	firewall Firewall // nil: restrictions cannot be read
	self     ProcessID
	kernel   bpf.Kernel    // where ports are told of
	news     *sockets.News // what it tells

	mu        sync.Mutex      // one look at the listeners at a time: they never wait for what is slow
	listeners *listenerReader // nil until the first look at listeners

	slow    sync.Mutex     // one look at the packages at a time
	updates *updatesReader // nil until the first of them
	code    codeReader
}

func newObserver(o Options, firewall Firewall) Observer {
	return &observer{root: o.Root, firewall: firewall, self: ownProcess(), kernel: bpf.ThisKernel(), news: &sockets.News{}}
}

// Snapshot reads the wanted parts of the host.
func (o *observer) Snapshot(ctx context.Context, parts Parts) (Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return Snapshot{}, fmt.Errorf("look at host: %w", err)
	}
	s := Snapshot{Taken: time.Now().UTC(), Agent: o.self}
	if parts.Has(PartOS) {
		o.lookAtOS(&s)
	}
	if parts.Has(PartUpdates) {
		o.lookAtUpdates(ctx, &s)
	}
	looks := []struct {
		part Part
		look func(context.Context, *Snapshot, Parts)
	}{
		{PartListeners, o.lookAtListeners},
		{PartRestrictions, o.lookAtRestrictions},
		{PartSessions, o.lookAtSessions},
		{PartNetwork, o.lookAtNetwork},
		{PartRunning, o.lookAtRunning},
	}
	for _, l := range looks {
		switch {
		case !parts.Has(l.part):
		case o.root != "":
			s.lack(l.part, "only the files of "+o.root+" are looked at")
		default:
			l.look(ctx, &s, parts)
		}
	}
	return s, nil
}

// lack notes that a part is not there at all.
func (s *Snapshot) lack(p Part, reason string) {
	s.Gaps = append(s.Gaps, Gap{Part: p, Reason: reason})
}

func (o *observer) lookAtOS(s *Snapshot) {
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

func (o *observer) lookAtListeners(ctx context.Context, s *Snapshot, parts Parts) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.listeners == nil {
		r, err := newListenerReader()
		if err != nil {
			s.lack(PartListeners, "open ports cannot be seen: "+err.Error())
			return
		}
		r.heed(o.news, o.kernel)
		o.listeners = r
	}
	found, gaps, err := o.listeners.read(ctx, parts.Has(PartOwners))
	if err != nil {
		s.lack(PartListeners, "open ports cannot be seen: "+err.Error())
		return
	}
	s.Listeners, s.Gaps = found, append(s.Gaps, gaps...)
}

func (o *observer) lookAtRestrictions(ctx context.Context, s *Snapshot, _ Parts) {
	if o.firewall == nil {
		s.lack(PartRestrictions, "what the agent has in force cannot be read: there is no firewall it can use")
		return
	}
	var err error
	s.InForce, err = o.firewall.InForce(ctx)
	switch {
	case errors.Is(err, ErrNotPermitted):
		s.lack(PartRestrictions, "what the agent has in force is not visible to this user: repeat with sudo")
	case err != nil:
		s.lack(PartRestrictions, "what the agent has in force cannot be read: "+err.Error())
	}
}

func (o *observer) lookAtSessions(_ context.Context, s *Snapshot, _ Parts) {
	var err error
	if s.Sessions, err = readSessions(); err != nil {
		s.lack(PartSessions, "who is logged in is not known: "+err.Error())
	}
}

// ownProcess is the agent itself.
func ownProcess() ProcessID {
	self := ProcessID{PID: os.Getpid()}
	if data, err := os.ReadFile("/proc/" + strconv.Itoa(self.PID) + "/stat"); err == nil {
		if stat, ok := parseStat(data); ok {
			self.Start = stat.start
		}
	}
	return self
}
