package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
)

const (
	// checkGap, reapplyGap and cutGap keep a program that fights the agent, or
	// starts containers all the time, from making it busy. What was changed is put
	// back all the same.
	checkGap   = 50 * time.Millisecond
	reapplyGap = 100 * time.Millisecond
	cutGap     = time.Second
)

// event takes up what the host says has changed.
func (a *Agent) event(e platform.Event) {
	switch e.Part {
	case platform.PartRestrictions:
		// What is missing of it may not show as a difference, such as the rules of
		// one link: it is put in force again in any case.
		a.changedBy = e.Why
		a.checking.ask()
		a.reapplying.ask()
	case platform.PartNetwork:
		// A new link may need rules of its own, and what leads to the management
		// may lead there another way now.
		a.reapplying.ask()
		a.judging.ask()
	case platform.PartListeners:
		a.glance(e.Why)
	default:
		a.look(e.Why)
	}
}

// repair has what is in force compared, put in force again and judged anew, if an
// event says that it is time.
func (a *Agent) repair(ctx context.Context) {
	now := a.boot().Uptime
	if a.checking.begin(now) {
		a.compare(ctx, a.changedBy)
		a.checking.end()
	}
	if a.reapplying.begin(now) {
		a.applied = a.applied && a.state.Restrictions.Isolation == nil
		a.reapplying.end()
	}
	if a.judging.begin(now) {
		a.judgeNetwork()
	}
	if text := a.tampering.overdue(now); text != "" {
		a.note("agent", "", "", text)
	}
}

// compare reads back what is in force, and tells whether it is what it should
// be. If not, the same turn puts it back.
func (a *Agent) compare(ctx context.Context, why string) bool {
	got, err := a.cfg.Host.Firewall.InForce(ctx)
	return a.compared(got, err, why)
}

// compared takes up what was read back; why says what is known of who changed it.
func (a *Agent) compared(got platform.Restrictions, err error, why string) bool {
	if err == nil && got.Equal(a.state.Restrictions) || err != nil && a.state.Restrictions.Zero() {
		return true
	}
	known := !a.applied
	a.applied = false
	now := a.boot().Uptime
	switch {
	case known:
	case err == nil && got.Isolation == nil && a.state.Restrictions.Isolation != nil && a.leaseOver(now):
		a.note("agent", "", "isolate-host", leaseEnded)
	default:
		text := "somebody changed the restrictions that Firebreak had put in force; they are put back"
		switch {
		case why != "":
			text += " (" + why + ")"
		case err != nil:
			text += " (" + err.Error() + ")"
		}
		if a.tampering.happened(now) {
			a.note("agent", "", "", text)
		}
	}
	return false
}

const leaseEnded = "the isolation had ended: its lease was not renewed in time, so the kernel let go. It is put in force again"

// damped says what happens over and over ever less often: at once, then how
// often it was after a minute, two, four, up to an hour.
type damped struct {
	count int           // since it was last said
	next  time.Duration // since boot: when it is said again
	every time.Duration // 0: it does not happen over and over
}

const (
	dampedFirst = time.Minute
	dampedLast  = time.Hour
)

// happened tells whether it is to be said now.
func (d *damped) happened(now time.Duration) bool {
	if d.every == 0 {
		d.count, d.every, d.next = 0, dampedFirst, now+dampedFirst
		return true
	}
	d.count++
	return false
}

// overdue returns what is to be said of all that was kept quiet.
func (d *damped) overdue(now time.Duration) string {
	if d.every == 0 || now < d.next {
		return ""
	}
	if d.count == 0 {
		d.every = 0
		return ""
	}
	text := fmt.Sprintf("the restrictions that Firebreak had put in force were changed %d times more, and put back each time", d.count)
	d.every = min(2*d.every, dampedLast)
	d.count, d.next = 0, now+d.every
	return text
}
