package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
)

// defaultHoldOff is how long the agent leaves alone what a person took back.
const defaultHoldOff = 4 * time.Hour

// request is an order on its way to the loop.
type request struct {
	Order
	reply chan<- result
}

type result struct {
	Reply
	err error
}

// waiter is an order that waits for its proof.
type waiter struct {
	request
	ready func() (Reply, bool)
}

// carriers is what each verb does. The function changes the agent's state and
// returns what to wait for; the turn that follows does the rest.
var carriers = map[Verb]func(*Agent, context.Context, Order) (ready func() (Reply, bool), err error){
	Isolate: (*Agent).orderIsolate,
	Release: (*Agent).orderRelease,
	Approve: (*Agent).orderApprove,
	Except:  (*Agent).orderExcept,
	Undo:    (*Agent).orderUndo,
	Recheck: (*Agent).orderRecheck,
	PauseIt: (*Agent).orderPause,
	Resume:  (*Agent).orderResume,
}

// order carries out what a person asks.
func (a *Agent) order(ctx context.Context, r request) {
	carry, ok := carriers[r.Verb]
	if !ok {
		r.reply <- result{err: refuse("%q is nothing that can be asked of the agent", r.Verb)}
		return
	}
	ready, err := carry(a, ctx, r.Order)
	if err != nil {
		r.reply <- result{err: err}
		return
	}
	if r.NoWait {
		ready = func() (Reply, bool) {
			return Reply{Text: "The order was taken; firebreak status tells how it goes."}, true
		}
	}
	a.waiters = append(a.waiters, waiter{r, ready})
}

// answerWaiters answers the orders whose proof is there.
func (a *Agent) answerWaiters() {
	a.waiters = slices.DeleteFunc(a.waiters, func(w waiter) bool {
		reply, ok := w.ready()
		if !ok {
			return false
		}
		status := a.Status()
		reply.Status = &status
		if w.Threat != "" {
			if t := a.find(strings.ToUpper(w.Threat)); t != nil {
				copyOf := *t
				reply.Threat = &copyOf
			}
		}
		if reply.refused != nil {
			w.reply <- result{err: reply.refused}
			return true
		}
		w.reply <- result{Reply: reply}
		return true
	})
}

func refuse(format string, args ...any) error {
	return &RefusedError{Reason: fmt.Sprintf(format, args...)}
}

// named returns the threat an order is about.
func (a *Agent) named(o Order) (*threat.Threat, error) {
	if t := a.find(strings.ToUpper(o.Threat)); t != nil {
		return t, nil
	}
	return nil, refuse("There is no threat %s on this computer. firebreak threats --all lists them.", o.Threat)
}

func (a *Agent) orderIsolate(ctx context.Context, o Order) (func() (Reply, bool), error) {
	length := o.For
	if longest := a.longestIsolation(); length <= 0 || length > longest {
		length = longest
	}
	if o.DryRun {
		return a.previewIsolation(o.For, length), nil
	}
	if strings.TrimSpace(o.Reason) == "" {
		return nil, refuse("Isolation needs a reason: firebreak isolate --reason \"...\"")
	}
	if o.Remote != "" && !o.CutMe && !a.kept(o.Remote) {
		return nil, &RefusedError{CutsOff: true, Reason: fmt.Sprintf("Isolation would cut off your own session from %s", o.Remote)}
	}
	now := a.cfg.Now()
	a.state.Isolation = &journal.Isolation{Reason: o.Reason, By: o.By, Since: now, For: length}
	a.state.IsolationHoldOff = nil
	a.keepState()
	a.applyAt, a.judgeAgain = 0, true
	if a.ordered == nil {
		a.ordered = &outcome{}
	}
	a.noteBy(o.By, "order", "", "isolate-host", "isolate: "+o.Reason)
	a.record(now)
	if a.state.Restrictions.Isolation != nil {
		a.proveIsolation()
	}
	return a.isolationReply(a.ordered, o.For, length), nil
}

// isolationReply returns what answers an order to isolate, once it is known what
// became of it.
func (a *Agent) isolationReply(became *outcome, asked, length time.Duration) func() (Reply, bool) {
	proofs := a.proofs
	return func() (Reply, bool) {
		in, why := a.state.Restrictions.Isolation != nil, a.troubles[troubleFirewall]
		switch {
		case became.refused != "":
			return Reply{refused: &RefusedError{Reason: "This computer must not be isolated now: " + became.refused}}, true
		case became.takenBack != "":
			return Reply{Text: "This computer is NOT isolated any more, the isolation was taken back: " + became.takenBack + "."}, true
		case !in && a.state.Isolation == nil:
			return Reply{Text: "This computer is not isolated: it was released before that was proved."}, true
		case !in && why != "":
			return Reply{Text: "This computer is NOT isolated: " + why + ". It is tried again until it works, or until: firebreak release"}, true
		case in && why != "":
			return Reply{Text: "This computer is isolated, but its firewall is not as it should be: " + why}, true
		case a.proofs == proofs || a.confirming != nil:
			return Reply{}, false
		}
		if a.ordered == became {
			a.ordered = nil
		}
		p := a.state.Isolated
		text := "This computer is isolated, " + p.Detail + "."
		if !p.Proved {
			text = "This computer is not proved to be isolated: " + p.Detail + "."
		}
		return Reply{Text: text, Done: p.Proved, Lines: a.isolationLines(asked, length)}, true
	}
}

// isolationLines say what isolation did here, and when it ends.
func (a *Agent) isolationLines(asked, length time.Duration) []string {
	lines := []string{"cut off from every network but: " + strings.Join(a.keptNames(), ", ")}
	if n := a.state.Isolated.Ended; n > 0 {
		lines = append(lines, plural(n, "connection")+" ended")
	}
	if told := a.state.Isolated.Told; len(told) > 0 {
		lines = append(lines, "told of it: "+strings.Join(told, ", "))
	}
	if why := a.troubles[troubleJournal]; why != "" {
		lines = append(lines, "it could not be written down, and would not outlive a restart: "+why)
	}
	return append(lines, endLine(asked, length))
}

func endLine(asked, length time.Duration) string {
	end := "ends by itself after " + configs.Duration(length).String()
	if asked > length {
		end += ", the longest that policy lets it last"
	}
	return end
}

// previewIsolation answers what isolation would do, and changes nothing.
func (a *Agent) previewIsolation(asked, length time.Duration) func() (Reply, bool) {
	var seen *judgement
	iso := a.terms.Isolation
	iso.Max = length
	a.judge(iso, func(j judgement) { seen = &j })
	return func() (Reply, bool) {
		if seen == nil {
			return Reply{}, false
		}
		r := Reply{Text: "Nothing was changed. This is what isolation would do:", Done: true}
		if why := seen.preview.Refused; why != "" {
			r.Text = "Nothing was changed, and nothing would be: this computer must not be isolated now: " + why + ". This is what isolation would do:"
		}
		r.Lines = slices.Concat(seen.preview.Steps, seen.preview.Costs)
		if seen.err != nil {
			r.Lines = append(r.Lines, "not everything could be seen: "+seen.err.Error())
		}
		r.Lines = append(r.Lines, endLine(asked, length))
		return r, true
	}
}

func (a *Agent) orderRelease(_ context.Context, o Order) (func() (Reply, bool), error) {
	now := a.cfg.Now()
	was := a.state.Restrictions.Isolation != nil || a.state.Isolation != nil
	if was {
		a.takeBackIsolation(o.By, "released by "+o.By)
		a.noteBy(o.By, "order", "", "isolate-host", "release")
	}
	a.ordered, a.applyAt = nil, 0
	a.applied = a.applied && !o.Force
	return func() (Reply, bool) {
		if why := a.troubles[troubleFirewall]; why != "" || a.state.Restrictions.Isolation != nil {
			return Reply{Text: "The network of this computer could not be released: " + why}, true
		}
		if !was {
			return Reply{Text: "This computer is not isolated; nothing had to be released.", Done: true}, true
		}
		return Reply{Text: "The network of this computer is normal again. Firebreak will not isolate it by itself before " +
			now.Add(defaultHoldOff).Local().Format("15:04") + ", unless a new threat is found.", Done: true}, true
	}, nil
}

func (a *Agent) orderApprove(_ context.Context, o Order) (func() (Reply, bool), error) {
	t, err := a.named(o)
	if err != nil {
		return nil, err
	}
	if t.Stage != threat.Waiting || (t.WaitingFor != threat.ForApproval && t.WaitingFor != threat.ForLimit && t.WaitingFor != threat.ForPerson) {
		return nil, refuse("%s does not wait for anybody's approval; it is %s.", t.ID, t.Stage)
	}
	t.Approved = o.By
	t.Attempts = 0
	_ = t.Move(threat.Identified)
	delete(a.retry, t.ID)
	delete(a.refusedFor, t.ID)
	a.judgeAgain = true
	a.noteBy(o.By, "order", t.ID, "", "approved")
	a.touch(t)
	return a.settled(t.ID), nil
}

func (a *Agent) orderExcept(ctx context.Context, o Order) (func() (Reply, bool), error) {
	t, err := a.named(o)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.TrimSpace(o.Reason) == "":
		return nil, refuse("An exception needs a reason: firebreak except %s --reason \"...\" --until DATE", t.ID)
	case !o.Until.After(a.cfg.Now()):
		return nil, refuse("An exception needs an end date in the future: --until 2027-03-31")
	case a.busy[t.ID]:
		return nil, refuse("%s is being worked on. Try again in a moment.", t.ID)
	case t.Stage == threat.Resolved:
		return nil, refuse("%s is resolved; there is nothing to leave open.", t.ID)
	}
	a.leaveOpen(t, threat.Exception{Owner: o.By, Reason: o.Reason, Until: o.Until})
	a.noteBy(o.By, "order", t.ID, "", fmt.Sprintf("left open until %s: %s", threat.LastDay(o.Until), o.Reason))
	id := t.ID
	return func() (Reply, bool) {
		return Reply{Text: fmt.Sprintf("%s is left open until %s. Firebreak does nothing about it until then.", id, threat.LastDay(o.Until)), Done: true}, true
	}, nil
}

// leaveOpen makes an exception of t.
func (a *Agent) leaveOpen(t *threat.Threat, e threat.Exception) {
	if t.Stage == threat.Remediated || t.Stage == threat.Resolved {
		_ = t.Reopen()
	}
	if t.Move(threat.Excepted) == nil {
		t.Exception = &e
		a.rememberProgram(t)
		t.Looks = nil
		t.Approved = ""
		t.Attempts = 0
	}
	a.touch(t)
}

// orderUndo puts back everything that was done for a threat, newest first.
func (a *Agent) orderUndo(_ context.Context, o Order) (func() (Reply, bool), error) {
	t, err := a.named(o)
	if err != nil {
		return nil, err
	}
	if a.busy[t.ID] {
		return nil, refuse("%s is being worked on. Try again in a moment.", t.ID)
	}
	until := o.Until
	if until.IsZero() {
		until = a.cfg.Now().Add(defaultHoldOff)
	}
	reason := o.Reason
	if reason == "" {
		reason = "undone by " + o.By
	}
	undo := a.undoable(t.ID)
	if len(undo) == 0 && len(t.InForce) == 0 {
		return nil, refuse("Nothing that was done for %s can be undone.", t.ID)
	}
	id := t.ID
	a.noteBy(o.By, "order", id, "", "undo")
	lines := a.undoAll(id, undo, o.By, until)
	if lines.err != nil {
		return nil, refuse("Nothing was undone: %v", lines.err)
	}
	a.leaveOpen(t, threat.Exception{Owner: o.By, Reason: reason, Until: until})
	return func() (Reply, bool) {
		if a.busy[id] {
			return Reply{}, false
		}
		if lines.err != nil {
			return Reply{Text: fmt.Sprintf("Not everything that was done for %s could be undone. %s", id, byHand(lines.err)), Lines: lines.done}, true
		}
		return Reply{Text: fmt.Sprintf("Everything that was done for %s is undone. It is left open until %s.", id, until.Local().Format("2 January 2006 15:04")), Lines: lines.done, Done: true}, true
	}, nil
}

// byHand says what a person has to do where the agent could not undo.
func byHand(err error) string {
	text := err.Error()
	if errors.Is(err, actions.ErrNotUndoable) {
		text = strings.ReplaceAll(text, ": "+actions.ErrNotUndoable.Error(), "")
	}
	text = strings.TrimPrefix(text, "undo: ")
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

func (a *Agent) orderRecheck(_ context.Context, o Order) (func() (Reply, bool), error) {
	var ids []string
	if o.Threat != "" {
		t, err := a.named(o)
		if err != nil {
			return nil, err
		}
		ids = []string{t.ID}
	} else {
		for _, t := range a.threats {
			if t.Stage != threat.Resolved {
				ids = append(ids, t.ID)
			}
		}
	}
	a.noteBy(o.By, "order", o.Threat, "", "look again")
	a.applied = false
	asked := a.cfg.Now()
	a.look("asked by a person")
	for _, id := range ids {
		a.validate(id, "asked by a person")
	}
	if a.state.Restrictions.Isolation != nil {
		a.proveIsolation()
	}
	return func() (Reply, bool) {
		if a.looking || a.lastLook.Before(asked) || slices.ContainsFunc(ids, func(id string) bool { return a.busy[id] }) {
			return Reply{}, false
		}
		return a.recheckReply(ids), true
	}, nil
}

func (a *Agent) recheckReply(ids []string) Reply {
	if why := a.troubles[troubleLook]; why != "" {
		return Reply{Text: "This computer could not be looked at: " + why}
	}
	r := Reply{Text: "Looked again.", Done: true}
	for _, name := range slices.Sorted(maps.Keys(a.blind)) {
		r.Text, r.Done = "Not everything could be looked at.", false
		r.Lines = append(r.Lines, name+": "+a.blind[name])
	}
	for _, id := range ids {
		if t := a.find(id); t != nil {
			verdict := t.Verdict
			if verdict == "" {
				verdict = detect.Unknown
			}
			r.Lines = append(r.Lines, fmt.Sprintf("%s %s: %s", id, verdict, t.Summary))
		}
	}
	return r
}

func (a *Agent) orderPause(_ context.Context, o Order) (func() (Reply, bool), error) {
	if o.For <= 0 || o.For > 24*time.Hour {
		return nil, refuse("A pause lasts at most 24 hours: firebreak pause --for 1h")
	}
	until := a.cfg.Now().Add(o.For)
	a.state.Pause = &journal.Pause{By: o.By, Until: until}
	a.keepState()
	a.noteBy(o.By, "order", "", "", "pause until "+until.Local().Format("15:04")+": blocks are lifted, isolation is not")
	return func() (Reply, bool) {
		if why := a.troubles[troubleFirewall]; why != "" {
			return Reply{Text: "The blocks could not be lifted: " + why}, true
		}
		return Reply{Text: "Blocks are lifted until " + until.Local().Format("15:04") + ". Isolation is not. firebreak resume ends the pause.", Done: true}, true
	}, nil
}

func (a *Agent) orderResume(_ context.Context, o Order) (func() (Reply, bool), error) {
	if a.state.Pause == nil {
		return func() (Reply, bool) { return Reply{Text: "Firebreak was not paused.", Done: true}, true }, nil
	}
	a.state.Pause = nil
	a.keepState()
	a.noteBy(o.By, "order", "", "", "resume")
	return func() (Reply, bool) {
		if why := a.troubles[troubleFirewall]; why != "" {
			return Reply{Text: "The pause is over, but the blocks could not be put back: " + why}, true
		}
		return Reply{Text: "The pause is over; blocks are in force again.", Done: true}, true
	}, nil
}

// settled waits until the agent is done with a threat for now.
func (a *Agent) settled(id string) func() (Reply, bool) {
	return func() (Reply, bool) {
		t := a.find(id)
		if t == nil || a.busy[id] {
			return Reply{}, t == nil
		}
		if t.Stage == threat.Resolved {
			return Reply{Text: id + " is resolved: " + resolvedBy(*t) + ".", Done: true}, true
		}
		return Reply{Text: fmt.Sprintf("%s is %s: %s.", id, t.Stage, t.Summary)}, true
	}
}
