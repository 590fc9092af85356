package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

func newStatus(e *env) *cobra.Command {
	floor := severityFlag(configs.High)
	c := &cobra.Command{
		Use:   "status",
		Short: "Is this computer all right? One screen, plain words",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := e.agent().Status(c.Context())
			if err != nil {
				return err
			}
			if err := e.show(s, func(p *page) { statusScreen(p, s, e.now()) }); err != nil {
				return err
			}
			return statusExit(s, configs.Severity(floor))
		},
	}
	failOn(c, &floor)
	return c
}

func statusExit(s localapi.Status, floor configs.Severity) error {
	switch {
	case openAt(s.Open, floor) > 0:
		return exit(exitOpen)
	case s.State == agent.StateUnsure:
		return exit(exitCouldNotLook)
	}
	return nil
}

// statusScreen answers "is this computer all right?".
func statusScreen(p *page, s localapi.Status, now time.Time) {
	var open []localapi.Threat
	for _, t := range s.Threats {
		if t.Stage != threat.Excepted {
			open = append(open, t)
		}
	}
	p.fit(min(len(open), 5), func(p *page, shown int) {
		statusVerdict(p, s, open, now)
		for _, t := range open[:shown] {
			threatLines(p, t, s.Mode)
		}
		if rest := open[shown:]; len(rest) > 0 {
			p.text(fmt.Sprintf("and %d more: %s. All: firebreak threats", len(rest), tally(rest)))
		}
		statusRows(p, s, now)
		p.row("Next", cmp.Or(text(s.Next), "nothing"), 2)
	})
}

func statusVerdict(p *page, s localapi.Status, open []localapi.Threat, now time.Time) {
	aside := where(s.Host, now)
	switch {
	case s.Isolation != nil:
		isolationRows(p, *s.Isolation, aside, now)
	case len(open) > 0:
		p.verdict(bad, "NEEDS ATTENTION: "+count(len(open), "open threat"), aside)
	case s.State == agent.StateUnsure:
		p.verdict(doubt, "NOT SURE: Firebreak cannot see or do everything", aside)
		p.row("Threats", "none known", 1)
	case len(s.Gaps) > 0:
		p.verdict(good, "No open threats. Not everything could be read, "+ago(s.LastLook, now)+".", aside)
	default:
		p.verdict(good, "No open threats. Everything could be read, "+ago(s.LastLook, now)+".", aside)
	}
}

// isolationRows say how the computer is cut off: ISOLATED only if that is not
// known to be wrong.
func isolationRows(p *page, i localapi.Isolation, aside string, now time.Time) {
	since := "since " + clock(i.Since, now) + " by " + cmp.Or(text(i.By), "a person")
	failed := false
	switch {
	case i.State != nil && *i.State == agent.IsolationFailed:
		failed = true
		p.verdict(bad, "NOT ISOLATED AS IT SHOULD BE, "+since, aside)
	case i.State != nil && *i.State == agent.IsolationDegraded:
		p.verdict(bad, "ISOLATED "+since+", with gaps", aside)
	case i.Proved:
		p.verdict(bad, "ISOLATED "+since+", proved", aside)
	default:
		p.verdict(bad, "ISOLATED "+since+", NOT PROVED", aside)
	}
	isolationReasons(p, i)
	if i.Threat == nil && i.Reason != nil {
		p.row("Reason", *i.Reason, 2)
	}
	keep := cmp.Or(strings.Join(i.Keep, ", "), "nobody")
	if failed {
		p.row("Works", "not known; policy keeps: "+keep, 2)
	} else {
		p.row("Works", "web, mail and file shares do not; still reachable: "+keep, 2)
	}
	if cut := cutLine(i); cut != "" {
		p.row("Cut", cut, 2)
	}
	if ends := endsLine(i, now); ends != "" {
		p.row("Ends", ends, 2)
	}
	p.row("Release", "type: sudo firebreak release (--force if no agent is running)", 1)
}

// isolationReasons are what is wrong with an isolation, or not proved yet.
func isolationReasons(p *page, i localapi.Isolation) {
	label := "Gap"
	switch {
	case i.State == nil && !i.Proved && i.Detail != nil:
		p.row("Proof", *i.Detail, 2)
	case i.State != nil && *i.State == agent.IsolationFailed:
		label = "Why"
	}
	for n, reason := range i.Reasons {
		if n == 2 {
			p.row("", fmt.Sprintf("and %d more: firebreak doctor", len(i.Reasons)-2), 1)
			return
		}
		p.row(label, reason, 3)
		label = ""
	}
}

// cutLine is what the cut did; "" if nothing is known of it.
func cutLine(i localapi.Isolation) string {
	var parts []string
	if i.Ended > 0 {
		parts = append(parts, count(i.Ended, "connection")+" ended")
	}
	if len(i.Told) > 0 {
		parts = append(parts, "told before: "+strings.Join(i.Told, ", "))
	}
	return strings.Join(parts, "; ")
}

// endsLine is what ends the isolation: the threat's end, the time, and the
// kernel if the agent stops.
func endsLine(i localapi.Isolation, now time.Time) string {
	var ends []string
	switch {
	case i.Threat != nil && i.Until != nil:
		ends = append(ends, fmt.Sprintf("when %s is proved gone; at %s EVEN IF NOT", *i.Threat, clock(i.Until, now)))
	case i.Until != nil:
		ends = append(ends, "by itself at "+clock(i.Until, now))
	case i.Threat != nil:
		ends = append(ends, "when "+*i.Threat+" is proved gone")
	}
	switch {
	case i.Closed:
		ends = append(ends, "stays shut if the agent stops")
	case i.LeaseSeconds > 0:
		ends = append(ends, configs.Duration(time.Duration(i.LeaseSeconds)*time.Second).String()+" after the agent stops")
	}
	return strings.Join(ends, "; ")
}

// threatLines is one threat: what, what is done and what is not, who is next.
func threatLines(p *page, t localapi.Threat, mode configs.Mode) {
	p.indented("", t.ID+" "+string(t.Severity), len(t.ID)+10, headline(t), 2)
	p.indented("  ", "now", 6, nowOf(t, mode), 2)
	p.indented("  ", "next", 6, cmp.Or(text(t.Next), "firebreak explain "+t.ID), 2)
}

// statusRows is what a helpdesk asks next, each only if there is something to
// tell.
func statusRows(p *page, s localapi.Status, now time.Time) {
	if s.Isolation == nil {
		p.row("Network", network(s), 2)
	}
	if s.Paused != nil {
		p.row("Paused", "blocks are lifted until "+clock(s.Paused.Until, now)+by(s.Paused.By), 1)
	}
	var whole, partly []localapi.Gap
	for _, g := range s.Gaps {
		if g.Partial {
			partly = append(partly, g)
		} else {
			whole = append(whole, g)
		}
	}
	gapRows(p, "UNKNOWN", whole)
	gapRows(p, "Not seen", partly)
	for i, trouble := range s.Troubles {
		if i == 2 {
			p.row("", fmt.Sprintf("and %d more: firebreak doctor", len(s.Troubles)-2), 1)
			break
		}
		p.row("Agent", trouble, 2)
	}
	p.row("Policy", policyLine(s.Policy), 3)
	if excepted := len(s.Threats) - openStage(s.Threats); excepted > 0 {
		p.row("Left", count(excepted, "threat")+" left open by decision: firebreak threats", 1)
	}
	if s.Redacted {
		p.row("Details", "are hidden from you: sudo firebreak status, or join "+localapi.HelpdeskGroup, 1)
	}
}

// gapRows are what could not be read; two of them, and how many more.
func gapRows(p *page, label string, gaps []localapi.Gap) {
	for i, g := range gaps {
		if i == 2 {
			p.row("", fmt.Sprintf("and %d more: firebreak doctor", len(gaps)-2), 1)
			return
		}
		p.row(label, cmp.Or(text(g.Reason), string(g.Part)), 2)
	}
}

func openStage(threats []localapi.Threat) int {
	n := 0
	for _, t := range threats {
		if t.Stage != threat.Excepted {
			n++
		}
	}
	return n
}

func network(s localapi.Status) string {
	state := "normal"
	switch {
	case s.Restricted == nil:
	case *s.Restricted == "both":
		state = "restricted: it reaches nobody, and nobody reaches it, but those whom policy keeps"
	default:
		state = "restricted: nobody can connect to it but those whom policy keeps"
	}
	if len(s.Blocked) == 0 {
		return state
	}
	rules := make([]platform.PortRule, 0, len(s.Blocked))
	for _, b := range s.Blocked {
		rules = append(rules, platform.PortRule(b))
	}
	return state + ", but nobody gets in at " + platform.PortList(rules)
}

func policyLine(policy localapi.Policy) string {
	line := cmp.Or(text(policy.Version), "none") + ", " + cmp.Or(plainMode[string(policy.Mode)], "nothing is done")
	if !policy.Valid {
		return "new file REFUSED: " + cmp.Or(text(policy.Error), "it is not valid") + "; " + line + " stays in force"
	}
	return line
}

func by(who *string) string {
	if who == nil {
		return ""
	}
	return " (by " + *who + ")"
}
