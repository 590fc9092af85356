package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/policy"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// looked is what one look without an agent brought.
type looked struct {
	snapshot platform.Snapshot
	threats  []threat.Threat // worst first
	allowed  []detect.Finding
	blind    []platform.Gap // detectors that could not look
	plan     policy.Plan
	previews []actions.Preview // of the plan's steps, in their order
}

// look reads the host once, judges it by the policy as of now, and works out
// what policy would do about it. It changes nothing.
func look(ctx context.Context, host *platform.Host, p configs.Policy, parts platform.Parts, now time.Time) (looked, error) {
	snapshot, err := host.Observer.Snapshot(ctx, parts)
	if err != nil {
		return looked{}, fmt.Errorf("%w at this computer: %w", errCouldNotLook, err)
	}
	l := looked{snapshot: snapshot}
	in := detect.Input{Snapshot: snapshot, Policy: p, Now: now}
	var found []detect.Finding
	var names []string
	for _, d := range detect.All() {
		if slices.ContainsFunc(d.Parts, func(p platform.Part) bool { return !parts.Has(p) }) {
			continue // nothing of it was read
		}
		one, err := d.Find(in)
		if err != nil {
			l.blind = append(l.blind, platform.Gap{Part: platform.Part(d.Name), Reason: err.Error()})
			continue
		}
		names = append(names, d.Name)
		found = append(found, one...)
	}
	for _, f := range found {
		if f.Allowed {
			l.allowed = append(l.allowed, f)
		}
	}
	followed, err := threat.Follow(nil, found, names, now)
	if err != nil {
		return looked{}, fmt.Errorf("follow findings: %w", err)
	}
	l.threats = followed.Threats
	threat.Worst(l.threats)
	terms, open := agent.TermsBeforehand(p, snapshot)
	l.plan = policy.Decide(p, l.threats, policy.Facts{Now: now.Local(), Host: snapshot, Terms: terms})
	if parts.Has(platform.PartNetwork) {
		l.preview(ctx, host, terms, open)
	}
	return l, nil
}

// preview works out what each step of the plan would do here and cost.
func (l *looked) preview(ctx context.Context, host *platform.Host, terms actions.Terms, open []string) {
	for _, s := range l.plan.Steps {
		o := actions.Order{Threat: s.Threat, Terms: terms, Snapshot: &l.snapshot, Now: l.snapshot.Taken}
		for _, t := range l.threats {
			if t.ID == s.Threat {
				o.Subject = t.Subject
			}
		}
		p, err := s.Action.Preview(ctx, host, o)
		if err != nil {
			p.Costs = append(p.Costs, "what it costs could not be worked out: "+err.Error())
		}
		if s.Action == actions.IsolateHost {
			p.Costs = append(p.Costs, open...)
		}
		l.previews = append(l.previews, p)
	}
}

// readPolicy returns the policy of this host: its file, or the embedded default
// if there is none. source says which.
func (e *env) readPolicy() (p configs.Policy, source string, err error) {
	data, err := configs.ReadPolicyFile(e.policyFile())
	if errors.Is(err, fs.ErrNotExist) {
		p, err = configs.Default()
		return p, "built-in default", err
	}
	if err != nil {
		return p, e.policyFile(), err
	}
	p, err = configs.ParsePolicy(data, e.policyFile())
	return p, e.policyFile(), err
}
