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
func (a *Agent) undoAll(id string, acts []journal.Intent, by string, until time.Time) *undone {
	u := &undone{}
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
			if results[n] = undoOne(ctx, host, i, orders[n]); results[n] == nil {
				u.done = append(u.done, "undone: "+strings.Join(i.Steps, "; "))
			}
		}
		u.err = errors.Join(results...)
		return func(context.Context) { a.tookBack(id, begun, results) }
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

func (a *Agent) tookBack(id string, begun []journal.Intent, results []error) {
	delete(a.busy, id)
	t := a.find(id)
	for n, i := range begun {
		a.finish(i.Seq)
		if err := results[n]; err != nil {
			a.noteBy(i.By, "result", id, i.Action, "undo did not work: "+err.Error())
			continue
		}
		a.markUndone(i.Of)
		a.markUndone(i.Seq)
		if t != nil {
			a.setAct(t, i.Of, "undone", "undone by "+i.By, false)
		}
		a.noteBy(i.By, "result", id, i.Action, "undone: "+strings.Join(i.Steps, "; "))
	}
	a.look("something was undone")
}

func (a *Agent) markUndone(seq uint64) {
	delete(a.intents, seq)
	a.batch.Undone = append(a.batch.Undone, seq)
}
