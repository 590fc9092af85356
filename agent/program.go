package agent

import (
	"context"
	"fmt"
	"slices"

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
	id, host, subject := t.ID, a.cfg.Host, *port
	a.enqueueLook(func(ctx context.Context) func(context.Context) {
		hash, err := hashProgram(ctx, host, subject)
		return func(context.Context) {
			if t := a.find(id); err == nil && t != nil && t.Exception != nil {
				given := *t.Exception
				given.Exe = hash
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
		if hash, err := hashProgram(ctx, h, *port); err == nil {
			hashes[f.Key] = hash
		}
	}
	return hashes
}

// hashProgram hashes the executable of the process that holds, or held, a port. Of
// one that ended the file is hashed: by now its pid may be that of another program.
func hashProgram(ctx context.Context, h *platform.Host, port platform.PortSubject) (string, error) {
	if runs(ctx, h, port) {
		facts, err := h.Files.Facts(ctx, port.PID, port.Exe)
		if err == nil && runs(ctx, h, port) {
			return facts.SHA256, nil
		}
	}
	if port.Container != "" || port.NetNS != "" {
		return "", fmt.Errorf("hash %s: it may be another file there than here: %w", port.Exe, platform.ErrGone)
	}
	facts, err := h.Files.Facts(ctx, 0, port.Exe)
	return facts.SHA256, err
}

// runs tells whether the process that a port was found with is the one that has
// its pid now.
func runs(ctx context.Context, h *platform.Host, port platform.PortSubject) bool {
	now, err := h.Processes.Inspect(ctx, port.PID)
	return err == nil && slices.ContainsFunc(port.Sockets, func(l platform.Listener) bool {
		return l.Owner.PID == now.PID && l.Owner.Start == now.Start
	})
}
