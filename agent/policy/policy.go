// Package policy decides what is done about the open threats, and does nothing
// itself: it is pure functions over the administrator's policy.
package policy

import (
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// Facts are what a decision depends on beside the policy and the threats.
type Facts struct {
	Now time.Time // with the host's time zone: windows are local time
	// Disruptive are the times of the disruptive acts so far.
	Disruptive []time.Time
	// Paused lifts blocks, not isolation.
	Paused bool
	// Isolation is true while a person has asked for isolation.
	Isolation bool
	// IsolationHeldOff is true after an isolation was taken back.
	IsolationHeldOff bool
	// Host is the host as it was last seen.
	Host  platform.Snapshot
	Terms actions.Terms
	// InForce are the restrictions that are in force now.
	InForce platform.Restrictions
	// Denied are the ports that no program may open now.
	Denied []platform.BindRule
	// Undeniable are those for which that could not be brought about.
	Undeniable []platform.PortRule
}

// Step is one action that policy wants for one threat.
type Step struct {
	Threat  string
	Action  *actions.Action
	Because string // the plan and its line, and what led to it
	// Enforced is false when the step is only shown: the mode is audit.
	Enforced bool
	// Wait says why an enforced step is not carried out now; "" if it is.
	Wait threat.Wait
	Why  string // one sentence for Wait
}

// Plan is what policy wants done, in order: all mitigations first.
type Plan struct {
	Steps []Step
	// Lacks are actions that policy names and this agent does not have, with the
	// plan that names them: a gap, not an error.
	Lacks []Lack
}

// Lack is an action that policy names and this agent does not have.
type Lack struct{ Plan, Action string }

// Decide returns the plan for the open threats.
func Decide(p configs.Policy, threats []threat.Threat, f Facts) Plan {
	var plan Plan
	budget := p.Limits.DisruptivePerHour - recent(f.Disruptive, f.Now)
	for _, t := range threats {
		d := answer(p, t)
		d.escalated(t, f.Now)
		plan.lack(d)
		for _, name := range d.mitigate {
			plan.add(mitigation(d, t, name, f))
		}
	}
	for _, t := range threats {
		d := answer(p, t)
		for _, name := range d.Remediate {
			step := remediation(d, t, name, f)
			if step == nil {
				break
			}
			if step.carried() && step.Action.Disruptive {
				budget--
				if budget < 0 && t.Approved == "" {
					step.Wait, step.Why = threat.ForLimit, limitReached
				}
			}
			plan.add(step)
			if step.Wait != "" {
				break
			}
		}
	}
	return plan
}

// carried tells whether the step is to be carried out now.
func (s Step) carried() bool { return s.Enforced && s.Wait == "" }

// Carried returns the steps that are to be carried out now.
func (p Plan) Carried() []Step {
	var out []Step
	for _, s := range p.Steps {
		if s.carried() {
			out = append(out, s)
		}
	}
	return out
}

func (p *Plan) add(s *Step) {
	if s != nil {
		p.Steps = append(p.Steps, *s)
	}
}

func (p *Plan) lack(d decided) {
	for _, name := range slices.Concat(d.mitigate, d.Remediate) {
		l := Lack{Plan: d.name, Action: name}
		if actions.ByName(name) == nil && !slices.Contains(p.Lacks, l) {
			p.Lacks = append(p.Lacks, l)
		}
	}
}

func recent(times []time.Time, now time.Time) int {
	n := 0
	for _, t := range times {
		if age := now.Sub(t); age >= 0 && age < time.Hour {
			n++
		}
	}
	return n
}
