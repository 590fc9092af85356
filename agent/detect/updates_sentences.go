package detect

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
)

// missingSentence says what is missing, or what still runs as it was before.
func missingSentence(missing []platform.Update, running platform.RunningCode, now time.Time) string {
	if len(missing) == 0 {
		return runningSentence(running)
	}
	oldest := now
	exploited, held := 0, 0
	names := make([]string, 0, len(missing))
	for _, p := range missing {
		names = append(names, p.Name)
		if p.Since.Before(oldest) {
			oldest = p.Since
		}
		if len(p.KEV) > 0 {
			exploited++
		}
		if p.Why == platform.Held || p.Why == platform.Pinned {
			held++
		}
	}
	s := fmt.Sprintf("%s %s missing", countOf(len(missing), "security update"), verb(len(missing), "is", "are"))
	if days := now.Sub(oldest); days >= 24*time.Hour {
		s += ", " + verb(len(missing), "", "the oldest ") + "for " + spokenDays(days)
	}
	s += ": " + several(slices.Compact(names)) + "."
	if exploited > 0 {
		s += fmt.Sprintf(" What %s is being attacked elsewhere.", verb(exploited, "one of them mends", fmt.Sprintf("%d of them mend", exploited)))
	}
	if held > 0 {
		s += fmt.Sprintf(" Somebody set %s here to be held back.", countOf(held, "package"))
	}
	return s
}

// runningSentence says what keeps installed updates from being in effect.
func runningSentence(r platform.RunningCode) string {
	var all []string
	if r.NewerKernel != "" {
		all = append(all, fmt.Sprintf("the kernel runs as %s while %s is installed", r.Kernel, r.NewerKernel))
	}
	if programs := stalePrograms(r.Stale); len(programs) > 0 {
		all = append(all, fmt.Sprintf("%s still %s as before an update: %s", countOf(len(programs), "program"), verb(len(programs), "runs", "run"), several(programs)))
	}
	if len(r.RebootAsked) > 0 {
		all = append(all, "a restart is asked for by "+several(r.RebootAsked))
	}
	return "Updates are installed, but not all in effect: " + strings.Join(all, "; ") + "."
}

// stalePrograms names what runs old code as people know it: by service, else by
// program.
func stalePrograms(stale []platform.StaleProcess) []string {
	var names []string
	for _, p := range stale {
		name := p.UserUnit
		if name == "" {
			name = p.Unit
		}
		if name == "" {
			name = p.Name
		}
		names = append(names, strings.TrimSuffix(name, ".service"))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// several names the first three of a list, and counts the others.
func several(names []string) string {
	const most = 3
	switch n := len(names); {
	case n == 0:
		return ""
	case n == 1:
		return names[0]
	case n <= most:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	default:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), n-most)
	}
}

func countOf(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// spokenDays says a time in whole days.
func spokenDays(d time.Duration) string { return countOf(int(d/(24*time.Hour)), "day") }
