package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/policy"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// preempts says which ports a policy shuts before anything listens there, if it is
// enforced, and who listens there now.
func preempts(p configs.Policy, snapshot platform.Snapshot) []string {
	p.Mode = configs.Enforce
	blocked, binds := policy.Preempt(p, nil, policy.Facts{Now: time.Now(), Host: snapshot})
	var lines []string
	for _, r := range binds {
		lines = append(lines, agent.DescribeBind(r)+": no program may open it"+listenersOn(snapshot, r.PortRule,
			" now, is not ended by that, and is judged as any other"))
	}
	for _, r := range (platform.Restrictions{Blocked: blocked}).Normal().Blocked {
		lines = append(lines, platform.PortList([]platform.PortRule{r})+": blocked at the firewall"+listenersOn(snapshot, r,
			" now, and others could not reach it any more"))
	}
	return lines
}

// listenersOn names who listens at ports for others than this computer.
func listenersOn(snapshot platform.Snapshot, r platform.PortRule, what string) string {
	var who []string
	seen := map[string]bool{}
	for _, l := range snapshot.Listeners {
		if l.NetNS != "" || l.Reach == platform.ReachLoopback || l.Protocol != r.Protocol || l.Port < r.First || r.Last < l.Port {
			continue
		}
		name := cmp.Or(l.Owner.Exe, l.Owner.Process, "a program that is not known")
		text := fmt.Sprintf("%s listens on %d", name, l.Port)
		if l.Owner.PID > 0 {
			text = fmt.Sprintf("%s (process %d) listens on %d", name, l.Owner.PID, l.Port)
		}
		if !seen[text] {
			seen[text] = true
			who = append(who, text)
		}
	}
	if len(who) == 0 {
		return ""
	}
	return "; " + strings.Join(who, ", ") + what
}

// preemptLines says by which rules a port is to be shut before anything listens
// there, and why one of them does not do so. protected is why the port is, or "".
func preemptLines(policy configs.Policy, protocol platform.Protocol, port uint16, protected string) []string {
	var lines []string
	for _, r := range policy.Ports.Deny {
		if !r.Ports.Has(port) || r.Protocol != "" && r.Protocol != string(protocol) {
			continue
		}
		line := ""
		switch r.Preempt {
		case "block":
			line = fmt.Sprintf("line %d is to shut it at the firewall before anything listens (preempt: block)", r.Line)
		case "bind":
			line = fmt.Sprintf("line %d is to keep programs from opening it (preempt: bind)", r.Line)
		default:
			continue
		}
		switch {
		case policy.Mode != configs.Enforce, policy.Plans[r.Plan].Mode == configs.Audit:
			line += "; it does not, as policy only audits"
		case protected != "" && r.Protected != "override":
			line += "; it does not, as the port is protected"
		}
		lines = append(lines, line)
	}
	return lines
}
