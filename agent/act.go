package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/evidence"
	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/policy"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

const (
	// actDeadline bounds one action.
	actDeadline = 3 * time.Minute
	// retryAfter is how long a threat is left alone after a remediation failed,
	// for the first time; twice as long each further time.
	retryAfter = 2 * time.Second
)

// remediate starts what policy wants done, and says of every other threat what
// it waits for.
func (a *Agent) remediate(now time.Time) {
	chains := map[string][]policy.Step{}
	var order []string
	for _, s := range a.plan.Steps {
		if !s.Enforced {
			continue
		}
		if s.Action.Kind == actions.Mitigation {
			if s.Wait != "" {
				a.wait(a.find(s.Threat), s)
			}
			continue
		}
		if len(chains[s.Threat]) == 0 {
			order = append(order, s.Threat)
		}
		chains[s.Threat] = append(chains[s.Threat], s)
	}
	for _, id := range order {
		t := a.find(id)
		first := chains[id][0]
		switch {
		case a.busy[id] || now.Before(a.retry[id]):
		case first.Wait != "":
			a.wait(t, first)
		case a.troubles[troubleJournal] != "":
			// Nothing is remediated that could not be recorded. Status says so.
		default:
			a.carryOut(t, chains[id])
		}
	}
}

// waitNoMore takes threats out of a wait that the policy, as it is now, does not
// ask for. Of one that seems to be gone nothing is asked now.
func (a *Agent) waitNoMore() {
	for i := range a.threats {
		t := &a.threats[i]
		if a.gone[t.ID] || t.Stage != threat.Waiting || (t.WaitingFor != threat.ForApproval && t.WaitingFor != threat.ForWindow) {
			continue
		}
		asked := slices.ContainsFunc(a.plan.Steps, func(s policy.Step) bool { return s.Threat == t.ID && s.Enforced && s.Wait != "" })
		if !asked && t.Move(threat.Identified) == nil {
			a.touch(t)
		}
	}
}

func (a *Agent) wait(t *threat.Threat, s policy.Step) {
	if t.Stage == threat.Waiting && t.WaitingFor == s.Wait {
		return
	}
	if t.Wait(s.Wait) != nil {
		return
	}
	a.note("stage", t.ID, s.Action.Name, "waits: "+s.Why)
	a.touch(t)
}

// prepared is what is known before an action is carried out.
type prepared struct {
	preview  actions.Preview
	evidence string
	keepErr  error // why evidence could not be kept
	err      error
	thaw     []func() // lets go on what was held still
}

// carryOut carries out the remediations of one threat, one after the other:
// preview and evidence first, then the intent in the journal, then the act.
func (a *Agent) carryOut(t *threat.Threat, steps []policy.Step) {
	a.busy[t.ID] = true
	order := a.orderFor(*t)
	for _, i := range a.undoable(t.ID) {
		if i.Action == steps[0].Action.Name {
			order.Earlier = append(order.Earlier, i.Inverse)
		}
	}
	step, copyOf, snap, now := steps[0], *t, a.snapshot, a.cfg.Now()
	keep := policy.Evidence(a.policy, *t) && len(t.Evidence) <= t.Recurrences
	host, dir, limits := a.cfg.Host, a.cfg.Evidence, a.cfg.EvidenceLimits
	limits.Keep = a.openNow()
	a.enqueueAct(func(ctx context.Context) func(context.Context) {
		ctx, cancel := context.WithTimeout(ctx, actDeadline)
		defer cancel()
		var p prepared
		p.preview, p.err = step.Action.Preview(ctx, host, order)
		if keep {
			p.freeze(ctx, host)
			p.evidence, p.keepErr = evidence.Collect(ctx, host, copyOf, snap, now, dir, limits)
		}
		return func(context.Context) { a.prepared(copyOf.ID, steps, order, p) }
	})
}

// freeze holds still what is about to be ended, so that it does not change while
// evidence of it is kept. One that cannot be is looked at as it runs.
func (p *prepared) freeze(ctx context.Context, host *platform.Host) {
	if p.err != nil || p.preview.Refused != "" || host.Processes == nil {
		return
	}
	for _, id := range p.preview.Ends {
		if thaw, err := host.Processes.Freeze(ctx, id); err == nil {
			p.thaw = append(p.thaw, thaw)
		}
	}
}

// openNow returns a function that tells which threats are open at this moment.
// It may be called in the worker.
func (a *Agent) openNow() func(id string) bool {
	open := map[string]bool{}
	for _, t := range a.threats {
		open[t.ID] = t.Open()
	}
	return func(id string) bool { return open[id] }
}

// prepared writes the intent down and starts the act.
func (a *Agent) prepared(id string, steps []policy.Step, order actions.Order, p prepared) {
	defer func() {
		for _, thaw := range p.thaw {
			thaw() // to be asked to end, which it may do in order
		}
	}()
	t, step := a.find(id), steps[0]
	if t == nil {
		delete(a.busy, id)
		return
	}
	a.keptEvidence(t, p)
	switch {
	case errors.Is(p.err, platform.ErrGone):
		delete(a.busy, id)
		a.retry[id] = a.cfg.Now().Add(retryAfter)
		a.look("what was to be acted on is gone")
		return
	case p.err != nil:
		a.failed(t, step, p.err)
		return
	case p.preview.Refused != "":
		a.failed(t, step, fmt.Errorf("%s: %w", p.preview.Refused, actions.ErrCannot))
		return
	case !a.stillWanted(id, step):
		delete(a.busy, id)
		return
	}
	order.Inverse = p.preview.Inverse
	intent := journal.Intent{
		At: a.cfg.Now(), Threat: id, Action: step.Action.Name, Kind: string(step.Action.Kind), By: by(t),
		Because: step.Because, Subject: order.Subject, Steps: p.preview.Steps, Inverse: order.Inverse, Final: p.preview.Final, Open: true,
	}
	a.record(intent.At) // what led to it comes before it in the history
	platform.FaultPoint("intent: before write")
	seq, err := a.cfg.Journal.Begin(intent)
	a.trouble(troubleJournal, err)
	if err != nil {
		delete(a.busy, id)
		a.retry[id] = a.cfg.Now().Add(applyRetry)
		return
	}
	platform.FaultPoint("intent: after write")
	a.lines++
	intent.Seq = seq
	a.intents[seq] = intent
	t.Did(threat.Act{
		Seq: seq, Name: step.Action.Name, Kind: intent.Kind, At: intent.At, By: intent.By,
		Result: "pending", Detail: strings.Join(p.preview.Steps, "; "), Costs: p.preview.Costs,
	})
	a.touch(t)
	if step.Action.Disruptive {
		a.countDisruptive(intent.At)
	}
	a.act(id, steps, order, seq)
}

func by(t *threat.Threat) string {
	if t.Approved != "" {
		return t.Approved
	}
	return "policy"
}

// stillWanted tells whether the policy, as it is now, wants the step: it may
// have changed while evidence was kept.
func (a *Agent) stillWanted(id string, step policy.Step) bool {
	plan := policy.Decide(a.policy, a.threats, a.facts(a.cfg.Now()))
	return slices.ContainsFunc(plan.Carried(), func(s policy.Step) bool {
		return s.Threat == id && s.Action.Name == step.Action.Name
	})
}

func (a *Agent) keptEvidence(t *threat.Threat, p prepared) {
	if p.keepErr != nil {
		a.note("result", t.ID, "evidence", "evidence could not be kept: "+p.keepErr.Error())
	}
	if p.evidence == "" {
		return
	}
	t.Evidence = append(slices.Clone(t.Evidence), p.evidence)
	a.note("result", t.ID, "evidence", "evidence kept: "+p.evidence)
	a.touch(t)
}

// act carries out one action whose intent is on disk.
func (a *Agent) act(id string, steps []policy.Step, order actions.Order, seq uint64) {
	host, action := a.cfg.Host, steps[0].Action
	a.enqueueAct(func(ctx context.Context) func(context.Context) {
		ctx, cancel := context.WithTimeout(ctx, actDeadline)
		defer cancel()
		platform.FaultPoint(action.Name + ": before do")
		result, err := action.Do(ctx, host, order)
		platform.FaultPoint(action.Name + ": after do")
		if err == nil {
			var effect actions.Effect
			if effect, err = action.Verify(ctx, host, order); err == nil && !effect.InForce {
				err = errors.New(effect.Detail)
			}
		}
		return func(context.Context) { a.acted(id, steps, seq, result, err) }
	})
}

// acted records what became of an action.
func (a *Agent) acted(id string, steps []policy.Step, seq uint64, result actions.Result, err error) {
	t, step := a.find(id), steps[0]
	platform.FaultPoint(step.Action.Name + ": before result")
	undoable := len(a.intents[seq].Inverse) > 0 && !a.intents[seq].Final
	a.finish(seq)
	if t == nil {
		delete(a.busy, id)
		return
	}
	if err != nil {
		a.setAct(t, seq, resultOf(err), err.Error(), undoable)
		a.failed(t, step, err)
		return
	}
	did := strings.Join(result.Done, "; ")
	if did == "" {
		did = "nothing was left to do"
	}
	a.setAct(t, seq, "done", did, undoable)
	a.note("result", id, step.Action.Name, "done: "+did)
	if result.Waits == "person" {
		_ = t.Wait(threat.ForPerson)
		a.withFlags(func(context.Context, *platform.Host) error { return nil })
		delete(a.busy, id)
		a.touch(t)
		return
	}
	if rest := steps[1:]; len(rest) > 0 && rest[0].Wait == "" {
		a.carryOut(t, rest)
		return
	}
	_ = t.Move(threat.Remediated)
	a.touch(t)
	delete(a.busy, id)
	a.validate(id, "at once")
}

func resultOf(err error) string {
	if errors.Is(err, actions.ErrCannot) {
		return "cannot"
	}
	return "failed"
}

// finish closes an intent with the next record.
func (a *Agent) finish(seq uint64) {
	i, ok := a.intents[seq]
	if !ok {
		return
	}
	i.Open = false
	a.intents[seq] = i
	if i.Kind == kindUndo || len(i.Inverse) == 0 {
		delete(a.intents, seq)
	}
	a.batch.Finished = append(a.batch.Finished, seq)
}

func (a *Agent) setAct(t *threat.Threat, seq uint64, result, detail string, undoable bool) {
	t.Actions = slices.Clone(t.Actions)
	for i := range t.Actions {
		if act := &t.Actions[i]; act.Seq == seq {
			act.Result, act.Detail, act.Undoable = result, detail, undoable
		}
	}
	a.touch(t)
}

// failed leaves a threat whose remediation did not work to be tried again, or
// to a person.
func (a *Agent) failed(t *threat.Threat, step policy.Step, err error) {
	delete(a.busy, t.ID)
	result := resultOf(err)
	a.couldNot(t, step, result, err.Error())
	t.Attempts++
	a.note("result", t.ID, step.Action.Name, fmt.Sprintf("%s, attempt %d: %v", result, t.Attempts, err))
	a.touch(t)
	if result == "cannot" || t.Attempts >= threat.MaxAttempts {
		_ = t.Wait(threat.ForPerson)
		a.note("stage", t.ID, step.Action.Name, "waits for a person: "+step.Action.Name+" does not work here")
		return
	}
	a.retry[t.ID] = a.cfg.Now().Add(retryAfter << t.Attempts)
}

// couldNot adds to a threat an act that did not work, and why, once.
func (a *Agent) couldNot(t *threat.Threat, step policy.Step, result, why string) {
	if slices.ContainsFunc(t.Actions, func(x threat.Act) bool { return x.Detail == why && x.Result == result }) {
		return
	}
	t.Did(threat.Act{
		Name: step.Action.Name, Kind: string(step.Action.Kind), At: a.cfg.Now(), By: by(t), Result: result, Detail: why,
	})
}

// orderFor returns the order for an action on t. Restrictions are those in
// force: an action that changes them is derived, never ordered.
func (a *Agent) orderFor(t threat.Threat) actions.Order {
	snap := a.snapshot
	return actions.Order{
		Threat: t.ID, Subject: t.Subject, Terms: a.termsFor(t), Now: a.cfg.Now(),
		Restrictions: a.state.Restrictions, Snapshot: &snap,
	}
}
