package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/policy"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

const (
	// applyRetry is how long the agent waits before it tries again what the system
	// refused.
	applyRetry = 15 * time.Second
	// applyRetryFirst is the same for restrictions, the first time, and twice as
	// long each further time up to applyRetry: somebody else may have been faster.
	applyRetryFirst = 100 * time.Millisecond
)

// restrict brings the restrictions in force in line with what the open threats,
// the people and the policy want, and says of a threat that it is mitigated
// only when the operating system says so.
func (a *Agent) restrict(ctx context.Context, now time.Time) {
	want, claims := policy.Derive(a.policy, a.threats, a.facts(now))
	want.Blocked = append(want.Blocked, a.leftover...)
	a.repair(ctx)
	a.renewIfDue(ctx, want)
	want.Isolation = a.afterPreparation(want.Isolation, claims)
	if up := a.boot().Uptime; (!a.applied || !want.Equal(a.state.Restrictions)) && up >= a.applyAt {
		err := a.apply(ctx, want)
		a.trouble(troubleFirewall, err)
		a.wantedByPlan(claims)
		if a.applied = err == nil; a.applied {
			a.applyWait = 0
			a.inForceNow(ctx)
		} else {
			a.applyWait = min(max(2*a.applyWait, applyRetryFirst), applyRetry)
			a.applyAt = up + a.applyWait
			a.readBack(ctx, want)
		}
	}
	a.claim(claims, now)
	a.wantedByPlan(claims)
	a.tend()
}

// inForceNow does what follows each time that an isolation was put in force: the
// kernel is told for how long, what is connected ends, and it is proved.
func (a *Agent) inForceNow(ctx context.Context) {
	if a.state.Restrictions.Isolation == nil {
		return
	}
	a.cutting.ask()
	a.proving.ask()
	a.renew(ctx)
}

// readBack finds out what is in force after it could not be changed. If that
// cannot be read either, it is taken for what it was.
func (a *Agent) readBack(ctx context.Context, want platform.Restrictions) {
	got, err := a.cfg.Host.Firewall.InForce(ctx)
	if err != nil || got.Equal(a.state.Restrictions) {
		return
	}
	before := a.state.Restrictions
	a.state.Restrictions = got
	a.keepState()
	if want.Isolation != nil && before.Isolation != nil && got.Isolation == nil {
		a.isolationLost()
		return
	}
	a.isolationChanged(before.Isolation, got.Isolation)
}

// apply puts want in force and reads it back.
func (a *Agent) apply(ctx context.Context, want platform.Restrictions) error {
	before := a.state.Restrictions
	platform.FaultPoint("restrictions: before apply")
	if err := a.cfg.Host.Firewall.Apply(ctx, want); err != nil {
		return fmt.Errorf("put restrictions in force: %w", err)
	}
	platform.FaultPoint("restrictions: after apply")
	got, err := a.cfg.Host.Firewall.InForce(ctx)
	if err != nil {
		return fmt.Errorf("read restrictions back: %w", err)
	}
	if !got.Equal(want) {
		return errors.New("read restrictions back: what is in force is not what was asked for")
	}
	a.applies++
	if want.Equal(before) {
		return nil
	}
	a.state.Restrictions = want
	a.keepState()
	a.isolationChanged(before.Isolation, want.Isolation)
	if text := wallChange(before.Wall, want.Wall); text != "" {
		a.note("result", "", actions.RestrictHost.Name, text)
	}
	if text := blockedChange(before.Blocked, want.Blocked); text != "" {
		a.note("result", "", actions.BlockPort.Name, text)
	}
	return nil
}

// noteForeignChange takes what a look read back from the firewall: if it is not
// what the agent put there, it is put back.
func (a *Agent) noteForeignChange(s seen) {
	if s.applies != a.applies {
		return // it may have been read before the newest change was made
	}
	a.compared(s.snapshot.InForce, s.snapshot.Missing(platform.PartRestrictions), "")
}

// claim brings what each threat says of its mitigations in line with what is in
// force.
func (a *Agent) claim(claims []policy.Claim, now time.Time) {
	inForce := map[string][]string{}
	for _, c := range claims {
		if c.Holds(a.state.Restrictions) {
			inForce[c.Threat] = append(inForce[c.Threat], c.Action.Name)
		}
	}
	for i := range a.threats {
		t := &a.threats[i]
		has := append(inForce[t.ID], a.stuck(*t, inForce[t.ID])...)
		a.tellStage(t, len(has) > 0)
		if slices.Equal(has, t.InForce) {
			continue
		}
		for _, name := range has {
			if !slices.Contains(t.InForce, name) {
				a.mitigated(t, name, claims, now)
			}
		}
		for _, name := range t.InForce {
			if !slices.Contains(has, name) {
				a.note("result", t.ID, name, lifted(name, t))
				setResult(t, name, "lifted")
			}
		}
		t.InForce = has
		a.touch(t)
	}
}

// tellStage moves a threat to where it is by what is in force for it.
func (a *Agent) tellStage(t *threat.Threat, mitigated bool) {
	to := t.Stage
	switch {
	case mitigated && t.Stage == threat.Identified:
		to = threat.Mitigated
	case !mitigated && t.Stage == threat.Mitigated:
		to = threat.Identified
	}
	if to != t.Stage && t.Move(to) == nil {
		a.touch(t)
	}
}

// stuck are the mitigations of t, beside those in has, that could not be lifted
// yet.
func (a *Agent) stuck(t threat.Threat, has []string) []string {
	var out []string
	for _, name := range t.InForce {
		action := actions.ByName(name)
		if a.applied || slices.Contains(has, name) || action == nil || action.Restrict == nil {
			continue
		}
		c := policy.Claim{Wants: action.Restrict(t.Subject, a.terms)}
		if c.Holds(a.state.Restrictions) {
			out = append(out, name)
		}
	}
	return out
}

func (a *Agent) mitigated(t *threat.Threat, name string, claims []policy.Claim, now time.Time) {
	because := "policy"
	for _, c := range claims {
		if c.Threat == t.ID && c.Action.Name == name {
			because = c.Because
		}
	}
	var costs []string
	if name == actions.IsolateHost.Name && a.last != nil {
		costs = a.last.costs
	}
	t.Did(threat.Act{
		Name: name, Kind: string(actions.Mitigation), At: now, By: "policy", Result: "done",
		Detail: because, Undoable: true, Costs: costs,
	})
	a.note("result", t.ID, name, "in force ("+because+"). The threat itself is still there")
	if actions.ByName(name).Disruptive {
		a.countDisruptive(now)
	}
}

// lifted says why a mitigation is no longer in force.
func lifted(name string, t *threat.Threat) string {
	switch t.Stage {
	case threat.Resolved:
		return name + " lifted: the threat is resolved"
	case threat.Excepted:
		return name + " lifted: the threat is left open on purpose"
	}
	return name + " lifted"
}

// setResult changes the result of the newest act of that name.
func setResult(t *threat.Threat, name, result string) {
	t.Actions = slices.Clone(t.Actions)
	for i := len(t.Actions) - 1; i >= 0; i-- {
		if t.Actions[i].Name == name {
			t.Actions[i].Result = result
			t.Actions[i].Undoable = false
			return
		}
	}
}

func blockedChange(before, now []platform.PortRule) string {
	var parts []string
	if add := subtract(now, before); len(add) > 0 {
		parts = append(parts, "blocked at the firewall: "+platform.PortList(add))
	}
	if gone := subtract(before, now); len(gone) > 0 {
		parts = append(parts, "no longer blocked: "+platform.PortList(gone))
	}
	return strings.Join(parts, "; ")
}

// wallChange says what became of the wall; "" if nothing.
func wallChange(before, now *platform.Wall) string {
	switch {
	case now == nil && before != nil:
		return "anybody may connect to this computer again"
	case now != nil && (before == nil || before.Shut != now.Shut):
		return actions.WallSentence(*now)
	}
	return ""
}

func subtract(a, b []platform.PortRule) []platform.PortRule {
	return slices.DeleteFunc(slices.Clone(a), func(r platform.PortRule) bool { return slices.Contains(b, r) })
}

func (a *Agent) countDisruptive(now time.Time) {
	a.state.Disruptive = slices.DeleteFunc(slices.Clone(a.state.Disruptive), func(t time.Time) bool {
		return now.Sub(t) >= time.Hour
	})
	a.state.Disruptive = append(a.state.Disruptive, now)
	a.keepState()
}
