package actions

import (
	"context"
	"fmt"

	"github.com/firebreak-sec/firebreak/platform"
)

// BlockPort shuts a port at the host's firewall.
var BlockPort = &Action{
	Name: "block-port",
	Doc: "Shuts a port at this computer's firewall. The program behind it keeps running, and connections that are open " +
		"stay open; nobody outside can start a new one.",
	Kind:     Mitigation,
	Restrict: blockedPort,
	Preview:  previewBlockPort,
	Do:       applyRestrictions,
	Verify:   verifyRestrictions,
	Undo:     dropRestrictions,
}

func blockedPort(s platform.Subject, _ Terms) platform.Restrictions {
	if s.Port == nil {
		return platform.Restrictions{}
	}
	return platform.Restrictions{Blocked: []platform.PortRule{portRule(*s.Port)}}
}

func previewBlockPort(_ context.Context, _ *platform.Host, o Order) (Preview, error) {
	if o.Subject.Port == nil {
		return Preview{}, fmt.Errorf("block port: this threat is about no port: %w", ErrCannot)
	}
	port := *o.Subject.Port
	p := Preview{
		Steps: []string{fmt.Sprintf("block %s at the firewall", portRule(port))},
		Costs: []string{fmt.Sprintf("other computers cannot connect to %s on this computer", programName(port))},
	}
	if covers(o.Terms.Protected.Ports, portRule(port)) {
		p.Refused = fmt.Sprintf("%s is a protected port: without it nobody could reach this computer to help", portRule(port))
	}
	return p, nil
}

func portRule(p platform.PortSubject) platform.PortRule {
	return platform.PortRule{Protocol: p.Protocol, First: p.Port, Last: p.Port}
}

// programName names who serves a port, as far as that is known.
func programName(p platform.PortSubject) string {
	switch {
	case p.Process != "":
		return p.Process
	case p.Unit != "":
		return p.Unit
	}
	return "the program on this port"
}

// covers tells whether one of the rules names the port, or a port of the span.
func covers(rules []platform.PortRule, port platform.PortRule) bool {
	for _, r := range rules {
		if (r.Protocol == port.Protocol || r.Protocol == "") && r.First <= port.Last && port.First <= r.Last {
			return true
		}
	}
	return false
}
