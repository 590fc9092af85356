package agent

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
)

const (
	// refusedEach is how many lines of the history one program gets in a minute;
	// refusedAll is that for all of them together.
	refusedEach = 3
	refusedAll  = 30
)

// refusals keep a program that tries over and over from filling the history.
type refusals struct {
	since time.Time // when the minute began
	told  int
	each  map[string]*refusal
}

type refusal struct{ told, kept int }

// refusedBind writes down who was kept from opening a port.
func (a *Agent) refusedBind(t platform.BindAttempt) {
	now := a.cfg.Now()
	for _, text := range a.binds.refused.overdue(now) {
		a.note("refused", "", "", text)
	}
	if a.binds.refused.tell(t, now) {
		a.note("refused", "", "", describeAttempt(t))
	}
}

// tell tells whether there is to be a line of its own for it.
func (r *refusals) tell(t platform.BindAttempt, now time.Time) bool {
	if len(r.each) == 0 {
		r.since, r.told, r.each = now, 0, map[string]*refusal{}
	}
	program := cmp.Or(t.Exe, t.Process)
	one := r.each[program]
	if one == nil {
		one = &refusal{}
		r.each[program] = one
	}
	if one.told >= refusedEach || r.told >= refusedAll {
		one.kept += t.Times
		return false
	}
	one.told++
	r.told++
	return true
}

// overdue returns what is to be said of all that was kept quiet in the last minute.
func (r *refusals) overdue(now time.Time) []string {
	if len(r.each) == 0 || now.Sub(r.since) < time.Minute && !now.Before(r.since) {
		return nil
	}
	var lines []string
	others, programs := 0, 0
	for _, program := range slices.Sorted(maps.Keys(r.each)) {
		switch kept := r.each[program].kept; {
		case kept == 0:
		case len(lines) < refusedEach:
			lines = append(lines, fmt.Sprintf("refused: %s wanted to open ports %d times more within a minute", program, kept))
		default:
			others, programs = others+kept, programs+1
		}
	}
	if others > 0 {
		lines = append(lines, fmt.Sprintf("refused: %d other programs wanted to open ports %d times within a minute", programs, others))
	}
	r.each = nil
	return lines
}

// wait is how long it is until overdue may have something to say; 0 if never.
func (r *refusals) wait(now time.Time) time.Duration {
	for _, one := range r.each {
		if one.kept > 0 {
			return max(time.Second, r.since.Add(time.Minute).Sub(now))
		}
	}
	return 0
}

// describeAttempt names the process that was refused.
func describeAttempt(t platform.BindAttempt) string {
	text := "refused: " + cmp.Or(t.Exe, t.Process, "a program")
	who := ""
	if t.PID > 0 {
		who = fmt.Sprintf("process %d, ", t.PID)
	}
	who += "user " + t.User
	if t.Unit != "" {
		who += ", " + t.Unit
	}
	text += fmt.Sprintf(" (%s) wanted to open %s %d", who, t.Protocol, t.Port)
	if t.Times > 1 {
		text += fmt.Sprintf(", %d times", t.Times)
	}
	return text
}
