package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/platform"
)

// kindUndo is the kind of an intent that takes another one back.
const kindUndo = "undo"

// undone is what became of an undo; the worker fills it.
type undone struct {
	done []string
	err  error
	keep bool // what somebody changed in between stays as it is now
}

// changedOnly tells whether all that kept an undo from being done is that somebody
// changed things in between.
func changedOnly(err error) bool {
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !changedOnly(err) })
	case interface{ Unwrap() error }:
		return changedOnly(e.Unwrap())
	}
	return err == platform.ErrChanged
}

// undoable returns the intents of a threat that can still be undone, newest
// first.
func (a *Agent) undoable(id string) []journal.Intent {
	var out []journal.Intent
	for _, i := range a.intents {
		if i.Threat == id && i.Kind != kindUndo && !i.Undone && len(i.Inverse) > 0 {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(x, y journal.Intent) int { return int(y.Seq) - int(x.Seq) })
	return out
}

// undoAll takes acts back, newest first. That each is to be taken back is on
// disk before the first one is: an undo that is cut short is finished by the
// next agent. An error that is there at once means that nothing was begun.
func (a *Agent) undoAll(id string, acts []journal.Intent, by string, until time.Time, keep bool) *undone {
	u := &undone{keep: keep}
	begun := make([]journal.Intent, 0, len(acts))
	for _, i := range acts {
		i.At, i.By, i.Kind, i.Of, i.Until = a.cfg.Now(), by, kindUndo, i.Seq, until
		i.Because, i.Open = "undo", true
		seq, err := a.cfg.Journal.Begin(i)
		if err != nil {
			u.err = err
			break
		}
		a.lines++
		i.Seq = seq
		a.intents[seq] = i
		begun = append(begun, i)
	}
	if u.err != nil {
		for _, i := range begun {
			a.finish(i.Seq)
		}
		return u
	}
	a.takeBack(id, begun, u)
	return u
}

// takeBack carries out undo intents that are on disk, and records each result.
func (a *Agent) takeBack(id string, begun []journal.Intent, u *undone) {
	t := a.find(id)
	if t == nil || len(begun) == 0 {
		return
	}
	a.busy[id] = true
	host := a.cfg.Host
	orders := make([]actions.Order, len(begun))
	for n, i := range begun {
		orders[n] = a.orderFor(*t)
		orders[n].Subject, orders[n].Inverse = i.Subject, i.Inverse
	}
	a.enqueueAct(func(ctx context.Context) func(context.Context) {
		ctx, cancel := context.WithTimeout(ctx, actDeadline)
		defer cancel()
		results := make([]error, len(begun))
		for n, i := range begun {
			results[n] = undoOne(ctx, host, i, orders[n])
			switch {
			case results[n] == nil:
				u.done = append(u.done, "undone: "+strings.Join(i.Steps, "; "))
			case u.keep && changedOnly(results[n]):
				u.done = append(u.done, leftAsItIs(results[n]))
			default:
				u.err = errors.Join(u.err, results[n])
			}
		}
		return func(context.Context) { a.tookBack(id, begun, results, u.keep) }
	})
}

func undoOne(ctx context.Context, h *platform.Host, i journal.Intent, o actions.Order) error {
	action := actions.ByName(i.Action)
	if action == nil {
		return fmt.Errorf("this agent knows no action %q", i.Action)
	}
	platform.FaultPoint(i.Action + ": before undo")
	err := action.Undo(ctx, h, o)
	platform.FaultPoint(i.Action + ": after undo")
	return err
}

// leftAsItIs says what an undo left as somebody made it.
func leftAsItIs(err error) string {
	return "left as it is now: " + strings.TrimPrefix(strings.TrimPrefix(err.Error(), "undo: "), "restore ")
}

func (a *Agent) tookBack(id string, begun []journal.Intent, results []error, keep bool) {
	delete(a.busy, id)
	t := a.find(id)
	for n, i := range begun {
		a.finish(i.Seq)
		text := "undone: " + strings.Join(i.Steps, "; ")
		if err := results[n]; err != nil {
			if !keep || !changedOnly(err) {
				a.noteBy(i.By, "result", id, i.Action, "undo did not work: "+err.Error())
				continue
			}
			text = leftAsItIs(err)
		}
		a.markUndone(i.Of)
		a.markUndone(i.Seq)
		if t != nil {
			a.setAct(t, i.Of, "undone", "undone by "+i.By, false)
		}
		a.noteBy(i.By, "result", id, i.Action, text)
	}
	a.look("something was undone")
}

func (a *Agent) markUndone(seq uint64) {
	delete(a.intents, seq)
	a.batch.Undone = append(a.batch.Undone, seq)
}
