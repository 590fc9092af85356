package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

// Owner tells of an open port who holds it now, and who can reach it; nothing of
// other threats. It looks at the host.
func (a *Agent) Owner(ctx context.Context, t threat.Threat) []string {
	if t.Subject.Port == nil {
		return nil
	}
	return OwnerLines(ctx, a.cfg.Host, *t.Subject.Port)
}

// maxParents bounds the chain of who started whom.
const maxParents = 8

// OwnerLines tells of an open port who holds it and what starts that, who can
// reach it and through what: one sentence each. What cannot be read is left out.
func OwnerLines(ctx context.Context, h *platform.Host, p platform.PortSubject) []string {
	var lines []string
	if chain := parents(ctx, h.Processes, p); len(chain) > 0 {
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
		line := fmt.Sprintf("%s: %s", l.Address, audience[l.Reach])
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

// audience says who can reach a port.
var audience = map[platform.Reach]string{
	platform.ReachLoopback: "only this computer can reach it",
	platform.ReachLAN:      "the networks that this computer is on can reach it",
	platform.ReachAny:      "any network can reach it",
}

// parents names the process that holds a port and those that started it, up to the
// first of all; nobody if another process has its pid by now.
func parents(ctx context.Context, processes platform.Processes, port platform.PortSubject) []string {
	var chain []string
	pid := port.PID
	for range maxParents {
		p, err := processes.Inspect(ctx, pid)
		if pid == 0 || err != nil || len(chain) == 0 && !holds(port, p) {
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

// holds tells whether a process is the one that was seen to hold the port.
func holds(port platform.PortSubject, p platform.Process) bool {
	return slices.ContainsFunc(port.Sockets, func(l platform.Listener) bool {
		return l.Owner.PID == p.PID && l.Owner.Start == p.Start
	})
}
