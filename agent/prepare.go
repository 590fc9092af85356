package agent

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/policy"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

const (
	// prepareDeadline bounds all that is found out before a cut but for names.
	prepareDeadline = 2 * time.Second
	// peerDeadline is how long a management peer has to answer before the cut.
	peerDeadline = 500 * time.Millisecond
	// tellPatience is how long the cut waits for people to be told; tellDeadline
	// is how long telling them may take.
	tellPatience = 300 * time.Millisecond
	tellDeadline = 10 * time.Second
)

// cut is an isolation that is about to begin: it is judged, then people are told,
// then the loop puts it in force.
type cut struct {
	threat string // on whose account, "" for a person's order
	judged bool
	told   bool
	asked  time.Duration           // when people were begun to be told
	users  []string                // who was told
	costs  []string                // what the user loses by it
	lost   *journal.IsolationProof // the isolation that somebody took away, and that is put back
}

// outcome is what became of a person's order to isolate.
type outcome struct {
	refused   string
	takenBack string
}

// judgement is what was found out before a cut.
type judgement struct {
	preview  actions.Preview
	found    map[string][]netip.Addr // of the names that were not known
	answered []netip.AddrPort        // the management peers that answered
	err      error                   // why something could not be judged
}

// afterPreparation returns the isolation that may be put in force now of the one
// that is wanted: one that is newly wanted waits until it is prepared.
func (a *Agent) afterPreparation(want *platform.Isolation, claims []policy.Claim) *platform.Isolation {
	switch {
	case want == nil:
		a.next = nil
		a.accept()
		return nil
	case a.state.Restrictions.Isolation != nil:
		return want
	case a.next == nil:
		if a.refused == "" || a.judgeAgain {
			a.prepare(claims)
		}
		a.waitForIsolation(claims)
		return nil
	case a.next.judged && (a.next.told || a.boot().Uptime-a.next.asked >= tellPatience):
		return want
	}
	return nil
}

// prepare finds out in a worker whether the computer may be isolated, and who
// answers before the cut.
func (a *Agent) prepare(claims []policy.Claim) {
	next := &cut{}
	if i := slices.IndexFunc(claims, func(c policy.Claim) bool { return c.Wants.Isolation != nil }); a.state.Isolation == nil && i >= 0 {
		next.threat = claims[i].Threat
	}
	a.next, a.judgeAgain = next, false
	a.judge(a.terms.Isolation, func(j judgement) {
		if a.next != next {
			return
		}
		if j.preview.Refused != "" {
			a.next = nil
			a.refuse(j.preview.Refused)
			return
		}
		a.accept()
		if j.err != nil {
			a.note("agent", "", actions.IsolateHost.Name, "what isolation would cut could not be seen: "+j.err.Error())
		}
		for _, peer := range j.answered {
			a.answered[peer] = a.boot().Uptime
		}
		next.judged, next.costs = true, j.preview.Costs
		a.tell(next)
	})
}

// judge looks at what isolating depends on. Names of which no address is known
// are looked up first: after the cut it would be too late.
func (a *Agent) judge(iso platform.Isolation, then func(judgement)) {
	host, snap := a.cfg.Host, a.snapshot
	names := a.unknownNames()
	order := actions.Order{Terms: a.terms, Restrictions: a.state.Restrictions, Now: a.cfg.Now()}
	before := a.state.Restrictions.Isolation == nil
	a.enqueueIsolate(func(ctx context.Context) func(context.Context) {
		var j judgement
		j.found = lookUp(ctx, a.cfg.LookUp, names)
		for _, k := range names {
			iso.Keep = append(slices.Clone(iso.Keep), peersAt(k, j.found[k.Name])...)
		}
		order.Terms.Isolation = iso
		ctx, cancel := context.WithTimeout(ctx, prepareDeadline)
		defer cancel()
		var all sync.WaitGroup
		if before {
			all.Go(func() { j.answered = answering(ctx, host.Prober, managers(iso), peerDeadline) })
		}
		all.Go(func() {
			fresh, err := host.Observer.Snapshot(ctx, platform.Parts{platform.PartSessions, platform.PartNetwork})
			if err == nil {
				snap.Sessions, snap.Network, snap.Gaps = fresh.Sessions, fresh.Network, fresh.Gaps
			}
			order.Snapshot = &snap
			j.preview, j.err = actions.IsolateHost.Preview(ctx, host, order)
			if j.err == nil {
				j.err = err
			}
		})
		all.Wait()
		return func(context.Context) {
			a.addAddresses(j.found)
			then(j)
		}
	})
}

// managers are the peers by which it can be seen whether management is reached:
// those to which this computer connects over TCP, by one address and port.
func managers(iso platform.Isolation) []netip.AddrPort {
	var out []netip.AddrPort
	for _, k := range iso.Keep {
		if !k.Inbound && k.Protocol != platform.UDP && k.Port != 0 && k.Network.IsSingleIP() {
			out = append(out, netip.AddrPortFrom(k.Network.Addr(), k.Port))
		}
	}
	return out
}

// answering returns the peers that take a connection, tried all at once. A
// refusal is no answer: it may be that of a firewall.
func answering(ctx context.Context, p platform.Prober, peers []netip.AddrPort, within time.Duration) []netip.AddrPort {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	answers := make([]bool, len(peers))
	var all sync.WaitGroup
	for i, peer := range peers {
		all.Go(func() {
			got, err := p.Connect(ctx, peer)
			answers[i] = err == nil && got == platform.Answered
		})
	}
	all.Wait()
	var out []netip.AddrPort
	for i, peer := range peers {
		if answers[i] {
			out = append(out, peer)
		}
	}
	return out
}

// refuse takes up that this computer must not be isolated as it is now. A
// person's order is over with that; a threat waits for a person.
func (a *Agent) refuse(why string) {
	if a.refused != why {
		a.note("agent", "", actions.IsolateHost.Name, "this computer must not be isolated: "+why)
	}
	a.refused = why
	if a.state.Isolation != nil {
		a.state.Isolation = nil
		a.keepState()
	}
	if a.ordered != nil {
		a.ordered.refused, a.ordered = why, nil
	}
}

// accept takes up that nothing stands against isolating any more.
func (a *Agent) accept() {
	if a.refused == "" {
		return
	}
	a.refused = ""
	for id, waits := range a.refusedFor {
		if t := a.find(id); waits && t != nil && t.WaitingFor == threat.ForPerson && t.Move(threat.Identified) == nil {
			a.touch(t)
		}
	}
	clear(a.refusedFor)
}

// waitForIsolation lets the threats that ask for an isolation that is refused
// wait for a person. What else is done about them goes on.
func (a *Agent) waitForIsolation(claims []policy.Claim) {
	for _, c := range claims {
		t := a.find(c.Threat)
		if _, told := a.refusedFor[c.Threat]; c.Wants.Isolation == nil || a.refused == "" || told || t == nil {
			continue
		}
		others := slices.ContainsFunc(a.plan.Steps, func(s policy.Step) bool {
			return s.Threat == t.ID && s.Enforced && s.Action.Kind == actions.Remediation
		})
		step := policy.Step{Threat: t.ID, Action: c.Action}
		a.couldNot(t, step, "cannot", a.refused)
		a.refusedFor[t.ID] = !others && t.Stage != threat.Waiting && t.Wait(threat.ForPerson) == nil
		a.note("stage", t.ID, c.Action.Name, "waits for a person: "+a.refused)
		a.touch(t)
	}
}

// tell tells the people at the computer what is about to happen.
func (a *Agent) tell(next *cut) {
	host, text := a.cfg.Host, a.notice("Firebreak cuts this computer off from the network now", next.threat)
	next.asked = a.boot().Uptime
	a.enqueueIsolate(func(ctx context.Context) func(context.Context) {
		ctx, cancel := context.WithTimeout(ctx, tellDeadline)
		defer cancel()
		users, err := host.Notifier.Notify(ctx, text)
		return func(context.Context) {
			next.told, next.users = true, users
			if a.last == next {
				a.state.Isolated.Told = users
				a.keepState()
			}
			if err != nil {
				a.note("agent", "", "", "the people at this computer could not be told of the isolation: "+err.Error())
			}
		}
	})
}

// notice is what people are told: why, whom to call, what still works, and when
// it ends.
func (a *Agent) notice(first, id string) string {
	reason := "there is a threat to it"
	if t := a.find(id); t != nil {
		reason = t.Summary
	}
	length := a.longestIsolation()
	if asked := a.state.Isolation; asked != nil {
		reason, length = asked.Reason, asked.For
	}
	ends := a.cfg.Now().Add(length)
	if a.state.Restrictions.Isolation != nil {
		ends = a.isolationEnds()
	}
	text := first + ": " + strings.TrimRight(reason, ". ") + "."
	if c := a.terms.Contact; c != "" {
		text += " " + c
	}
	if kept := a.keptNames(); kept[0] == "none" {
		text += " Nothing else on the network can be reached."
	} else {
		text += " What still works: " + strings.Join(kept, ", ") + "."
	}
	return text + " It ends by itself on " + ends.Local().Format("2 January at 15:04") + ". Please do not switch the computer off."
}
