package detect

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// PortExplanation answers why a port is or is not a threat.
type PortExplanation struct {
	Protocol platform.Protocol
	Port     uint16
	Findings []Finding // what listens there now, allowed or not
	// Otherwise is what would be found if a program that is not known listened
	// there and any network could reach it.
	Otherwise Finding
	Protected string // why it is protected; "" if it is not
	steps     string // what the plan of Otherwise does
}

// ExplainPort says what policy makes of a port, whether or not anything listens
// there. An error means that the listeners could not be read.
func ExplainPort(policy configs.Policy, snapshot platform.Snapshot, protocol platform.Protocol, port uint16) (PortExplanation, error) {
	all, err := findOpenPorts(Input{Policy: policy, Snapshot: snapshot})
	if err != nil {
		return PortExplanation{}, err
	}
	court := newPortCourt(policy, snapshot)
	stranger := platform.Listener{Protocol: protocol, Port: port, Address: netip.IPv4Unspecified(), Reach: platform.ReachAny}
	e := PortExplanation{
		Protocol:  protocol,
		Port:      port,
		Otherwise: court.finding(portGroup{key: portKey(stranger), sockets: []platform.Listener{stranger}}),
		Protected: court.protected.Why(protocol, port),
	}
	e.steps = planSteps(policy.Plans[e.Otherwise.Plan])
	for _, f := range all {
		if f.Subject.Port.Protocol == protocol && f.Subject.Port.Port == port {
			e.Findings = append(e.Findings, f)
		}
	}
	return e, nil
}

// Lines tells the explanation in whole sentences, one a line.
func (e PortExplanation) Lines() []string {
	name := fmt.Sprintf("%s port %d", strings.ToUpper(string(e.Protocol)), e.Port)
	var lines []string
	for _, f := range e.Findings {
		lines = append(lines, f.Summary+".", "  "+verdictOn(f)+": "+f.Because+".")
	}
	if len(e.Findings) == 0 {
		lines = append(lines, "Nothing listens on "+name+" now.")
	}
	lines = append(lines, "An unknown program that any network could reach there would be "+verdictOn(e.Otherwise)+": "+e.Otherwise.Because+".")
	if e.Otherwise.Plan != "" {
		lines = append(lines, fmt.Sprintf("Plan %s would answer it: %s.", e.Otherwise.Plan, e.steps))
	}
	if e.Protected != "" {
		lines = append(lines, name+" is protected ("+e.Protected+"): only a rule for this one number with protected: override acts on it.")
	}
	return lines
}

func verdictOn(f Finding) string {
	if f.Allowed {
		return "no threat"
	}
	return fmt.Sprintf("a %s threat", f.Severity)
}

func planSteps(p configs.Plan) string {
	return strings.Join(slices.Concat(p.Mitigate, p.Remediate), ", ")
}

// WouldShut returns the open ports that the policy would shut now, at the
// firewall or at their owner, if it were enforced: approval and windows are
// taken as given, plans that stay in audit are not counted.
func WouldShut(policy configs.Policy, snapshot platform.Snapshot) ([]Finding, error) {
	all, err := findOpenPorts(Input{Policy: policy, Snapshot: snapshot})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(f Finding) bool {
		plan := policy.Plans[f.Plan]
		shuts := slices.Contains(plan.Mitigate, "block-port") || slices.Contains(plan.Remediate, "close-port")
		return f.Allowed || !shuts || plan.Mode == configs.Audit && policy.Mode == configs.Enforce
	}), nil
}

// Allows returns a function that tells whether a rule of the policy allows a listener
// on that host. What only the default lets be, or loopback, is allowed by none.
func Allows(policy configs.Policy, snapshot platform.Snapshot) func(platform.Listener) bool {
	court := newPortCourt(policy, snapshot)
	return func(l platform.Listener) bool {
		return slices.ContainsFunc(court.rules.Allow, func(r configs.PortRule) bool { return court.allows(r, l) })
	}
}
