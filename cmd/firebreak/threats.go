package main

import (
	"cmp"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/agent/threat"
)

func newThreats(e *env) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "threats",
		Short: "The list of threats, worst first; --all with those that are gone",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := e.agent().Threats(c.Context(), all)
			if err != nil {
				return err
			}
			return e.show(list, func(p *page) { threatsScreen(p, list, all, e.now()) })
		},
	}
	c.Flags().BoolVar(&all, "all", false, "also those that are proved gone")
	return c
}

// threatsScreen is one line for each threat, cut to the width of a terminal.
func threatsScreen(p *page, list localapi.Threats, all bool, now time.Time) {
	if len(list.Threats) == 0 {
		p.text("No open threats." + map[bool]string{false: " Those that are gone: firebreak threats --all"}[all])
		return
	}
	p.lines = append(p.lines, fmt.Sprintf("%-7s%-10s%-24s%s", "ID", "SEVERITY", "NOW", "WHAT"))
	for _, t := range list.Threats {
		lead := fmt.Sprintf("%-7s%-10s%-24s", t.ID, t.Severity, shortly(t, now))
		p.lines = append(p.lines, clip(clean(lead+headline(t)), screenWidth))
	}
	p.text("One of them in full: firebreak explain " + list.Threats[0].ID)
}

// headline says what a threat is, and first that it does not stay.
func headline(t localapi.Threat) string {
	summary := cmp.Or(text(t.Summary), t.Detector)
	if t.Flaps >= threat.Restless && t.Stage != threat.Resolved {
		return "comes and goes: " + summary
	}
	return summary
}

// shortly is the stage of a threat in a few words.
func shortly(t localapi.Threat, now time.Time) string {
	switch t.Stage {
	case threat.Resolved:
		return "gone since " + clock(t.ResolvedAt, now)
	case threat.Remediated:
		return "fixed, not yet proved"
	case threat.Excepted:
		return "left open by decision"
	case threat.Waiting:
		if t.WaitingFor != nil {
			return shortWaits[*t.WaitingFor]
		}
	}
	return lessened(t)
}

var shortWaits = map[threat.Wait]string{
	threat.ForApproval: "waits for approval",
	threat.ForPerson:   "waits for a person",
	threat.ForReboot:   "waits for a restart",
	threat.ForWindow:   "waits for its time",
	threat.ForLimit:    "waits: hourly limit",
}
