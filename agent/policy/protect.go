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
