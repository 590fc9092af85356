package main

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
)

// count writes a number and its noun: "1 port", "3 ports".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// lessened says in capitals, which cannot be misread, what protects from a
// threat now.
func lessened(t localapi.Threat) string {
	switch {
	case slices.Contains(t.InForce, "isolate-host"):
		return "CUT OFF, NOT FIXED"
	case slices.Contains(t.InForce, "block-port"):
		return "BLOCKED, NOT FIXED"
	case len(t.InForce) > 0:
		return "LESSENED, NOT FIXED"
	}
	return "STILL OPEN"
}

// waits says why nothing more happens by itself.
var waits = map[threat.Wait]string{
	threat.ForApproval: "the fix waits for approval",
	threat.ForPerson:   "a person must act",
	threat.ForReboot:   "the fix works after a restart",
	threat.ForWindow:   "the fix waits for its time of day",
	threat.ForLimit:    "too much was done in one hour",
}

// nowOf says what is done about a threat now, and what is not.
func nowOf(t localapi.Threat, mode configs.Mode) string {
	state := lessened(t)
	switch t.Stage {
	case threat.Resolved:
		if n := len(t.Proofs); n > 0 && t.Proofs[n-1].How == "policy" {
			return "ALLOWED by policy now"
		}
		return "GONE, proved"
	case threat.Remediated:
		return "FIXED, NOT YET PROVED"
	case threat.Excepted:
		return "LEFT OPEN by a person's decision"
	case threat.Waiting:
		if t.WaitingFor != nil {
			if *t.WaitingFor == threat.ForApproval && len(t.InForce) == 0 {
				return state + ": nothing is done before approval"
			}
			return state + ": " + because(t, waits[*t.WaitingFor])
		}
		return state
	}
	switch {
	case t.HoldOff != nil:
		return state + ": " + cmp.Or(text(t.HoldOff.Reason), "held off for a time")
	case len(t.InForce) > 0:
		return state
	case t.Plan == nil:
		return state + ": only reported, policy has no plan for it"
	case mode != configs.Enforce:
		return state + ": policy only watches (audit)"
	}
	return state + ": being worked on"
}

// because prefers what the last action found to the general reason.
func because(t localapi.Threat, general string) string {
	if len(t.Actions) == 0 || *t.WaitingFor != threat.ForPerson {
		return general
	}
	last := t.Actions[len(t.Actions)-1]
	if last.Result == "failed" || last.Result == "cannot" {
		return cmp.Or(text(last.Detail), general)
	}
	return general
}

// tally sums up threats by severity, worst first: "2 critical, 5 low".
func tally(threats []localapi.Threat) string {
	out := ""
	for _, severity := range slices.Backward(configs.Severities) {
		n := 0
		for _, t := range threats {
			if t.Severity == severity {
				n++
			}
		}
		if n == 0 {
			continue
		}
		if out != "" {
			out += ", "
		}
		out += strconv.Itoa(n) + " " + string(severity)
	}
	return out
}

// openAt counts the threats at or above a severity.
func openAt(open map[configs.Severity]int, floor configs.Severity) int {
	n := 0
	for severity, count := range open {
		if severity.AtLeast(floor) {
			n += count
		}
	}
	return n
}
