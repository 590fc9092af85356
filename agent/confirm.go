package agent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/actions"
)

const (
	// answeredWithin is for how long before the cut an answer counts.
	answeredWithin = time.Minute
	// confirmFor is how long the peers that answered before the cut are tried
	// after it, confirmTries how often at least, and confirmLimit the time after
	// which a peer that is lost releases nothing.
	confirmFor   = 20 * time.Second
	confirmTries = 3
	confirmLimit = time.Minute
	confirmGap   = 3 * time.Second
	confirmOnce  = 5 * time.Second
)

// confirmation is an isolation that was just put in force, and not yet seen to
// leave management reachable. Its times are since boot.
type confirmation struct {
	chore
	peers []netip.AddrPort // that answered before the cut
	since time.Duration
	tries int
}

// confirm begins to look whether those who answered before the cut do after it.
func (a *Agent) confirm() {
	now := a.boot().Uptime
	var peers []netip.AddrPort
	for peer, at := range a.answered {
		if now-at <= answeredWithin && slices.Contains(managers(*a.state.Restrictions.Isolation), peer) {
			peers = append(peers, peer)
		}
	}
	clear(a.answered)
	if len(peers) == 0 {
		return
	}
	slices.SortFunc(peers, netip.AddrPort.Compare)
	a.confirming = &confirmation{chore: chore{gap: confirmGap, asked: true}, peers: peers, since: now}
}

func (a *Agent) confirmIfDue(now time.Duration) {
	c := a.confirming
	if c == nil || !c.begin(now) {
		return
	}
	if now-c.since >= confirmLimit {
		a.confirming = nil // the computer slept: what is lost now may have been lost later
		a.note("agent", "", actions.IsolateHost.Name, "it could not be seen in time whether management is still reachable; the isolation stays")
		return
	}
	prober := a.cfg.Host.Prober
	a.enqueueIsolate(func(ctx context.Context) func(context.Context) {
		reached := answering(ctx, prober, c.peers, confirmOnce)
		return func(context.Context) { a.confirmed(c, len(reached) > 0) }
	})
}

// confirmed takes up one try. A single one that fails says little.
func (a *Agent) confirmed(c *confirmation, reached bool) {
	if a.confirming != c {
		return
	}
	c.end()
	c.ask()
	c.tries++
	since := a.boot().Uptime - c.since
	switch {
	case reached:
		a.confirming = nil
	case since >= confirmLimit || since < confirmFor || c.tries < confirmTries:
	default:
		a.confirming = nil
		why := unreached(c.peers)
		a.takeBackIsolation("agent", why)
		a.note("stage", "", actions.IsolateHost.Name, "isolation is taken back: "+why)
		if a.ordered != nil {
			a.ordered.takenBack, a.ordered = why, nil
		}
	}
}

// unreached says whom the cut has cut off that it should not have.
func unreached(peers []netip.AddrPort) string {
	names := make([]string, len(peers))
	for i, p := range peers {
		names[i] = peerName(p)
	}
	if len(names) == 1 {
		return names[0] + " answered before the cut and not after it"
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1] + " answered before the cut, and none of them after it"
}

// peerName writes a peer so that it can be read out.
func peerName(p netip.AddrPort) string { return fmt.Sprintf("%s port %d", p.Addr(), p.Port()) }
