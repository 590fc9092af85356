package policy

import (
	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// Protect returns what no action may touch on this host.
func Protect(p configs.Policy, s platform.Snapshot) actions.Protected {
	return actions.Protected{
		Ports: detect.Protected(p, s).Guarded(p), Units: p.Protect.Units, Processes: p.Protect.Processes,
	}
}

// Allowed returns the ports that policy allows by number: who serves one of them
// as well is not closed on account of another port.
func Allowed(p configs.Policy) []platform.PortRule {
	var out []platform.PortRule
	for _, r := range p.Ports.Allow {
		for _, span := range r.Ports {
			for _, proto := range protocols(r.Protocol) {
				out = append(out, platform.PortRule{Protocol: proto, First: span.First, Last: span.Last})
			}
		}
	}
	return out
}
