package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/platform"
)

// cutDeadline bounds one cut.
const cutDeadline = 5 * time.Second

// isolating is what the loop knows of isolation beside what is in the journal.
type isolating struct {
	bootless bool // the host does not know its boot
	lastBoot platform.Boot
	written  journal.Counted // what was written down of the time spent
	lease    leasing
	ends     time.Time // as it is shown

	next       *cut                             // the isolation that is being prepared; nil: none
	last       *cut                             // the one in force, if this run made it
	ordered    *outcome                         // of the order that is being carried out
	refused    string                           // why this computer must not be isolated; "" if it may
	refusedFor map[string]bool                  // threats that were told so, and whether they wait for it
	judgeAgain bool                             // whether it still must not
	answered   map[netip.AddrPort]time.Duration // when management peers last answered, since boot
	confirming *confirmation
	isolations int     // how often the host was cut off in this run
	proofs     int     // how often an isolation was tried in this run
	sayCut     bool    // the history is told what the next cut ends
	shown      *string // the login banner; nil: not known

	// tried is what the last trial of the isolation in force has shown; nil: none.
	// notCut and strands are why else it is not whole: connections that go on, and
	// what would stand against isolating now.
	tried   *trial
	notCut  []string
	strands string

	checking, reapplying, cutting, proving, judging, naming, banner chore
}

// isolationChanged records that isolation began or ended.
func (a *Agent) isolationChanged(before, now *platform.Isolation) {
	switch {
	case now != nil && before == nil:
		a.note("result", "", actions.IsolateHost.Name, "the network of this computer is cut off")
		a.isolationBegan()
	case now == nil && before != nil:
		a.state.Isolated = journal.IsolationProof{}
		a.note("result", "", actions.IsolateHost.Name, "the network of this computer is normal again")
		a.last, a.confirming, a.ordered, a.lease = nil, nil, nil, leasing{}
	case now != nil && !sameIsolation(before, now):
		a.sayCut = true
	}
}

func (a *Agent) isolationBegan() {
	a.state.Isolated = journal.IsolationProof{Since: a.cfg.Now(), Detail: "not proved yet"}
	a.written, a.tried = a.state.Counted, nil
	a.isolations++
	a.sayCut = true
	a.cutting.askNow()
	a.proving.askNow()
	a.last, a.next = a.next, nil
	switch {
	case a.last == nil:
	case a.last.lost != nil:
		was := a.last.lost
		a.state.Isolated.Since, a.state.Isolated.Spent = was.Since, was.Spent
		a.state.Isolated.Ended, a.state.Isolated.Told = was.Ended, was.Told
	default:
		a.state.Isolated.Told = a.last.users
		a.confirm()
	}
}

// isolationLost takes up that the isolation is not in force though it is wanted,
// and could not be put back at once. It goes on where it was as soon as it can:
// nobody is told again, and it lasts no longer.
func (a *Agent) isolationLost() {
	was := a.state.Isolated
	a.next = &cut{judged: true, told: true, lost: &was}
	a.note("result", "", actions.IsolateHost.Name, "the isolation of this computer is NOT in force")
}

// sameIsolation tells whether two isolations restrict the same.
func sameIsolation(x, y *platform.Isolation) bool {
	return platform.Restrictions{Isolation: x}.Equal(platform.Restrictions{Isolation: y})
}

// tend starts what an isolation in force needs now and then, at least as often as
// it should, and sooner if something happened.
func (a *Agent) tend() {
	now := a.boot().Uptime
	if a.state.Restrictions.Isolation != nil {
		a.proving.askEvery(proveIsolationEvery, now)
		a.naming.askEvery(namesEveryIsolated, now)
	} else {
		a.cutting.asked, a.proving.asked = false, false
		a.naming.askEvery(namesEvery, now)
	}
	if a.cutting.begin(now) {
		a.endConnections()
	}
	// The first cut would end what is tried with.
	if cutting := a.cutting.busy || a.sayCut && a.cutting.asked; !cutting && a.proving.begin(now) {
		a.tryIsolation()
	}
	if a.naming.begin(now) {
		a.resolveNames()
	}
	a.confirmIfDue(now)
	a.showBanner(now)
}

// chores are the ones that tend and repair start.
func (a *Agent) chores() []*chore {
	all := []*chore{&a.glancing.chore, &a.checking, &a.reapplying, &a.cutting, &a.proving, &a.judging, &a.naming, &a.banner}
	if a.confirming != nil {
		all = append(all, &a.confirming.chore)
	}
	return all
}

// endConnections ends what the rules only pause.
func (a *Agent) endConnections() {
	host, iso, isolation := a.cfg.Host, *a.state.Restrictions.Isolation, a.isolations
	a.enqueueIsolate(func(ctx context.Context) func(context.Context) {
		ctx, cancel := context.WithTimeout(ctx, cutDeadline)
		defer cancel()
		done, err := host.Connections.Cut(ctx, iso)
		return func(context.Context) {
			a.cutting.end()
			if a.state.Restrictions.Isolation != nil && isolation == a.isolations {
				a.connectionsEnded(done, err)
			}
		}
	})
}

func (a *Agent) connectionsEnded(done platform.Cut, err error) {
	a.trouble(troubleConnections, err)
	a.state.Isolated.Ended += done.Ended
	a.notCut = slices.Clone(done.Lacks)
	if len(done.Left) > 0 {
		a.notCut = append(a.notCut, notEnded(done.Left))
	}
	if err != nil {
		a.notCut = append(a.notCut, "connections could not be ended: "+err.Error())
	}
	if done.Ended > 0 {
		a.keepState()
	}
	if a.sayCut {
		a.sayCut = false
		a.note("result", "", actions.IsolateHost.Name, plural(done.Ended, "connection")+" ended")
	}
	a.tellIsolation()
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// judgeNetwork judges anew whether this computer may be isolated, after its
// network has changed.
func (a *Agent) judgeNetwork() {
	if a.state.Restrictions.Isolation == nil {
		a.judgeAgain = a.refused != ""
		a.judging.end()
		return
	}
	isolation := a.isolations
	a.judge(a.terms.Isolation, func(j judgement) {
		a.judging.end()
		if a.state.Restrictions.Isolation != nil && isolation == a.isolations {
			a.strands = j.preview.Refused
			a.tellIsolation()
		}
	})
}

// showBanner keeps at login what people were told, while the isolation lasts.
func (a *Agent) showBanner(now time.Duration) {
	text := ""
	switch {
	case a.state.Restrictions.Isolation != nil:
		text = a.notice("This computer is cut off from the network by Firebreak", a.isolatingThreat())
	case a.next != nil && a.next.judged:
		text = a.notice("This computer is cut off from the network by Firebreak", a.next.threat)
	}
	if a.shown != nil && *a.shown == text {
		return
	}
	if a.banner.ask(); a.shown != nil {
		a.banner.askNow() // what failed is tried again after a while
	}
	if !a.banner.begin(now) {
		return
	}
	host := a.cfg.Host
	a.enqueueIsolate(func(ctx context.Context) func(context.Context) {
		ctx, cancel := context.WithTimeout(ctx, tellDeadline)
		defer cancel()
		err := host.Notifier.Banner(ctx, text)
		return func(context.Context) {
			a.banner.end()
			if errors.Is(err, platform.ErrUnsupported) {
				err = nil
			}
			a.trouble(troubleBanner, err)
			if a.shown = &text; err != nil {
				a.shown = nil
			}
		}
	})
}

// isolatingThreat is the threat on whose account the computer is isolated; "" if
// there is none.
func (a *Agent) isolatingThreat() string {
	for _, t := range a.threats {
		if slices.Contains(t.InForce, actions.IsolateHost.Name) {
			return t.ID
		}
	}
	return ""
}
