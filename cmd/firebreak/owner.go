package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// maxParents bounds the chain of who started whom.
const maxParents = 8

// ownerLines tells of an open port who holds it and what starts that, who can
// reach it and through what: one sentence each. What cannot be read is left out.
func ownerLines(ctx context.Context, h *platform.Host, p platform.PortSubject) []string {
	var lines []string
	if chain := parents(ctx, h.Processes, p.PID); len(chain) > 0 {
		lines = append(lines, "held by "+strings.Join(chain, ", started by "))
	}
	if p.Unit != "" {
		line := "unit " + p.Unit
		units, err := h.Services.Inspect(ctx, p.Unit)
		for _, u := range units {
			if err == nil && u.Name == p.Unit && len(u.TriggeredBy) > 0 {
				line += ", which is started by " + strings.Join(u.TriggeredBy, ", ")
			}
		}
		lines = append(lines, line)
	}
	if p.Package != "" {
		lines = append(lines, "package "+p.Package)
	}
	for _, l := range p.Sockets {
		line := fmt.Sprintf("%s: %s", l.Address, audiences[l.Reach])
		if l.Through != "" {
			line += ", through " + l.Through
		}
		if l.Forward != "" {
			line += ", passed on to " + l.Forward
		}
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// audiences says who can reach a port.
var audiences = map[platform.Reach]string{
	platform.ReachLoopback: "only this computer can reach it",
	platform.ReachLAN:      "the networks that this computer is on can reach it",
	platform.ReachAny:      "any network can reach it",
}

// parents names a process and those that started it, up to the first of all.
func parents(ctx context.Context, processes platform.Processes, pid int) []string {
	var chain []string
	for range maxParents {
		p, err := processes.Inspect(ctx, pid)
		if pid == 0 || err != nil {
			break
		}
		who := fmt.Sprintf("%s (process %d", p.Name, p.PID)
		if p.User != "" {
			who += ", user " + p.User
		}
		chain = append(chain, who+")")
		pid = p.PPID
	}
	return chain
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
