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
	lines := a.undoAll(id, undo, o.By, until, o.Keep)
	if lines.err != nil {
		return nil, refuse("Nothing was undone: %v", lines.err)
	}
	a.leaveOpen(t, threat.Exception{Owner: o.By, Reason: reason, Until: until})
	return func() (Reply, bool) {
		if a.busy[id] {
			return Reply{}, false
		}
		if lines.err != nil {
			return Reply{
				Text:  fmt.Sprintf("Not everything that was done for %s could be undone. %s", id, byHand(lines.err)),
				Lines: lines.done, Changed: changedOnly(lines.err),
			}, true
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
