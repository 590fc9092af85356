package agent

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/policy"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

const (
	// renewEvery is how often the lease is renewed at least; a short one is
	// renewed three times while it lasts.
	renewEvery = 20 * time.Second
	// leaseRetry is when a renewal that was refused is tried again.
	leaseRetry = time.Second
	// countEvery is how often what is spent of an isolation is written down.
	countEvery = time.Minute
	// longestOff is for how long a computer is believed to have been off: a clock
	// that says more is not believed at all.
	longestOff = 90 * 24 * time.Hour
)

// leasing is the lease of the isolation in force. Its times are since boot.
type leasing struct {
	at     time.Duration // when the kernel was last told
	length time.Duration // and for how long
	due    time.Duration // when it is to be told again
}

// boot tells which run of the host this is and how long it has lasted, sleep
// included. A host that does not know is judged by how long the agent has run.
func (a *Agent) boot() platform.Boot {
	if a.bootless {
		return platform.Boot{ID: "run of " + a.since.UTC().Format(time.RFC3339Nano), Uptime: a.cfg.Now().Sub(a.since)}
	}
	if b, err := a.cfg.Boot(); err == nil {
		a.lastBoot = b
	}
	return a.lastBoot
}

// passed is how much time went by since from. The clock is asked for one thing
// only, and believed within reason: how long the computer was off.
func passed(from journal.Counted, boot platform.Boot, now time.Time) time.Duration {
	switch off := now.Sub(from.At); {
	case from.Boot == "":
		return 0
	case from.Boot == boot.ID:
		return max(0, boot.Uptime-from.Uptime)
	case off > boot.Uptime && off <= longestOff:
		return off
	}
	return max(0, boot.Uptime)
}

// counted returns the state with the time that passed added to what is spent.
func counted(s journal.State, boot platform.Boot, now time.Time) journal.State {
	d := passed(s.Counted, boot, now)
	if s.Isolation != nil {
		asked := *s.Isolation
		asked.Spent += d
		s.Isolation = &asked
	}
	if s.Restrictions.Isolation != nil {
		s.Isolated.Spent += d
	}
	s.Counted = journal.Counted{Boot: boot.ID, Uptime: boot.Uptime, At: now.UTC().Round(0)}
	return s
}

// isolationLeft is how long the isolation that is wanted, or in force, may last
// from when it was last counted. What a person asked for beside what policy wants
// ends the later of the two.
func isolationLeft(s journal.State) time.Duration {
	var left time.Duration
	if asked := s.Isolation; asked != nil {
		left = cmp.Or(asked.For, defaultHoldOff) - asked.Spent
	}
	if iso := s.Restrictions.Isolation; iso != nil && s.Isolated.Plan && s.IsolationHoldOff == nil {
		left = max(left, cmp.Or(iso.Max, defaultHoldOff)-s.Isolated.Spent)
	}
	return max(0, left)
}

// leaseFor is after how long the kernel is to end an isolation that may last for
// left.
func leaseFor(iso platform.Isolation, left time.Duration) time.Duration {
	if iso.Closed || iso.Lease == 0 {
		return left
	}
	return min(iso.Lease, left)
}

// AtBoot says what is to be in force before the agent runs, by what it wrote down
// last, and for how long the kernel is to keep the isolation that is part of it.
func AtBoot(s journal.State, boot platform.Boot, now time.Time) (want platform.Restrictions, lease time.Duration) {
	s = counted(s, boot, now)
	want = s.Restrictions
	left := isolationLeft(s)
	if want.Isolation == nil || left == 0 {
		want.Isolation = nil
		return want, 0
	}
	return want, leaseFor(*want.Isolation, left)
}

// count adds up what is spent of an isolation, and sees that it is written down.
func (a *Agent) count(now time.Time) {
	boot := a.boot()
	a.state = counted(a.state, boot, now)
	if a.state.Isolation == nil && a.state.Restrictions.Isolation == nil {
		return
	}
	if boot.ID != a.written.Boot || boot.Uptime-a.written.Uptime >= countEvery {
		a.written = a.state.Counted
		a.keepState()
	}
}

// longestIsolation is how long policy lets the host be isolated before a person
// must ask for it again.
func (a *Agent) longestIsolation() time.Duration {
	return cmp.Or(time.Duration(a.policy.Isolation.Max), defaultHoldOff)
}

// isolationEnds is when the isolation in force ends by itself, by the clock as it
// is now; zero if there is none.
func (a *Agent) isolationEnds() time.Time {
	if a.state.Restrictions.Isolation == nil {
		return time.Time{}
	}
	ends := a.cfg.Now().Add(isolationLeft(a.state))
	if off := ends.Sub(a.ends).Abs(); off > 2*time.Second {
		a.ends = ends.Round(time.Second)
	}
	return a.ends
}

// endIsolation ends an isolation whose time is over.
func (a *Agent) endIsolation() {
	asked := a.state.Isolation
	switch {
	case asked == nil && (a.state.Restrictions.Isolation == nil || a.state.IsolationHoldOff != nil):
		// There is none, or it is being released.
	case isolationLeft(a.state) == 0:
		a.takeBackIsolation("policy", "the isolation had lasted for as long as it may")
		a.note("stage", "", "isolate-host", "isolation ends: it lasted for as long as it may; a person must ask for it again")
	case asked != nil && cmp.Or(asked.For, defaultHoldOff) <= asked.Spent:
		a.state.Isolation = nil
		a.keepState()
		a.note("stage", "", "isolate-host", "the isolation that "+asked.By+" asked for is over; policy goes on isolating")
	}
}

// takeBackIsolation ends an isolation, and sees that an open threat does not put
// it back at once.
func (a *Agent) takeBackIsolation(by, why string) {
	a.state.Isolation = nil
	a.state.IsolationHoldOff = &threat.HoldOff{Reason: why, By: by, Until: a.cfg.Now().Add(defaultHoldOff)}
	a.keepState()
}

// wantedByPlan remembers whether policy wants the isolation in force, so that it
// is known how long it may last.
func (a *Agent) wantedByPlan(claims []policy.Claim) {
	plan := a.state.Isolation == nil || slices.ContainsFunc(claims, func(c policy.Claim) bool { return c.Wants.Isolation != nil })
	if a.state.Restrictions.Isolation != nil && a.state.Isolated.Plan != plan {
		a.state.Isolated.Plan = plan
		a.keepState()
	}
}

// renewIfDue renews the lease of an isolation that is still wanted. It is done by
// the loop itself: what it proves is that the loop turns. A journal that cannot
// be written ends no isolation: whoever fills the disk would end it.
func (a *Agent) renewIfDue(ctx context.Context, want platform.Restrictions) {
	now := a.boot().Uptime
	if a.state.Restrictions.Isolation == nil || want.Isolation == nil || now < a.lease.due {
		return
	}
	// A computer that slept has its isolation still: the kernel counts while awake.
	if a.leaseOver(now) && !a.compare(ctx, "") {
		return
	}
	a.renew(ctx)
}

// leaseOver tells whether the lease may have ended.
func (a *Agent) leaseOver(now time.Duration) bool {
	return a.lease.length > 0 && now-a.lease.at >= a.lease.length
}

// renewAfter is how long after a renewal the next one is due.
func renewAfter(iso platform.Isolation) time.Duration {
	if iso.Lease == 0 {
		return renewEvery
	}
	return min(iso.Lease/3, renewEvery)
}

// renew renews the lease. If that is refused, the isolation is put in force anew.
func (a *Agent) renew(ctx context.Context) {
	iso, now := *a.state.Restrictions.Isolation, a.boot().Uptime
	left := leaseFor(iso, isolationLeft(a.state))
	if left == 0 {
		return // it ends; and a lease of nothing would be one without an end
	}
	err := a.cfg.Host.Firewall.Renew(ctx, left)
	if err == nil {
		a.lease = leasing{at: now, length: left, due: now + renewAfter(iso)}
		a.trouble(troubleLease, nil)
		return
	}
	a.trouble(troubleLease, fmt.Errorf("the lease of the isolation could not be renewed: %w", err))
	a.lease.due = now + leaseRetry
	if a.compare(ctx, "") {
		a.applied = false
	}
}
