package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/platform"
)

// maxStarters is how many scripts may have started one another.
const maxStarters = 8

// shells are programs that run scripts, and that people type into.
var shells = []string{"sh", "dash", "bash", "zsh", "ksh", "mksh", "ash", "fish"}

// interpreters are other programs that run scripts. What they run may be a
// desktop's tool in which a person starts a program twice.
var interpreters = []string{"python*", "perl*", "ruby*", "lua*", "tclsh*", "php*", "node", "nodejs"}

// carriers are programs that run one command for whoever started them.
var carriers = []string{"sudo", "doas", "timeout", "flock"}

// doors are programs through which people come in: what they start is a session.
var doors = []string{"sshd*", "login", "su", "getty", "agetty", "dropbear", "in.telnetd", "gdm*", "lightdm*", "sddm*"}

func isOneOf(patterns []string, exe string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, path.Base(exe))
		return err == nil && ok
	})
}

// mayStartAgain tells whether a process may be one that starts a program again
// and again: a script, or another process of the same program. The shell of a
// session is none, whatever it was told to run.
func mayStartAgain(p, parent platform.Process, program string) bool {
	switch {
	case p.Exe == "" || isOneOf(doors, p.Exe):
		return false
	case p.Exe == program:
		return true
	case isOneOf(interpreters, p.Exe):
		return slices.ContainsFunc(p.Args[min(1, len(p.Args)):], func(a string) bool { return a != "" && a[0] != '-' })
	}
	file, command := script(p)
	return file || command && !isOneOf(doors, parent.Exe)
}

// script tells whether a process is a shell that runs a script in a file, or a
// command line; neither if somebody types into it.
func script(p platform.Process) (file, command bool) {
	args, isShell := p.Args, isOneOf(shells, p.Exe)
	if path.Base(p.Exe) == "busybox" && len(args) > 0 {
		if path.Base(args[0]) == "busybox" {
			args = args[1:]
		}
		isShell = len(args) > 0 && isOneOf(shells, args[0])
	}
	if !isShell || len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return false, false
	}
	for i := 1; i < len(args); i++ {
		switch a := args[i]; {
		case slices.Contains([]string{"--login", "--rcfile", "--init-file", "--init-command", "-C"}, a):
			return false, false
		case a == "-o" || a == "+o" || a == "-O" || a == "+O":
			i++ // its value
		case strings.HasPrefix(a, "--") || strings.HasPrefix(a, "+"):
		case strings.HasPrefix(a, "-"):
			if strings.ContainsAny(a, "is") || a == "-" {
				return false, false
			}
			command = command || strings.Contains(a, "c")
		default:
			return !command, command
		}
	}
	return false, false
}

// startersOf returns the scripts above a process, nearest first, that may start
// it again; it is known which of them does only when it was ended.
func startersOf(ctx context.Context, h *platform.Host, p platform.Process) ([]platform.Process, error) {
	var found []platform.Process
	for above, child := p, p; len(found) < maxStarters; child = above {
		var err error
		if above, err = parentOf(ctx, h, child); err != nil || above.PID == 0 {
			return found, err
		}
		parent, err := parentOf(ctx, h, above)
		switch {
		case err != nil:
			return found, err
		case isOneOf(carriers, above.Exe):
		case mayStartAgain(above, parent, p.Exe):
			found = append(found, above)
		default:
			return found, nil
		}
	}
	return found, nil
}

// parentOf returns the parent of a process; none if that is the first process,
// or is gone.
func parentOf(ctx context.Context, h *platform.Host, p platform.Process) (platform.Process, error) {
	if p.PPID <= 1 {
		return platform.Process{}, nil
	}
	parent, err := h.Processes.Inspect(ctx, p.PPID)
	if errors.Is(err, platform.ErrGone) || err == nil && parent.Start > p.Start {
		return platform.Process{}, nil
	}
	if err != nil {
		return platform.Process{}, fmt.Errorf("look at what started %s: %w", p.Name, err)
	}
	return parent, nil
}

// findStarters adds to c what may start its processes again, and moves what did
// so after an earlier close to those that are ended.
func (c *closed) findStarters(ctx context.Context, h *platform.Host, port platform.PortSubject, seen platform.Snapshot, o Order) error {
	if len(port.Sockets) == 0 || port.NetNS != "" || port.Container != "" {
		return nil
	}
	for _, p := range c.Processes {
		above, err := startersOf(ctx, h, p)
		if err != nil {
			return err
		}
		for _, s := range above {
			switch {
			case among(c.Processes, s) || among(c.Starters, s) || among(c.Respawners, s) || mustStay(s, port, seen, o.Terms):
			case slices.ContainsFunc(o.Earlier, func(e json.RawMessage) bool { return startedBefore(e, s, p) }):
				c.Respawners = append(c.Respawners, s)
			default:
				c.Starters = append(c.Starters, s)
			}
		}
	}
	return nil
}

// startedBefore tells whether an earlier close ended another process of the same
// program that the same script had started. In the tool of a person that proves
// nothing: he may have started it again himself.
func startedBefore(earlier json.RawMessage, starter, p platform.Process) bool {
	var c closed
	if json.Unmarshal(earlier, &c) != nil || isOneOf(interpreters, starter.Exe) {
		return false
	}
	return among(slices.Concat(c.Starters, c.Respawners), starter) &&
		slices.ContainsFunc(c.Processes, func(q platform.Process) bool { return q.Exe == p.Exe && q.ProcessID != p.ProcessID })
}

// mustStay tells whether a script is never ended, whatever it starts: it is
// protected, or serves another port.
func mustStay(s platform.Process, port platform.PortSubject, seen platform.Snapshot, terms Terms) bool {
	return s.ProcessID == seen.Agent || guard(terms.Protected, s.Unit) != "" && path.Ext(s.Unit) != ".scope" ||
		slices.Contains(terms.Protected.Processes, s.Exe) ||
		guardProgram(platform.Owner{Exe: s.Exe, Unit: s.Unit}) != "" ||
		slices.ContainsFunc(seen.Listeners, func(l platform.Listener) bool {
			return slices.Contains(l.Owner.PIDs, s.PID) && (l.Port != port.Port || l.Protocol != port.Protocol)
		})
}

func among(all []platform.Process, p platform.Process) bool {
	return slices.ContainsFunc(all, func(q platform.Process) bool { return q.ProcessID == p.ProcessID && q.Exe == p.Exe })
}

// starterAmong returns the nearest of the starters that a process descends from:
// it has started the program again.
func starterAmong(ctx context.Context, h *platform.Host, starters []platform.Process, p platform.Process) (platform.Process, bool, error) {
	for range maxStarters * 2 {
		parent, err := parentOf(ctx, h, p)
		if err != nil || parent.PID == 0 {
			return parent, false, err
		}
		if among(starters, parent) {
			return parent, true, nil
		}
		p = parent
	}
	return platform.Process{}, false, nil
}
