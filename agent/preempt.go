package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/agent/policy"
	"github.com/firebreak-sec/firebreak/platform"
)

// denyDeadline bounds one change of what programs may open.
const denyDeadline = 10 * time.Second

const troubleBinds = "binds"

// preempting is what the agent knows of the ports that no program may open.
type preempting struct {
	denying    bool                // a change is under way
	wanted     []platform.BindRule // when it last began
	at         time.Time           // the look after which it last began
	once       bool                // it was brought about in this run
	undeniable []platform.PortRule // could not be denied: they are blocked instead
	refused    refusals
}

// preempt brings the ports that no program may open in line with policy, and
// compares them with what is in force after each look. Before the first look
// nothing is let go: the journal may have lost what it was for.
func (a *Agent) preempt(now time.Time) {
	for _, text := range a.binds.refused.overdue(now) {
		a.note("refused", "", "", text)
	}
	facts := a.facts(now)
	facts.Undeniable = nil // tried again
	_, want := policy.Preempt(a.policy, a.threats, facts)
	same := platform.EqualBinds(want, a.binds.wanted)
	switch {
	case a.binds.denying,
		a.lastLook.IsZero() && len(want) == 0,
		a.binds.once && same && a.binds.at.Equal(a.lastLook),
		a.binds.once && len(want)+len(a.state.Denied)+len(a.binds.undeniable) == 0 && same:
		return
	}
	a.binds.denying, a.binds.wanted, a.binds.at = true, want, a.lastLook
	host := a.cfg.Host
	a.enqueueIsolate(func(ctx context.Context) func(context.Context) {
		ctx, cancel := context.WithTimeout(ctx, denyDeadline)
		defer cancel()
		d := deny(ctx, host.Binds, want)
		return func(context.Context) { a.denied(d) }
	})
}

// denial is what became of a change.
type denial struct {
	found      []platform.BindRule // before it
	foundErr   error
	have       []platform.BindRule // after it
	undeniable []platform.PortRule
	err        error
}

// deny puts rules in force. What cannot be said in the kernel is left out; if it
// will have none of them, all are.
func deny(ctx context.Context, b platform.Binds, want []platform.BindRule) denial {
	var d denial
	d.found, d.foundErr = b.Denied(ctx)
	rules := slices.Clone(want)
	var why []error
	for {
		err := b.Deny(ctx, rules)
		var one *platform.BindError
		if errors.As(err, &one) {
			n := len(rules)
			rules = slices.DeleteFunc(rules, func(r platform.BindRule) bool { return r.PortRule == one.Rule.PortRule })
			if len(rules) < n {
				d.undeniable = append(d.undeniable, one.Rule.PortRule)
				why = append(why, err)
				continue
			}
		}
		if err != nil {
			why = append(why, err)
			for _, r := range rules {
				d.undeniable = append(d.undeniable, r.PortRule)
			}
		}
		break
	}
	d.err = errors.Join(why...)
	var err error
	if d.have, err = b.Denied(ctx); err != nil {
		d.err = errors.Join(d.err, err)
	}
	return d
}

// denied takes up what became of a change.
func (a *Agent) denied(d denial) {
	a.binds.denying = false
	altered := d.foundErr != nil || !platform.EqualBinds(d.found, a.state.Denied)
	if a.binds.once && altered && len(a.state.Denied) > 0 {
		text := "somebody changed what keeps programs from opening " + platform.PortList(bindPorts(a.state.Denied)) + "; it is put back"
		if d.foundErr != nil {
			text += " (" + d.foundErr.Error() + ")"
		}
		a.note("agent", "", "", text)
	}
	a.binds.once, a.binds.undeniable = true, d.undeniable
	switch {
	case len(d.undeniable) > 0:
		a.trouble(troubleBinds, fmt.Errorf("programs cannot be kept from opening %s, so it is blocked at the firewall instead: %w",
			platform.PortList(d.undeniable), d.err))
	case d.err != nil:
		a.trouble(troubleBinds, fmt.Errorf("what programs may open cannot be changed or read: %w", d.err))
	default:
		a.trouble(troubleBinds, nil)
	}
	if platform.EqualBinds(d.have, a.state.Denied) {
		return
	}
	if text := deniedChange(a.state.Denied, d.have); text != "" {
		a.note("result", "", "", text)
	}
	a.state.Denied = d.have
	a.keepState()
}

func bindPorts(rules []platform.BindRule) []platform.PortRule {
	var out []platform.PortRule
	for _, r := range rules {
		out = append(out, r.PortRule)
	}
	return out
}

// deniedChange says what no program may open any more, and what it may again.
func deniedChange(before, now []platform.BindRule) string {
	missing := func(from, in []platform.BindRule) []platform.BindRule {
		return slices.DeleteFunc(slices.Clone(from), func(r platform.BindRule) bool {
			return slices.ContainsFunc(in, func(o platform.BindRule) bool {
				return platform.EqualBinds([]platform.BindRule{r}, []platform.BindRule{o})
			})
		})
	}
	var parts []string
	if add := missing(now, before); len(add) > 0 {
		var each []string
		for _, r := range add {
			each = append(each, DescribeBind(r))
		}
		parts = append(parts, "no program may open "+strings.Join(each, "; ")+". What listened there already still does")
	}
	var gone []platform.PortRule
	for _, r := range missing(before, now) {
		if !slices.Contains(bindPorts(now), r.PortRule) {
			gone = append(gone, r.PortRule)
		}
	}
	if len(gone) > 0 {
		parts = append(parts, "programs may open "+platform.PortList(gone)+" again")
	}
	return strings.Join(parts, "; ")
}

// DescribeBind says a rule: "tcp 445 (but /usr/sbin/smbd)".
func DescribeBind(r platform.BindRule) string {
	text := platform.PortList([]platform.PortRule{r.PortRule})
	var but []string
	for _, e := range r.Except {
		var who []string
		for _, part := range []struct{ what, name string }{{"", e.Exe}, {"user ", e.User}, {"unit ", e.Unit}} {
			if part.name != "" {
				who = append(who, part.what+part.name)
			}
		}
		but = append(but, strings.Join(who, " as "))
	}
	if len(but) == 0 {
		return text
	}
	return text + " (but " + strings.Join(but, ", ") + ")"
}
