package platform

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// script is a shell script that no supervisor answers for, which may run its
// program in a loop. Only ending it helps, and that cannot be undone.
type script struct{}

// shells are programs that run scripts.
var shells = []string{"sh", "dash", "bash", "zsh", "ksh", "mksh", "ash", "busybox", "fish"}

// isScript tells whether a process is a shell that runs a script or a command
// line, and not one that somebody types into.
func isScript(r relative) bool {
	exe, _ := r.exe()
	if !slices.Contains(shells, filepath.Base(exe)) && !(len(r.args) > 0 && slices.Contains(shells, filepath.Base(r.args[0]))) {
		return false
	}
	return len(r.args) > 1 && !strings.HasPrefix(r.args[0], "-") && slices.ContainsFunc(r.args[1:], func(a string) bool {
		return !strings.HasPrefix(a, "-") || a == "-c"
	})
}

// find returns the topmost script above the process that listens, and what it
// runs. A script of a session's own begins below the session's shell.
func (script) find(ctx context.Context, l Listener) ([]Program, error) {
	if !l.ofHost() {
		return nil, nil
	}
	line := ancestry(ProcessID{PID: l.Owner.PID, Start: l.Owner.Start})
	top := 0
	for i := 1; i < len(line) && isScript(line[i]); i++ {
		top = i
	}
	if top == 0 {
		return nil, nil
	}
	ids := family(ctx, line[top].PID)
	return []Program{{
		Kind: "script", Name: line[top].name, User: l.Owner.User,
		Title: fmt.Sprintf("script %s (process %d) of user %s", line[top].name, line[top].PID, l.Owner.User),
		State: map[string]string{stateProcesses: writeIDs(ids)}, PIDs: pidsOf(ids), Kept: true,
	}}, nil
}

func (script) inspect(_ context.Context, p Program) (Program, error) {
	p.PIDs = pidsOf(readIDs(p.State[stateProcesses]))
	if len(p.PIDs) == 0 {
		return Program{}, fmt.Errorf("find %s: %w", p.Title, ErrGone)
	}
	return p, nil
}

func (script) close(ctx context.Context, p Program) error {
	return endAll(ctx, readIDs(p.State[stateProcesses]))
}

func (script) restore(_ context.Context, p Program) error {
	if len(pidsOf(readIDs(p.State[stateProcesses]))) > 0 {
		return nil
	}
	return fmt.Errorf("%s was ended, and has to be started by hand: %w", p.Title, ErrUnsupported)
}
