package agent

import (
	"context"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/platform"
)

// glanceParts are the parts that a glance reads: what is another when a port
// opens or closes. A glance is a look at them alone, within milliseconds of the
// event; what it did not look at stays as it was.
var glanceParts = platform.Parts{platform.PartListeners, platform.PartOwners}

const (
	// glanceShare is how much longer than the glances the time between them is:
	// under thousands of events a second they take a tenth of one processor.
	glanceShare = 9
	// glanceCredit is how much of that time need not have passed yet: a program
	// that starts opens several ports.
	glanceCredit = 200 * time.Millisecond
	// glanceWait is the longest that one waits for its turn.
	glanceWait = 400 * time.Millisecond
)

// pace is how the glances follow each other: one under way, one asked for. The
// first begins at once; the more time they took lately, the longer the next one
// waits.
type pace struct {
	chore
	owed time.Duration // the time that has to pass for those that were
	at   time.Duration // when owed was counted
	over bool          // what the one under way brought was taken up
}

// settle takes it that all that follows from a glance was done.
func (p *pace) settle(now time.Duration) {
	if !p.over {
		return
	}
	p.over = false
	p.end()
	took := max(0, now-p.begun)
	p.owed = min(max(0, p.owed-(now-p.at))+glanceShare*took, glanceCredit+glanceWait)
	p.at = now
	p.gap = took + max(0, p.owed-glanceCredit)
}

// glance asks for a glance. Before the first whole look there is nothing that it
// could be part of.
func (a *Agent) glance(why string) {
	if a.snapshot.Taken.IsZero() {
		a.look(why)
		return
	}
	a.cfg.Log.Debug("glance", zap.String("why", why))
	a.glancing.ask()
	a.glanceIfDue()
}

func (a *Agent) glanceIfDue() {
	if !a.glancing.asked || !a.glancing.begin(a.boot().Uptime) {
		return
	}
	number, generation := a.nextLook(), a.generation
	host, in := a.cfg.Host, a.input()
	in.Snapshot = a.snapshot
	j := func(ctx context.Context) func(context.Context) {
		ctx, cancel := context.WithTimeout(ctx, lookDeadline)
		defer cancel()
		s := observe(ctx, host, needing(a.detectors(), glanceParts), in, glanceParts)
		s.number, s.generation = number, generation
		return func(context.Context) { a.glanced(s) }
	}
	select {
	case a.glances <- j: // its worker waits for it: no turn of the loop comes between
	default:
		a.toGlance = append(a.toGlance, j)
	}
}

// glanced takes up what a glance brought.
func (a *Agent) glanced(s seen) {
	a.glancing.over = true
	switch {
	case s.generation != a.generation: // a whole look by the new policy is on its way
	case s.err != nil:
		a.look("a glance could not be had: " + s.err.Error())
	default:
		a.hashLater(s.findings)
		a.takeUp(s)
	}
}

// hashLater has the executables hashed that run now in place of those an
// exception was given to: an event does not wait for that.
func (a *Agent) hashLater(found []detect.Finding) {
	given, host := a.givenPrograms(), a.cfg.Host
	found = slices.DeleteFunc(slices.Clone(found), func(f detect.Finding) bool {
		pid, ok := given[f.Key]
		return !ok || f.Subject.Port == nil || f.Subject.Port.PID == pid
	})
	if len(found) == 0 {
		return
	}
	a.enqueueLook(func(ctx context.Context) func(context.Context) {
		ctx, cancel := context.WithTimeout(ctx, lookDeadline)
		defer cancel()
		hashes := newPrograms(ctx, host, given, found)
		return func(context.Context) { a.judgePrograms(hashes) }
	})
}

// judgePrograms ends the exceptions of executables that run no more, by the keys
// of their threats.
func (a *Agent) judgePrograms(hashes map[string]string) {
	for i := range a.threats {
		if hash, ok := hashes[a.threats[i].Key]; ok {
			a.expireOne(&a.threats[i], a.cfg.Now(), hash)
		}
	}
}

// needing returns the detectors that need no other parts than these.
func needing(all []*detect.Detector, parts platform.Parts) []*detect.Detector {
	return slices.DeleteFunc(slices.Clone(all), func(d *detect.Detector) bool {
		return slices.ContainsFunc(d.Parts, func(p platform.Part) bool { return !parts.Has(p) })
	})
}

// nextLook numbers the looks in the order in which they begin.
func (a *Agent) nextLook() uint64 {
	a.lookNumber++
	return a.lookNumber
}

// without leaves out of a look the parts that a later one has read already.
func (s seen) without(parts platform.Parts) seen {
	s.parts = slices.DeleteFunc(slices.Clone(s.parts), parts.Has)
	for _, d := range needing(detect.All(), parts) {
		is := func(name string) bool { return name == d.Name }
		s.asked = slices.DeleteFunc(slices.Clone(s.asked), is)
		s.looked = slices.DeleteFunc(slices.Clone(s.looked), is)
		s.findings = slices.DeleteFunc(slices.Clone(s.findings), func(f detect.Finding) bool { return is(f.Detector) })
		s.blind = maps.Clone(s.blind)
		delete(s.blind, d.Name)
	}
	return s
}

// merged returns a snapshot with the given parts as a newer one has them, and
// the others as they were.
func merged(old, newer platform.Snapshot, parts platform.Parts) platform.Snapshot {
	s := old
	s.Taken, s.Agent = newer.Taken, newer.Agent
	for _, p := range parts {
		switch p {
		case platform.PartOS:
			s.OS, s.Boot = newer.OS, newer.Boot
		case platform.PartListeners:
			s.Listeners = newer.Listeners
		case platform.PartRestrictions:
			s.InForce = newer.InForce
		case platform.PartSessions:
			s.Sessions = newer.Sessions
		case platform.PartNetwork:
			s.Network = newer.Network
		case platform.PartUpdates:
			s.Updates = newer.Updates
		case platform.PartRunning:
			s.Running = newer.Running
		}
	}
	s.Gaps = slices.DeleteFunc(slices.Clone(old.Gaps), func(g platform.Gap) bool { return parts.Has(g.Part) })
	for _, g := range newer.Gaps {
		if parts.Has(g.Part) {
			s.Gaps = append(s.Gaps, g)
		}
	}
	return s
}
