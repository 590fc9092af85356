package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/agent/localapi"
)

// Of a long list a screen has room for the first few.
const (
	maxPackages = 3
	maxStale    = 3
)

// updateLines tell of missing updates: which packages, why each counts as security,
// since when it waits, and what still runs the old one.
func updateLines(u localapi.UpdatesSubject, id string, now time.Time) []string {
	var lines []string
	for _, p := range u.Packages[:min(len(u.Packages), maxPackages)] {
		line := p.Name + " " + text(p.Installed) + ": "
		if p.Fixed != nil {
			line += "security fix in " + *p.Fixed
		} else {
			line += "newer in " + text(p.Candidate)
		}
		if p.Fixed != nil && p.Candidate != nil && *p.Candidate != *p.Fixed {
			line += ", newest " + *p.Candidate
		}
		if p.Archive != nil {
			line += " of " + *p.Archive
		}
		if p.Since != nil {
			line += ", waits since " + clock(p.Since, now)
		}
		if p.Held != nil {
			line += ", " + cmp.Or(holds[*p.Held], *p.Held)
		}
		lines = append(lines, line)
	}
	if more := len(u.Packages) - maxPackages; more > 0 {
		lines = append(lines, fmt.Sprintf("(%d more packages: firebreak explain %s --json)", more, id))
	}
	for _, p := range u.Stale[:min(len(u.Stale), maxStale)] {
		line := "still runs as before: " + cmp.Or(text(p.Unit), text(p.Name), "a program")
		if len(p.Files) > 0 {
			line += ", which has the old " + strings.Join(p.Files, ", ")
		}
		lines = append(lines, line)
	}
	if more := len(u.Stale) - maxStale; more > 0 {
		lines = append(lines, fmt.Sprintf("(%d more programs: firebreak explain %s --json)", more, id))
	}
	if u.NewerKernel != nil {
		lines = append(lines, fmt.Sprintf("the kernel that runs is %s, the newest installed one %s", cmp.Or(text(u.Kernel), "not known"), *u.NewerKernel))
	}
	for _, p := range u.Unsupported[:min(len(u.Unsupported), maxPackages)] {
		lines = append(lines, fmt.Sprintf("%s %s: %s", p.Name, text(p.Version), cmp.Or(text(p.Note), "no note says why")))
	}
	return lines
}

// holds say why the package manager would not install an update.
var holds = map[string]string{
	"held":   "held back by somebody",
	"pinned": "held back by a preference",
	"phased": "not yet rolled out to this computer by its vendor",
	"unmet":  "cannot be installed: what it needs is not to be had",
}
