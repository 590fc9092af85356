package policy

import (
	"fmt"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// Claim is one mitigation that should be in force, and for what.
type Claim struct {
	Threat  string // its ID; "" for what a person or a rule of the policy wants
	Action  *actions.Action
	Because string
	Wants   platform.Restrictions // what of the restrictions it stands for
}

// Derive returns all the restrictions that should be in force, and the claims
// they are made of. Restrictions are never stored as something to add or to
// take away: they are worked out anew from the open threats, what people
// decided, and the policy. So none can be left over.
func Derive(p configs.Policy, threats []threat.Threat, f Facts) (platform.Restrictions, []Claim) {
	var want platform.Restrictions
	var claims []Claim
	for _, t := range threats {
		for _, c := range claimed(p, t, f) {
			add := c.Action.Restrict(t.Subject, f.Terms)
			if f.Paused {
				add.Blocked, add.Denied, add.Wall = nil, nil, nil
			}
			if f.IsolationHeldOff {
				add.Isolation = nil
			}
			if add.Zero() {
				continue
			}
			want = union(want, add)
			c.Wants = add
			claims = append(claims, c)
		}
	}
	if f.Isolation {
		want.Isolation = isolation(f.Terms)
	}
	blocked, _ := Preempt(p, threats, f)
	want.Blocked = append(want.Blocked, blocked...)
	return want.Normal(), claims
}

// claimed returns the mitigations that t should have in force now.
func claimed(p configs.Policy, t threat.Threat, f Facts) []Claim {
	d := answer(p, t)
	if !d.enforced || !t.Open() || t.HoldOff != nil {
		return nil
	}
	d.escalated(t, f.Now)
	var claims []Claim
	for _, name := range d.mitigate {
		a := actions.ByName(name)
		if a == nil || a.Restrict == nil {
			continue
		}
		if wait, _ := d.withheld(a, t, f); wait == "" {
			claims = append(claims, Claim{Threat: t.ID, Action: a, Because: d.because})
		}
	}
	if wait, _ := d.withheld(actions.BlockPort, t, f); wait != "" {
		return claims
	}
	if len(claims) == 0 && t.Subject.Port != nil && failed(t) {
		claims = append(claims, Claim{
			Threat: t.ID, Action: actions.BlockPort,
			Because: fmt.Sprintf("%s: it could not be closed, so it is blocked", d.because),
		})
	}
	return claims
}

// failed tells whether the last remediation of t did not do what it should:
// what cannot be closed is blocked instead, and stays open as a threat.
func failed(t threat.Threat) bool {
	for i := len(t.Actions) - 1; i >= 0; i-- {
		if a := t.Actions[i]; a.Kind == string(actions.Remediation) {
			return a.Result == "cannot" || a.Result == "failed" || t.Attempts > 0
		}
	}
	return false
}

// within returns the parts of rules that are parts of others as well.
func within(rules, others []platform.PortRule) []platform.PortRule {
	var out []platform.PortRule
	for _, r := range rules {
		for _, o := range others {
			first, last := max(r.First, o.First), min(r.Last, o.Last)
			if r.Protocol == o.Protocol && first <= last {
				out = append(out, platform.PortRule{Protocol: r.Protocol, First: first, Last: last})
			}
		}
	}
	return out
}

// Holds tells whether what c wants is part of the restrictions r.
func (c Claim) Holds(r platform.Restrictions) bool {
	if c.Wants.Isolation != nil && r.Isolation == nil || c.Wants.Wall != nil && r.Wall == nil {
		return false
	}
	want := platform.Restrictions{Blocked: c.Wants.Blocked, Denied: c.Wants.Denied}
	have := platform.Restrictions{Blocked: within(want.Blocked, r.Normal().Blocked), Denied: within(want.Denied, r.Normal().Denied)}
	return have.Equal(want)
}

func protocols(name string) []platform.Protocol {
	switch platform.Protocol(name) {
	case platform.TCP, platform.UDP:
		return []platform.Protocol{platform.Protocol(name)}
	}
	return []platform.Protocol{platform.TCP, platform.UDP}
}

func union(a, b platform.Restrictions) platform.Restrictions {
	if b.Isolation != nil {
		a.Isolation = b.Isolation
	}
	if b.Wall != nil {
		a.Wall = b.Wall
	}
	a.Blocked = append(a.Blocked, b.Blocked...)
	a.Denied = append(a.Denied, b.Denied...)
	return a
}

func isolation(terms actions.Terms) *platform.Isolation {
	iso := terms.Isolation
	return &iso
}
