package actions

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
)

// IsolateHost cuts the host off from every network but what policy keeps.
var IsolateHost = &Action{
	Name: "isolate-host",
	Doc: "Cuts this computer off from every network, but for the addresses that policy keeps. It goes on working, " +
		"without web, mail and file shares.",
	Kind:       Mitigation,
	Disruptive: true,
	Restrict: func(_ platform.Subject, t Terms) platform.Restrictions {
		isolation := t.Isolation
		return platform.Restrictions{Isolation: &isolation}
	},
	Preview: previewIsolateHost,
	Do:      applyRestrictions,
	Verify:  verifyRestrictions,
	Undo:    dropRestrictions,
}

// previewIsolateHost says whom and what isolation would cut off here, and refuses
// where it would leave the host hanging, stranded, or not cut off at all.
func previewIsolateHost(ctx context.Context, h *platform.Host, o Order) (Preview, error) {
	iso := o.Terms.Isolation
	live, err := h.Connections.Live(ctx, iso)
	steps, costs := isolationSteps(iso, o.Snapshot, live), []string{"web, mail, file shares and everything else on the network do not work"}
	if err != nil {
		costs = append(costs, fmt.Sprintf("it is not known which connections end: %v", err))
	}
	if len(iso.Keep)+len(iso.Users)+len(iso.Units) == 0 {
		costs = append(costs, "nobody can reach this computer over the network: it is released at its own keyboard, or when its time is over")
	}
	if len(iso.Users)+len(iso.Units) > 0 {
		costs = append(costs, "the programs that are kept can connect to anybody, and a program that runs as root can pass for one of them")
	}
	costs = append(costs, notKnown(o.Snapshot)...)
	ways := waysTo(ctx, h.Routes, iso)
	refused, more := judgeWays(ways, iso)
	costs = append(costs, more...)
	if o.Snapshot != nil {
		costs = append(costs, sessionCosts(o.Snapshot.Sessions, iso.Keep, o.Terms.Logins)...)
		hang, more := judgeMounts(o.Snapshot.Network.Mounts, iso.Keep, o.Terms.stateDir())
		refused = append(append(hang, refused...), notReached(o.Snapshot.Network)...)
		costs = append(append(costs, more...), loginCosts(o.Snapshot.Network.Logins)...)
	}
	return Preview{Steps: steps, Costs: costs, Refused: strings.Join(refused, "; ")}, nil
}

// isolationSteps is what is done, in order.
func isolationSteps(iso platform.Isolation, seen *platform.Snapshot, live []platform.Connection) []string {
	var steps []string
	if seen != nil && len(seen.Sessions) > 0 {
		steps = append(steps, "tell who is logged in, before the cut: "+enumerate(usersOf(seen.Sessions), 6))
	}
	steps = append(steps, "cut this computer off from every network, at its own firewall")
	if len(live) > 0 {
		steps = append(steps, connectionsSentence(live))
	}
	if kept := keptSentence(iso); kept != "" {
		steps = append(steps, kept)
	}
	if iso.Lease > 0 {
		steps = append(steps, leaseSentence(iso))
	}
	if iso.Max > 0 {
		return append(steps, fmt.Sprintf("end by itself after %s at the latest", forPeople(iso.Max)))
	}
	return append(steps, "last until it is released")
}

// keptSentence says who stays reachable; "" if nobody does.
func keptSentence(iso platform.Isolation) string {
	var kept []string
	for _, p := range iso.Keep {
		kept = append(kept, peerSentence(p))
	}
	for _, unit := range iso.Units {
		kept = append(kept, "all connections of "+unit)
	}
	for _, uid := range iso.Users {
		kept = append(kept, fmt.Sprintf("all connections of user number %d", uid))
	}
	for _, addr := range iso.Resolvers {
		kept = append(kept, "the name server "+addr.String())
	}
	if iso.DHCP {
		kept = append(kept, "getting a network address")
	}
	if len(kept) == 0 {
		return ""
	}
	return "keep " + enumerate(kept, 8)
}

func peerSentence(p platform.Peer) string {
	network := networkName(p.Network)
	at := "any port"
	switch {
	case p.Port != 0 && p.Protocol != "":
		at = fmt.Sprintf("%s port %d", p.Protocol, p.Port)
	case p.Port != 0:
		at = fmt.Sprintf("port %d", p.Port)
	case p.Protocol != "":
		at = fmt.Sprintf("any %s port", p.Protocol)
	}
	if p.Inbound {
		return fmt.Sprintf("connections from %s to %s of this computer", network, at)
	}
	return fmt.Sprintf("connections to %s of %s", at, network)
}

// networkName writes a network, and one of a single address as that address.
func networkName(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func leaseSentence(iso platform.Isolation) string {
	if iso.Closed {
		return "stay cut off even if the agent stops, until its time is over"
	}
	return fmt.Sprintf("let the network go again if the agent stops for more than %s", forPeople(iso.Lease))
}

// forPeople writes a duration without the units that are zero: "15m", "1h30m".
func forPeople(d time.Duration) string {
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
