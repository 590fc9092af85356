package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/configs"
)

// checkScreen says first what to do, most urgent first; then one line sums up
// the rest.
func checkScreen(p *page, c localapi.Check, o checkOptions, now time.Time) {
	todo, minor := split(c.Threats)
	draw := func(p *page, shown int) {
		checkVerdict(p, c, todo, now)
		for _, t := range todo[:shown] {
			p.indented("", t.ID+" "+string(t.Severity), len(t.ID)+10, cmp.Or(text(t.Summary), t.Detector), 2)
			p.indented("  ", "how", 6, text(t.Next), 2)
		}
		if rest := todo[shown:]; len(rest) > 0 {
			p.text(fmt.Sprintf("and %d more: %s. All: firebreak check --all", len(rest), tally(rest)))
		}
		if o.all {
			everything(p, minor, c.Allowed)
		}
		summary(p, c, minor, o)
	}
	if o.all {
		draw(p, len(todo))
		return
	}
	p.fit(min(len(todo), 6), draw)
}

// split takes apart what a person should do something about and the low ones,
// which are one line.
func split(threats []localapi.Threat) (todo, minor []localapi.Threat) {
	for _, t := range threats {
		if t.Severity == configs.Low && t.Subject.Port != nil {
			minor = append(minor, t)
		} else {
			todo = append(todo, t)
		}
	}
	return todo, minor
}

func checkVerdict(p *page, c localapi.Check, todo []localapi.Threat, now time.Time) {
	aside := where(c.Host, now)
	switch {
	case len(todo) > 0:
		p.verdict(bad, count(len(todo), "thing")+" to do on this computer", aside)
	case blind(c.Gaps):
		p.verdict(doubt, "NOT SURE: not everything could be looked at", aside)
	default:
		p.verdict(good, "Nothing to do on this computer", aside)
	}
}

func blind(gaps []localapi.Gap) bool {
	for _, g := range gaps {
		if !g.Partial {
			return true
		}
	}
	return false
}

// summary is one line each: the rest of the ports, the system, what could not
// be seen, what policy would do.
func summary(p *page, c localapi.Check, minor []localapi.Threat, o checkOptions) {
	if o.root == "" {
		p.row("Ports", portsLine(c.Ports, len(minor), o.all), 3)
	}
	for _, a := range c.Allowed {
		if a.Subject.OS != nil {
			p.row("System", text(a.Summary), 2)
		}
	}
	gapRows(p, "Not seen", c.Gaps)
	if !c.Policy.Valid {
		p.row("Policy", text(c.Policy.Source)+" is REFUSED: "+text(c.Policy.Error)+"; judged by the built-in default", 3)
	} else {
		p.row("Policy", policyLine(c.Policy)+", from "+text(c.Policy.Source), 2)
	}
	p.row("Would do", wouldDo(c), 3)
	if o.all {
		stepLines(p, c.Plan)
	} else {
		refusedSteps(p, c.Plan)
	}
	p.row("Next", checkNext(c, o), 1)
}

func portsLine(n localapi.PortCount, minor int, all bool) string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(n.Threats-minor, "above")
	add(minor, "reachable and on no list (low)")
	add(n.Usual, "reachable and usual")
	add(n.Loopback, "only from this computer")
	line := fmt.Sprintf("%d open", n.Open)
	if len(parts) > 0 {
		line += ": " + strings.Join(parts, "; ")
	}
	if all || n.Open == 0 {
		return line
	}
	return line + ". All: firebreak check --all"
}

// everything is one line for each port that is nothing to act on.
func everything(p *page, minor []localapi.Threat, allowed []localapi.Allowed) {
	for _, t := range minor {
		p.indented("", "low", labelWidth, cmp.Or(text(t.Summary), t.Detector)+" ("+text(t.Because)+")", 2)
	}
	for _, a := range allowed {
		if a.Subject.Port != nil {
			p.indented("", "ok", labelWidth, text(a.Summary)+" ("+text(a.Because)+")", 2)
		}
	}
}

// stepLines are what each step of the plan would do and cost here, what is the
// same for several threats once.
func stepLines(p *page, plan []localapi.Step) {
	told := map[string]bool{}
	for _, s := range plan {
		lines := slices.Concat(s.Steps, s.Costs)
		if s.Refused != nil {
			lines = append([]string{"REFUSED here: " + *s.Refused}, lines...)
		}
		all := s.Action + strings.Join(lines, "\n")
		switch {
		case len(lines) == 0:
		case told[all]:
			p.text(s.Threat + " " + s.Action + ", as above")
			continue
		default:
			p.text(s.Threat + " " + s.Action)
		}
		told[all] = true
		for _, line := range lines {
			p.indented("  ", "", 0, line, 0)
		}
	}
}

// refusedSteps names what policy would do and must not be done here.
func refusedSteps(p *page, plan []localapi.Step) {
	for _, s := range plan {
		if s.Refused != nil {
			p.row("Refused", s.Action+" for "+s.Threat+": "+*s.Refused, 4)
		}
	}
}

// wouldDo says what the plan is, one clause for each threat.
func wouldDo(c localapi.Check) string {
	if len(c.Threats) == 0 {
		return "nothing"
	}
	if len(c.Plan) == 0 {
		return "nothing: policy has no plan for what was found"
	}
	var order []string
	steps := map[string][]string{}
	for _, s := range c.Plan {
		if steps[s.Threat] == nil {
			order = append(order, s.Threat)
		}
		step := s.Action
		if s.WaitsFor != nil {
			step += " (waits for " + *s.WaitsFor + ")"
		}
		steps[s.Threat] = append(steps[s.Threat], step)
	}
	var clauses []string
	for _, id := range order {
		clauses = append(clauses, id+": "+strings.Join(steps[id], ", then "))
	}
	line := strings.Join(clauses, "; ")
	if c.Mode != configs.Enforce {
		return "if enforced, " + line
	}
	return line
}

func checkNext(c localapi.Check, o checkOptions) string {
	switch {
	case o.root != "":
		return "nothing more: of a folder only the operating system is judged"
	case len(c.Threats) == 0 && blind(c.Gaps):
		return "let it see everything: firebreak doctor says what stands in its way"
	case len(c.Threats) > 0:
		return "to have it watched and proved: sudo firebreak install"
	}
	return "nothing; to keep it so: sudo firebreak install"
}
