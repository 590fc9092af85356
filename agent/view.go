package agent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// view is what the agent shows: made by the loop, read by anybody, never
// changed after it was made.
type view struct {
	status  Status
	threats []threat.Threat
	policy  configs.Policy
	lines   uint64        // of the history, written so far
	next    chan struct{} // closed when a newer view is there
}

// publish shows the state after a turn, if it is another one.
func (a *Agent) publish() {
	v := &view{policy: a.policy, lines: a.lines, threats: slices.Clone(a.threats), next: make(chan struct{})}
	for i := range v.threats {
		t := &v.threats[i]
		t.Next = a.nextFor(*t)
	}
	threat.Worst(v.threats)
	v.status = a.statusOf(v.threats)
	old := a.view.Load()
	if old != nil && same(old, v) {
		v.next = old.next
		a.view.Store(v)
		return
	}
	a.view.Store(v)
	if old != nil {
		close(old.next)
	}
}

// same tells whether two views show a person the same, history included.
func same(a, b *view) bool {
	if a.lines != b.lines {
		return false
	}
	x, errX := json.Marshal([]any{a.status, a.threats})
	y, errY := json.Marshal([]any{b.status, b.threats})
	return errX == nil && errY == nil && string(x) == string(y)
}

func (a *Agent) statusOf(threats []threat.Threat) Status {
	s := Status{
		Host: a.cfg.HostName, Mode: a.policy.Mode, Paused: a.state.Pause, Open: map[configs.Severity]int{},
		Blocked: a.state.Restrictions.Blocked, Wall: a.state.Restrictions.Wall, Policy: a.loaded, LastLook: a.lastLook,
		Gaps: slices.Clone(a.snapshot.Gaps), Contact: a.policy.Contact,
		Agent: SelfStatus{Version: a.cfg.Version, Started: a.since},
	}
	for _, sev := range configs.Severities {
		s.Open[sev] = 0
	}
	for _, t := range threats {
		if t.Open() {
			s.Open[t.Severity]++
			s.Threats = append(s.Threats, t)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.blind)) {
		s.Gaps = append(s.Gaps, platform.Gap{Part: platform.Part(name), Reason: a.blind[name]})
	}
	for _, about := range slices.Sorted(maps.Keys(a.troubles)) {
		s.Troubles = append(s.Troubles, a.troubles[about])
	}
	for _, l := range a.plan.Lacks {
		s.Gaps = append(s.Gaps, platform.Gap{Part: "actions", Partial: true, Reason: fmt.Sprintf("plan %q names %s, which this agent cannot do", l.Plan, l.Action)})
	}
	s.Flags = a.flags
	s.Isolation = a.isolationStatus()
	s.Isolated = s.Isolation != nil
	s.State = a.stateOf(s)
	s.Next = a.nextOf(s)
	return s
}

// stateOf is the one-word answer. Isolation and open threats are told before
// doubts; "ok" only when nothing is open and everything could be read.
func (a *Agent) stateOf(s Status) State {
	switch {
	case s.Isolated:
		return StateIsolated
	case len(s.Threats) > 0:
		return StateAttention
	case s.LastLook.IsZero() || len(s.Troubles) > 0 || !s.Policy.Valid ||
		slices.ContainsFunc(s.Gaps, func(g platform.Gap) bool { return !g.Partial }):
		return StateUnsure
	}
	return StateOK
}

func (a *Agent) isolationStatus() *IsolationStatus {
	if a.state.Restrictions.Isolation == nil {
		return nil
	}
	p, iso := a.state.Isolated, a.state.Restrictions.Isolation
	s := &IsolationStatus{
		Since: p.Since, Until: a.isolationEnds(), Left: isolationLeft(a.state), Proved: p.Proved, Detail: p.Detail, Keep: a.keptNames(),
		State: IsolationState(p.State), Reasons: p.Reasons,
		Lease: iso.Lease, Closed: iso.Closed, Ended: p.Ended, Told: p.Told,
	}
	if i := a.state.Isolation; i != nil {
		s.By, s.Reason = i.By, i.Reason
		return s
	}
	if t := a.find(a.isolatingThreat()); t != nil {
		s.By, s.Reason, s.Threat = fmt.Sprintf("plan %q", t.Plan), t.Summary, t.ID
	}
	return s
}

// nextOf is the one thing to do now.
func (a *Agent) nextOf(s Status) string {
	switch {
	case s.Isolated && s.Contact.Phone != "":
		return "do not switch off; call " + s.Contact.Phone
	case s.Isolated:
		return "do not switch off; ask your helpdesk"
	case len(s.Threats) > 0:
		return cmp.Or(s.Threats[0].Next, "firebreak explain "+s.Threats[0].ID)
	case len(s.Troubles) > 0:
		return s.Troubles[0]
	case !s.Policy.Valid:
		return "administrator: correct " + PolicyFile
	case s.State == StateUnsure:
		return "firebreak doctor tells what cannot be read, and why"
	}
	return "nothing"
}

// nextFor says who does what next about one threat.
func (a *Agent) nextFor(t threat.Threat) string {
	if a.gone[t.ID] && t.Open() {
		return "the agent: it seems to be gone, and is looked at again"
	}
	switch t.Stage {
	case threat.Resolved:
		return "nothing: " + resolvedBy(t)
	case threat.Excepted:
		if e := t.Exception; e != nil {
			return fmt.Sprintf("nothing until %s: %s decided to leave it open", threat.LastDay(e.Until), e.Owner)
		}
	case threat.Remediated:
		return "the agent: it looks again whether it is gone"
	case threat.Waiting:
		return a.waitsFor(t)
	}
	switch {
	case t.HoldOff != nil:
		return fmt.Sprintf("nothing by itself until %s", t.HoldOff.Until.Format("2 January 15:04"))
	case t.Plan == "":
		return "administrator: decide whether policy should name a plan for it"
	case a.policy.Mode != configs.Enforce || a.policy.Plans[t.Plan].Mode == configs.Audit:
		return fmt.Sprintf("administrator: policy only audits; plan %q is not carried out", t.Plan)
	case len(a.policy.Plans[t.Plan].Remediate) == 0:
		return "administrator: its plan only lessens it; somebody must remove the cause"
	}
	return "the agent: it carries out plan " + fmt.Sprintf("%q", t.Plan)
}

func (a *Agent) waitsFor(t threat.Threat) string {
	switch t.WaitingFor {
	case threat.ForApproval:
		return fmt.Sprintf("administrator: firebreak approve %s", t.ID)
	case threat.ForReboot:
		return "user: restart this computer"
	case threat.ForWindow:
		return "the agent: at the next maintenance window"
	case threat.ForLimit:
		return fmt.Sprintf("administrator: too much was done in one hour; look, then firebreak approve %s", t.ID)
	}
	if os := t.Subject.OS; os != nil && os.UpgradeTo != "" {
		return "a person: upgrade this computer to " + os.UpgradeTo
	}
	for i := len(t.Actions) - 1; i >= 0; i-- {
		if x := t.Actions[i]; x.Result == "cannot" || x.Result == "failed" {
			return "helpdesk: " + x.Detail
		}
	}
	return "helpdesk: look at it, then firebreak recheck " + t.ID
}
