package agent

import (
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/threat"
)

// proveIsolationEvery is how often an isolation is proved again while it lasts.
const proveIsolationEvery = 30 * time.Second

// deadlines are the times at which something ends, or is due, by itself.
func (a *Agent) deadlines() []time.Time {
	out := []time.Time{a.applyAt, a.clearAt, a.recordAt}
	if p := a.state.Pause; p != nil {
		out = append(out, p.Until)
	}
	if h := a.state.IsolationHoldOff; h != nil {
		out = append(out, h.Until)
	}
	if a.state.Restrictions.Isolation != nil {
		out = append(out, a.isolationEnds(), a.isolationAt.Add(proveIsolationEvery))
	}
	return out
}

// isolationEnds is when the isolation in force ends, whatever happens; zero if
// there is none. What a person asked for beside what policy wants ends the later
// of the two.
func (a *Agent) isolationEnds() time.Time {
	var ends time.Time
	if i := a.state.Isolation; i != nil {
		ends = i.Until
	}
	wanted := slices.ContainsFunc(a.threats, func(t threat.Threat) bool { return slices.Contains(t.InForce, actions.IsolateHost.Name) })
	if a.state.Restrictions.Isolation != nil && (wanted || a.state.Isolation == nil) {
		if byPolicy := a.state.Isolated.Since.Add(a.longestIsolation()); byPolicy.After(ends) {
			ends = byPolicy
		}
	}
	return ends
}

// longestIsolation is how long policy lets the host be isolated before a person
// must ask for it again.
func (a *Agent) longestIsolation() time.Duration {
	if longest := time.Duration(a.policy.Isolation.Max); longest > 0 {
		return longest
	}
	return defaultHoldOff
}

// expire ends what has come to its end: pauses, exceptions, hold-offs, and an
// isolation that has lasted for as long as policy lets it.
func (a *Agent) expire(now time.Time) {
	if p := a.state.Pause; p != nil && threat.Over(p.Until, now) {
		a.state.Pause = nil
		a.keepState()
		a.note("agent", "", "", "the pause is over; blocks are in force again")
	}
	if h := a.state.IsolationHoldOff; h != nil && threat.Over(h.Until, now) {
		a.endIsolationHoldOff("its time is over")
	}
	a.endIsolation(now)
	for i := range a.threats {
		a.expireOne(&a.threats[i], now, "")
	}
}

// expireOne ends the exception and the hold-off of a threat, if it is time. exe is
// the hash of the executable that runs now; "" if there is nothing to compare.
func (a *Agent) expireOne(t *threat.Threat, now time.Time, exe string) {
	ended, err := t.Expire(now, exe)
	a.trouble("threat "+t.ID, err)
	if ended != "" {
		a.note("stage", t.ID, "", ended)
		a.touch(t)
		a.look("an exception ended")
	}
}

// endIsolation ends an isolation whose time is over, and sees that an open
// threat does not put it back at once.
func (a *Agent) endIsolation(now time.Time) {
	a.mindClock(now)
	ends := a.isolationEnds()
	if ends.IsZero() || !threat.Over(ends, now) {
		if a.state.Restrictions.Isolation != nil && !a.isolationAt.IsZero() && now.Sub(a.isolationAt) >= proveIsolationEvery {
			a.proveIsolation()
		}
		if i := a.state.Isolation; i != nil && threat.Over(i.Until, now) {
			a.state.Isolation = nil
			a.keepState()
			a.note("stage", "", "isolate-host", "the isolation that "+i.By+" asked for is over; policy goes on isolating")
		}
		return
	}
	a.state.Isolation = nil
	a.state.IsolationHoldOff = &threat.HoldOff{
		Reason: "the isolation had lasted for as long as it may", By: "policy", Until: now.Add(defaultHoldOff),
	}
	a.keepState()
	a.note("stage", "", "isolate-host", "isolation ends: it lasted for as long as it may; a person must ask for it again")
}

// mindClock sees that a clock that was set back makes no isolation longer than
// it was to be.
func (a *Agent) mindClock(now time.Time) {
	if i := a.state.Isolation; i != nil && now.Before(i.Since) {
		shifted := *i
		shifted.Since, shifted.Until = now, now.Add(i.Until.Sub(i.Since))
		a.state.Isolation = &shifted
		a.keepState()
	}
	if now.Before(a.state.Isolated.Since) {
		a.state.Isolated.Since = now
		a.keepState()
	}
}

func (a *Agent) endIsolationHoldOff(why string) {
	if a.state.IsolationHoldOff == nil {
		return
	}
	a.state.IsolationHoldOff = nil
	a.keepState()
	a.note("agent", "", "isolate-host", "Firebreak may isolate by itself again: "+why)
}
