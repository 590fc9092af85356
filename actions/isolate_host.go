package actions

import (
	"context"
	"fmt"
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

func previewIsolateHost(_ context.Context, _ *platform.Host, o Order) (Preview, error) {
	iso := o.Terms.Isolation
	steps := []string{"cut this computer off from every network, at its own firewall"}
	kept := keptSentence(iso)
	if kept != "" {
		steps = append(steps, kept)
	}
	if iso.Lease > 0 {
		steps = append(steps, leaseSentence(iso))
	}
	return Preview{Steps: steps, Costs: []string{"web, mail, file shares and everything else on the network do not work"}}, nil
}

// keptSentence says who stays reachable; "" if nobody does.
func keptSentence(iso platform.Isolation) string {
	var kept []string
	for _, p := range iso.Keep {
		kept = append(kept, peerSentence(p))
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
	return "keep " + strings.Join(kept, ", ")
}

func peerSentence(p platform.Peer) string {
	network := p.Network.String()
	if p.Network.IsSingleIP() {
		network = p.Network.Addr().String()
	}
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
	return fmt.Sprintf("connections to %s, %s", network, at)
}

func leaseSentence(iso platform.Isolation) string {
	if iso.Closed {
		return fmt.Sprintf("stay cut off, even if the agent stops for more than %s", forPeople(iso.Lease))
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
