package agent

import (
	"context"
	"fmt"
	"maps"
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
	number   uint64 // of the look, by when it began
	parts    platform.Parts
	snapshot platform.Snapshot // with the other parts as they were
	asked    []string          // detectors that were to look
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
	number, generation, applies, given := a.nextLook(), a.generation, a.applies, a.givenPrograms()
	host, in := a.cfg.Host, a.input()
	a.enqueueLook(func(ctx context.Context) func(context.Context) {
		ctx, cancel := context.WithTimeout(ctx, lookDeadline)
		defer cancel()
		s := observe(ctx, host, a.detectors(), in, platform.AllParts)
		s.flags, s.flagsErr = readFlags(ctx, host)
		s.programs = newPrograms(ctx, host, given, s.findings)
		s.number, s.generation, s.applies = number, generation, applies
		return func(context.Context) { a.looked(s) }
	})
}

// input is what detectors are given beside the snapshot.
func (a *Agent) input() detect.Input {
	return detect.Input{Policy: a.policy, Lifecycle: a.cfg.Lifecycle, Now: a.cfg.Now(), FirstSeen: firstSeen(a.threats)}
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

// observe reads some parts of the host, and asks the detectors about it with the
// other parts as they are in the input. It changes nothing, and needs no agent.
func observe(ctx context.Context, h *platform.Host, detectors []*detect.Detector, in detect.Input, parts platform.Parts) seen {
	s := seen{parts: parts, blind: map[string]string{}}
	read, err := h.Observer.Snapshot(ctx, parts)
	if err != nil {
		s.err = err
		return s
	}
	s.snapshot = merged(in.Snapshot, read, parts)
	in.Snapshot = s.snapshot
	for _, d := range detectors {
		s.asked = append(s.asked, d.Name)
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
	if a.trouble("flags", s.flagsErr); s.flagsErr == nil {
		a.flags = s.flags
	}
	a.takeUp(s)
	a.judgeAgain = a.refused != ""
	a.rebooted(now)
	a.noteForeignChange(s)
}

// takeUp brings the threats in line with what was looked at. What was read
// before a later look, which came first, is left out.
func (a *Agent) takeUp(s seen) {
	if s.number < a.newestListeners {
		s = s.without(glanceParts)
	} else {
		a.newestListeners = s.number
	}
	now := a.cfg.Now()
	a.snapshot = merged(a.snapshot, s.snapshot, s.parts)
	for _, name := range s.asked {
		delete(a.blind, name)
	}
	maps.Copy(a.blind, s.blind)
	if s.parts.Has(platform.PartListeners) && s.snapshot.Missing(platform.PartListeners) == nil {
		a.leftover = nil
	}
	a.terms.Protected, a.terms.Logins = policy.Protect(a.policy, a.snapshot), a.logins()
	f, err := threat.Follow(a.threats, s.findings, s.looked, now)
	if err != nil {
		a.trouble("follow", err)
		return
	}
	before := a.threats
	a.threats = f.Threats
	a.judgePrograms(s.programs)
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
	for _, id := range slices.Concat(f.New, f.Back) {
		a.leaveAlone(a.find(id), s.findings)
	}
	a.countFlaps(before, f, s.findings)
	a.changedSince(s.findings)
	maps.DeleteFunc(a.gone, func(id string, _ bool) bool {
		t := a.find(id)
		return t == nil || slices.Contains(s.asked, t.Detector)
	})
	for _, id := range f.Gone {
		a.gone[id] = true
		if t := a.find(id); slices.ContainsFunc(s.findings, func(x detect.Finding) bool { return x.Key == t.Key }) {
			a.validate(id, atOnce) // it is there, and allowed now
		}
	}
	a.judgeAgain = a.judgeAgain || a.refused != "" && len(f.New)+len(f.Back) > 0
	a.except(now)
}

// leaveAlone leaves open what may be another threat that a person had put back, or
// leaves open: whose port it is may be known only at the next look.
func (a *Agent) leaveAlone(t *threat.Threat, found []detect.Finding) {
	i := slices.IndexFunc(found, func(f detect.Finding) bool { return f.Key == t.Key })
	if i < 0 || !found[i].Unsure {
		return
	}
	for _, other := range a.threats {
		if other.Exception != nil && other.Stage == threat.Excepted && other.Detector == t.Detector && found[i].MayBe(other.Key) {
			a.leaveOpen(t, *other.Exception)
			a.note("stage", t.ID, "", "left open: it may be "+other.ID+", which "+other.Exception.Owner+" left open")
			return
		}
	}
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
