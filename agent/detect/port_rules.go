package detect

import (
	"fmt"
	"strings"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// allows tells whether an allow rule names the listener. What is not known of
// its owner matches no rule that asks for it. Nor does what a container says of
// itself: in there, any program can be called /usr/sbin/sshd.
func (c portCourt) allows(rule configs.PortRule, l platform.Listener) bool {
	asksOwner := rule.Process+rule.User+rule.Unit != ""
	contained := inContainer(l) || asksOwner && l.Owner.Container != ""
	return c.names(rule, l) &&
		(!contained || rule.Namespaces == "all") &&
		(rule.Reach == "" || !l.Reach.Wider(platform.Reach(rule.Reach)))
}

// denies tells whether a deny rule names the listener. One that only this
// computer can reach is named by a rule with reach: loopback alone.
func (c portCourt) denies(rule configs.PortRule, l platform.Listener) bool {
	least := platform.ReachLAN
	if rule.Reach != "" {
		least = platform.Reach(rule.Reach)
	}
	return c.names(rule, l) && !least.Wider(l.Reach)
}

// names tells whether a listener matches all the fields that a rule gives,
// beside reach and namespaces.
func (c portCourt) names(rule configs.PortRule, l platform.Listener) bool {
	return rule.Ports.Has(l.Port) &&
		(rule.Protocol == "" || rule.Protocol == string(l.Protocol)) &&
		(rule.OS == "" || rule.OS == c.host) &&
		(rule.Process == "" || c.same(rule.Process, l.Owner.Exe)) &&
		(rule.User == "" || c.same(rule.User, l.Owner.User)) &&
		(rule.Unit == "" || c.same(UnitName(rule.Unit), UnitName(l.Owner.Unit)))
}

// same compares names as the host does: Windows ignores case.
func (c portCourt) same(a, b string) bool {
	if c.host == "windows" {
		return strings.EqualFold(a, b)
	}
	return a == b
}

// UnitName adds the ".service" that people leave out.
func UnitName(unit string) string {
	for _, suffix := range []string{".service", ".socket", ".scope"} {
		if unit == "" || strings.HasSuffix(unit, suffix) {
			return unit
		}
	}
	return unit + ".service"
}

// inContainer tells whether a listener is in a network namespace other than the
// host's. A container that shares the host's network listens on the host.
func inContainer(l platform.Listener) bool { return l.NetNS != "" }

// describeRule says which rule it is: "rule in line 12 (port 23, 445, 5900-5999)".
func describeRule(rule configs.PortRule) string {
	var says []string
	if len(rule.Ports) > 0 {
		says = append(says, "port "+rule.Ports.String())
	}
	for _, field := range []struct{ name, value string }{
		{"protocol", rule.Protocol},
		{"process", rule.Process},
		{"user", rule.User},
		{"unit", rule.Unit},
		{"reach", rule.Reach},
		{"namespaces", rule.Namespaces},
		{"os", rule.OS},
	} {
		if field.value != "" {
			says = append(says, field.name+" "+field.value)
		}
	}
	return fmt.Sprintf("rule in line %d (%s)", rule.Line, strings.Join(says, ", "))
}

// OnThisSystem tells whether a rule is meant for the system that runs on the
// host.
func OnThisSystem(rule configs.PortRule, host platform.Snapshot) bool {
	return rule.OS == "" || rule.OS == systemOf(host)
}
