package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/agent/threat"
)

func newExplain(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "explain ID",
		Short:             "One threat: what, why, what was done and proved, what to do now",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: threatID(e),
		RunE: func(c *cobra.Command, args []string) error {
			one, err := e.agent().Threat(c.Context(), args[0])
			if err != nil {
				return err
			}
			return e.show(one, func(p *page) { explainScreen(p, one, e.now()) })
		},
	}
}

// explainScreen has six headings, always the same.
func explainScreen(p *page, one localapi.Explained, now time.Time) {
	t := one.Threat
	most := max(len(t.Actions), len(t.Proofs)+len(t.Looks), 1)
	p.fit(most, func(p *page, shown int) {
		p.verdict(verdictStyle(t), t.ID+" "+string(t.Severity)+": "+nowOf(t, "enforce"), "")
		section(p, "What", what(one, now), 3)
		section(p, "Why", why(t), 2)
		section(p, "Done", last(done(t, now), shown), 2)
		section(p, "Proved", last(proved(t, now), shown), 2)
		section(p, "Effect", effect(t), 2)
		section(p, "Next", nextSteps(t, now), 2)
	})
}

func verdictStyle(t localapi.Threat) style {
	switch {
	case t.Stage == threat.Resolved:
		return good
	case t.Stage == threat.Remediated, len(t.InForce) > 0:
		return doubt
	}
	return bad
}

// section is a heading and its paragraphs, each at most limit lines long.
func section(p *page, heading string, paragraphs []string, limit int) {
	for _, s := range paragraphs {
		p.row(heading, s, limit)
		heading = ""
	}
}

// last returns the last n of the lines, and says if there were more.
func last(lines []string, n int) []string {
	if len(lines) <= n {
		return lines
	}
	out := []string{fmt.Sprintf("(%d before that: firebreak history)", len(lines)-n)}
	return append(out, lines[len(lines)-n:]...)
}

// maxOwner is how many sentences about an owner a screen has room for.
const maxOwner = 4

// what says what the threat is: an open port by its owner as it is now, or, where
// that is not shown or gone, as it was last seen.
func what(one localapi.Explained, now time.Time) []string {
	t := one.Threat
	out := []string{cmp.Or(text(t.Summary), t.Detector)}
	out = append(out, one.Owner[:min(len(one.Owner), maxOwner)]...)
	if more := len(one.Owner) - maxOwner; more > 0 {
		out = append(out, fmt.Sprintf("(%d more of this: firebreak explain %s --json)", more, t.ID))
	}
	if p := t.Subject.Port; p != nil && len(one.Owner) == 0 {
		var parts []string
		for _, part := range []struct {
			label string
			value *string
		}{{"program", p.Exe}, {"user", p.User}, {"unit", p.Unit}, {"package", p.Package}, {"container", p.Container}} {
			if part.value != nil {
				parts = append(parts, part.label+" "+*part.value)
			}
		}
		if len(parts) > 0 {
			out = append(out, strings.Join(parts, ", "))
		}
	}
	if u := t.Subject.Updates; u != nil {
		out = append(out, updateLines(*u, t.ID, now)...)
	}
	seen := "first seen " + clock(t.FirstSeen, now) + ", last seen " + clock(t.LastSeen, now)
	if t.Recurrences > 0 {
		seen += ", came back " + count(t.Recurrences, "time")
	}
	if t.Flaps > 0 {
		seen += ", opened and closed " + count(t.Flaps, "time") + " since " + clock(t.FlapsSince, now)
	}
	return append(out, seen)
}

func why(t localapi.Threat) []string {
	out := cmp.Or(text(t.Because), "found by "+t.Detector)
	if t.Plan != nil {
		return []string{out + "; plan " + *t.Plan}
	}
	return []string{out + "; no plan answers it"}
}

// results says what became of an action.
var results = map[localapi.ActionResult]string{
	"done": "done", "failed": "FAILED", "cannot": "CANNOT BE DONE", "undone": "undone",
	"lifted": "done, and lifted since", "pending": "under way",
}

func done(t localapi.Threat, now time.Time) []string {
	var out []string
	for _, a := range t.Actions {
		line := fmt.Sprintf("%s %s (%s) %s", clock(a.At, now), a.Name, a.Kind, results[a.Result])
		if a.Detail != nil {
			line += ": " + *a.Detail
		}
		out = append(out, line+by(a.By))
	}
	if len(t.Evidence) > 0 {
		out = append(out, "evidence kept: firebreak evidence "+t.ID)
	}
	if len(out) == 0 {
		return []string{"nothing"}
	}
	return out
}

func proved(t localapi.Threat, now time.Time) []string {
	var out []string
	for _, proof := range t.Proofs {
		line := fmt.Sprintf("%s %s, by %s: %s", clock(proof.At, now), proof.Look, proof.How, proof.Verdict)
		if proof.Detail != nil {
			line += " (" + *proof.Detail + ")"
		}
		out = append(out, line)
	}
	for _, look := range t.Looks {
		if look.Due == nil {
			out = append(out, "still to come: "+look.Name)
			continue
		}
		out = append(out, "still to come: "+look.Name+", at "+clock(look.Due, now))
	}
	if len(out) == 0 {
		return []string{"nothing yet"}
	}
	return out
}

// effects says what a measure costs the user while it is in force, where the
// action itself did not say.
var effects = map[string]string{
	"block-port":   "nobody can reach this port from outside; what this computer starts itself is not hit",
	"isolate-host": "web, mail and file shares do not work until it is released",
	"close-port":   "the program or service behind the port no longer runs",
}

func effect(t localapi.Threat) []string {
	var out []string
	for _, a := range t.Actions {
		if a.Result != "done" || a.Kind == "mitigation" && !slices.Contains(t.InForce, a.Name) {
			continue
		}
		costs := a.Costs
		if len(costs) == 0 && effects[a.Name] != "" {
			costs = []string{effects[a.Name]}
		}
		for _, cost := range costs {
			if !slices.Contains(out, cost) {
				out = append(out, cost)
			}
		}
	}
	if len(out) == 0 {
		return []string{"none: nothing was taken from the user"}
	}
	return out[:min(len(out), 3)]
}

func nextSteps(t localapi.Threat, now time.Time) []string {
	out := []string{cmp.Or(text(t.Next), "nothing")}
	if slices.ContainsFunc(t.Actions, func(a localapi.Act) bool { return a.Undoable }) {
		out = append(out, "put everything back: sudo firebreak undo "+t.ID)
	}
	if e := t.Exception; e != nil {
		out = append(out, "left open"+by(e.Owner)+" until "+clock(e.Until, now)+": "+cmp.Or(text(e.Reason), "no reason shown"))
	} else if t.Stage != threat.Resolved {
		out = append(out, "leave it open: sudo firebreak except "+t.ID+" --reason WHY --until DATE")
	}
	return out
}
