package agent

import (
	"context"

	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

// rememberProgram notes which executable an exception was given to: whatever
// replaces it was not meant.
func (a *Agent) rememberProgram(t *threat.Threat) {
	port := t.Subject.Port
	if port == nil || port.PID == 0 {
		return
	}
	id, host, pid, exe := t.ID, a.cfg.Host, port.PID, port.Exe
	a.enqueueLook(func(ctx context.Context) func(context.Context) {
		facts, err := host.Files.Facts(ctx, pid, exe)
		return func(context.Context) {
			if t := a.find(id); err == nil && t != nil && t.Exception != nil {
				given := *t.Exception
				given.Exe = facts.SHA256
				t.Exception = &given
				a.touch(t)
			}
		}
	})
}

// givenPrograms returns, by key, the processes of the threats whose exception was
// given to one executable.
func (a *Agent) givenPrograms() map[string]int {
	given := map[string]int{}
	for _, t := range a.threats {
		if t.Exception != nil && t.Exception.Exe != "" && t.Subject.Port != nil {
			given[t.Key] = t.Subject.Port.PID
		}
	}
	return given
}

// newPrograms returns, by key, the hashes of the executables that run now in
// place of those processes. A process that still runs runs what it ran.
func newPrograms(ctx context.Context, h *platform.Host, given map[string]int, found []detect.Finding) map[string]string {
	hashes := map[string]string{}
	for _, f := range found {
		pid, ok := given[f.Key]
		port := f.Subject.Port
		if !ok || port == nil || port.PID == pid {
			continue
		}
		if facts, err := h.Files.Facts(ctx, port.PID, port.Exe); err == nil {
			hashes[f.Key] = facts.SHA256
		}
	}
	return hashes
}
