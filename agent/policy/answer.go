package policy

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
)

// decided is the plan that answers one threat.
type decided struct {
	configs.Plan
	name     string
	mitigate []string // with what escalation adds
	enforced bool
	limit    int // disruptive actions in one hour
	because  string
}

// answer returns the plan for t: the one its finding names, or the stronger one
// that takes over when the threat keeps coming back. The zero answer does
// nothing.
func answer(p configs.Policy, t threat.Threat) decided {
	plan, ok := p.Plans[t.Plan]
	if !ok || t.Plan == "" {
		return decided{}
	}
	d := decided{Plan: plan, name: t.Plan, because: fmt.Sprintf("plan %q", t.Plan)}
	for _, name := range sortedNames(p.Plans) {
		again := p.Plans[name]
		if again.On == t.Plan && again.Times > 0 && t.Recurrences >= again.Times && again.Times > d.Times {
			d = decided{Plan: again, name: name, because: fmt.Sprintf("plan %q: it came back %d times", name, t.Recurrences)}
		}
	}
	d.mitigate, d.limit = slices.Clone(d.Mitigate), p.Limits.DisruptivePerHour
	d.enforced = p.Mode == configs.Enforce && d.Mode != configs.Audit
	return d
}

// Stronger tells whether policy has a stronger answer for t if it comes back more
// often.
func Stronger(p configs.Policy, t threat.Threat) bool {
	for _, again := range p.Plans {
		if again.On == t.Plan && t.Plan != "" && again.Times > t.Recurrences {
			return true
		}
	}
	return false
}

func sortedNames(plans map[string]configs.Plan) []string {
	names := make([]string, 0, len(plans))
	for name := range plans {
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names
}

// escalated adds what the plan adds once its threat has been open for too long.
// A system that is still covered, though not for long, is warned of and never
// restricted: nobody can upgrade before there is something to upgrade to.
func (d *decided) escalated(t threat.Threat, now time.Time) {
	if t.Subject.OS != nil && !t.Severity.AtLeast(configs.High) {
		return
	}
	e := d.Escalate
	if e.After > 0 && now.Sub(t.FirstSeen) >= time.Duration(e.After) {
		d.mitigate = append(d.mitigate, e.Mitigate...)
	}
}

// Evidence tells whether policy wants evidence kept before acting on t.
func Evidence(p configs.Policy, t threat.Threat) bool { return answer(p, t).Evidence }

// StopsShared tells whether the plan for t closes an owner that serves ports as well
// which policy allows.
func StopsShared(p configs.Policy, t threat.Threat) bool { return answer(p, t).Shared == "stop" }

// withheld returns why a mitigation of t may not be in force now; "" if it may.
// One that is in force already is not taken back when the limit is reached.
func (d decided) withheld(a *actions.Action, t threat.Threat, f Facts) (wait threat.Wait, why string) {
	switch {
	case t.Approved != "":
	case d.Approve == "all":
		return threat.ForApproval, "policy asks for approval before anything is done"
	case !a.Disruptive || slices.Contains(t.InForce, a.Name):
	case d.limit <= recent(f.Disruptive, f.Now), t.Stage == threat.Waiting && t.WaitingFor == threat.ForLimit:
		return threat.ForLimit, limitReached
	}
	return "", ""
}

const limitReached = "the limit of disruptive actions in one hour is reached: a person must look"

// Isolates tells whether policy wants the host isolated on account of t.
func Isolates(p configs.Policy, t threat.Threat, now time.Time) bool {
	d := answer(p, t)
	d.escalated(t, now)
	return d.enforced && t.Open() && slices.Contains(d.mitigate, actions.IsolateHost.Name)
}

func mitigation(d decided, t threat.Threat, name string, f Facts) *Step {
	a := actions.ByName(name)
	if a == nil || !t.Open() || t.HoldOff != nil || slices.Contains(t.InForce, name) {
		return nil
	}
	s := &Step{Threat: t.ID, Action: a, Because: d.because, Enforced: d.enforced}
	s.Wait, s.Why = d.withheld(a, t, f)
	return s
}

// remediation returns the step for one remediation of t, or nil if there is
// nothing left to do by itself.
func remediation(d decided, t threat.Threat, name string, f Facts) *Step {
	a := actions.ByName(name)
	if a == nil || !t.Open() || t.HoldOff != nil || t.Stage == threat.Remediated {
		return nil
	}
	if t.Stage == threat.Waiting {
		switch t.WaitingFor {
		case threat.ForPerson, threat.ForReboot:
			return nil
		case threat.ForLimit:
			if t.Approved == "" {
				return nil
			}
		}
	}
	s := &Step{Threat: t.ID, Action: a, Because: d.because, Enforced: d.enforced}
	switch {
	case (d.Approve == "all" || d.Approve == "remediate") && t.Approved == "":
		s.Wait, s.Why = threat.ForApproval, "policy asks for approval before "+a.Name
	case !inWindow(d.Window, f.Now):
		s.Wait, s.Why = threat.ForWindow, "the maintenance window is "+d.Window
	}
	return s
}

func inWindow(window string, now time.Time) bool {
	if window == "" {
		return true
	}
	w, err := configs.ParseWindow(window)
	return err == nil && w.Contains(now)
}

// Deadline is when flagged work for t should be done: when its plan escalates.
// Zero if it never does.
func Deadline(p configs.Policy, t threat.Threat) time.Time {
	after := time.Duration(answer(p, t).Escalate.After)
	if after <= 0 {
		return time.Time{}
	}
	return t.FirstSeen.Add(after)
}
