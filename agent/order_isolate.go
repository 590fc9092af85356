package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/configs"
)

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
