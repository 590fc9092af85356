package agent

import (
	"time"

	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/threat"
)

// firstSeen returns since when the agent knows of the updates that are missing, as
// the threats about them remember it.
func firstSeen(threats []threat.Threat) map[detect.UpdateID]time.Time {
	seen := map[detect.UpdateID]time.Time{}
	for _, t := range threats {
		if t.Subject.Updates == nil {
			continue
		}
		for _, p := range t.Subject.Updates.Packages {
			id := detect.IDOf(p)
			if first, ok := seen[id]; !ok || p.Since.Before(first) {
				seen[id] = p.Since
			}
		}
	}
	return seen
}
