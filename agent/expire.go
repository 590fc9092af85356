package agent

import (
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
)

// deadlines are the times at which something ends, or is due, by itself.
func (a *Agent) deadlines() []time.Time {
	out := []time.Time{a.clearAt, a.recordAt}
	if p := a.state.Pause; p != nil {
		out = append(out, p.Until)
	}
	if h := a.state.IsolationHoldOff; h != nil {
		out = append(out, h.Until)
	}
	return out
}

// waits are how long it is until something is due that no clock should move.
func (a *Agent) waits() []time.Duration {
	now := a.boot().Uptime
	var out []time.Duration
	for _, c := range a.chores() {
		if c.asked && !c.busy {
			out = append(out, c.wait(now))
		}
	}
	if !a.applied {
		out = append(out, a.applyAt-now)
	}
	if a.tampering.every > 0 {
		out = append(out, a.tampering.next-now)
	}
	if a.next != nil && a.next.judged && !a.next.told {
		out = append(out, a.next.asked+tellPatience-now)
	}
	if a.state.Restrictions.Isolation != nil {
		out = append(out, a.lease.due-now, a.proving.begun+proveIsolationEvery-now, isolationLeft(a.state))
	}
	return out
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
	a.endIsolation()
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

func (a *Agent) endIsolationHoldOff(why string) {
	if a.state.IsolationHoldOff == nil {
		return
	}
	a.state.IsolationHoldOff = nil
	a.keepState()
	a.note("agent", "", "isolate-host", "Firebreak may isolate by itself again: "+why)
}
