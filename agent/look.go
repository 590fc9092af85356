package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/policy"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

// seen is what one look brought.
type seen struct {
	snapshot platform.Snapshot
	findings []detect.Finding
	looked   []string          // detectors that could look
	blind    map[string]string // those that could not, and why
	flags    []platform.Flag
	flagsErr error
	programs map[string]string // see newPrograms
	err      error             // nothing could be read at all
	// generation is that of the policy by which the findings were judged.
	generation int
	// applies is how often restrictions had been put in force before the look.
	applies int
}

// lookDeadline bounds one look at the whole host.
const lookDeadline = time.Minute

// look queues a look at the whole host. One that is under way may have been too
// early to see what this one is for: then another follows it.
func (a *Agent) look(why string) {
	a.cfg.Log.Debug("look", zap.String("why", why))
	if a.looking {
		a.lookAgain = true
		return
	}
	a.looking = true
	generation, applies, given := a.generation, a.applies, a.givenPrograms()
	host, in := a.cfg.Host, detect.Input{Policy: a.policy, Lifecycle: a.cfg.Lifecycle, Now: a.cfg.Now()}
	a.enqueueLook(func(ctx context.Context) func(context.Context) {
		ctx, cancel := context.WithTimeout(ctx, lookDeadline)
		defer cancel()
		s := observe(ctx, host, a.detectors(), in, platform.AllParts)
		s.flags, s.flagsErr = readFlags(ctx, host)
		s.programs = newPrograms(ctx, host, given, s.findings)
		s.generation, s.applies = generation, applies
		return func(context.Context) { a.looked(s) }
	})
}

func (a *Agent) lookIfDue(now time.Time) {
	if a.looking || now.Sub(a.lastLook) < a.cfg.LookEvery && !now.Before(a.lastLook) {
		return
	}
	a.look("it is time")
	if a.troubles[troublePolicyWatch] != "" {
		a.loadPolicy()
	}
	if a.troubles[troubleKeep] != "" {
		a.naming.ask()
	}
}

// observe takes a snapshot and asks every detector about it. It changes
// nothing, and needs no agent.
func observe(ctx context.Context, h *platform.Host, detectors []*detect.Detector, in detect.Input, parts platform.Parts) seen {
	s := seen{blind: map[string]string{}}
	s.snapshot, s.err = h.Observer.Snapshot(ctx, parts)
	if s.err != nil {
		return s
	}
	in.Snapshot = s.snapshot
	for _, d := range detectors {
		found, err := d.Find(in)
		if err != nil {
			s.blind[d.Name] = err.Error()
			continue
		}
		s.looked = append(s.looked, d.Name)
		s.findings = append(s.findings, found...)
	}
	return s
}

// looked takes up what a look brought.
func (a *Agent) looked(s seen) {
	a.looking = false
	if a.lookAgain || s.generation != a.generation {
		a.lookAgain = false
		a.look("something happened during the last look")
	}
	if s.generation != a.generation {
		return
	}
	now := a.cfg.Now()
	a.lastLook = now
	a.trouble(troubleLook, s.err)
	if s.err != nil {
		return
	}
	a.snapshot, a.blind = s.snapshot, s.blind
	if s.snapshot.Missing(platform.PartListeners) == nil {
		a.leftover = nil
	}
	if a.trouble("flags", s.flagsErr); s.flagsErr == nil {
		a.flags = s.flags
	}
	a.terms.Protected, a.terms.Logins = policy.Protect(a.policy, s.snapshot), a.logins()
	f, err := threat.Follow(a.threats, s.findings, s.looked, now)
	if err != nil {
		a.trouble("follow", err)
		return
	}
	a.threats = f.Threats
	for i := range a.threats {
		if hash, ok := s.programs[a.threats[i].Key]; ok {
			a.expireOne(&a.threats[i], now, hash)
		}
	}
	for _, id := range f.New {
		t := a.find(id)
		a.note("found", id, "", t.Summary)
		if policy.Isolates(a.policy, *t, now) {
			a.endIsolationHoldOff("a new threat was found: " + id)
		}
	}
	for _, id := range f.Back {
		t := a.find(id)
		a.note("found", id, "", fmt.Sprintf("%s. It had been resolved and came back; that makes %d", t.Summary, t.Recurrences))
	}
	a.changedSince(s.findings)
	clear(a.gone)
	for _, id := range f.Gone {
		a.gone[id] = true
	}
	a.judgeAgain = a.refused != ""
	a.except(now)
	a.rebooted(now)
	a.noteForeignChange(s)
}

// changedSince marks every threat that this look saw for the next record, but
// only when something a person would notice is different: an unchanged host
// writes nothing to disk.
func (a *Agent) changedSince(found []detect.Finding) {
	for i := range a.threats {
		t := &a.threats[i]
		if slices.ContainsFunc(found, func(f detect.Finding) bool { return f.Key == t.Key && !f.Allowed }) {
			a.touch(t)
		}
	}
}

// except applies the exceptions that the policy itself carries.
func (a *Agent) except(now time.Time) {
	for i := range a.threats {
		t := &a.threats[i]
		if !t.Open() || t.Stage == threat.Remediated || a.busy[t.ID] {
			continue // what is being worked on is left open at the next look
		}
		e := policy.Excepted(a.policy, *t, now)
		if e == nil || t.Move(threat.Excepted) != nil {
			continue
		}
		t.Exception = e
		a.note("stage", t.ID, "", fmt.Sprintf("left open by the policy: %s, until %s (%s)", e.Reason, threat.LastDay(e.Until), e.Owner))
		a.touch(t)
	}
}

// rebooted makes the looks that wait for a reboot due, once the host is up for
// long enough that its services had their time to start.
func (a *Agent) rebooted(now time.Time) {
	boot := a.snapshot.Boot
	if boot.ID == "" {
		return
	}
	settle := time.Minute
	if len(a.cfg.LookAgain) > 0 {
		settle = min(settle, a.cfg.LookAgain[0])
	}
	for i := range a.threats {
		t := &a.threats[i]
		for j := range t.Looks {
			l := &t.Looks[j]
			if l.Boot != "" && l.Boot != boot.ID && l.Due.IsZero() {
				t.Looks = slices.Clone(t.Looks)
				t.Looks[j].Due = now.Add(max(0, settle-boot.Uptime))
				a.touch(t)
			}
		}
		if t.WaitingFor == threat.ForReboot && a.state.Boot != boot.ID {
			_ = t.Move(threat.Identified)
			a.touch(t)
		}
	}
	if a.state.Boot != boot.ID {
		a.state.Boot = boot.ID
		a.keepState()
	}
}
