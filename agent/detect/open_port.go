package detect

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// OpenPort finds listeners that policy does not allow. Listeners that it looked
// at and that are no threat are returned as well, with Allowed set.
var OpenPort = &Detector{
	Name:  "open-port",
	Doc:   "Finds ports that others can reach and that policy does not allow.",
	Parts: platform.Parts{platform.PartListeners, platform.PartOwners},
	Find:  findOpenPorts,
}

// findOpenPorts makes one finding of all sockets of one owner on one port, in
// the order of protocol, port and key, whatever the order of the snapshot.
func findOpenPorts(in Input) ([]Finding, error) {
	if err := in.Snapshot.Missing(platform.PartListeners); err != nil {
		return nil, fmt.Errorf("look for open ports: %w", err)
	}
	court := newPortCourt(in.Policy, in.Snapshot)
	findings := []Finding{}
	for _, group := range groupListeners(in.Snapshot) {
		findings = append(findings, court.finding(group))
	}
	return findings, nil
}

// portCourt judges listeners by one policy on one host.
type portCourt struct {
	rules     configs.Ports
	host      string // linux | windows
	protected ProtectedPorts
}

func newPortCourt(policy configs.Policy, snapshot platform.Snapshot) portCourt {
	return portCourt{rules: policy.Ports, host: systemOf(snapshot), protected: Protected(policy, snapshot)}
}

// systemOf says which system a snapshot is of, in the words of a policy.
func systemOf(s platform.Snapshot) string {
	if s.OS.ID == "windows" {
		return "windows"
	}
	return "linux"
}

// finding judges every socket of a group; the worst ruling is the group's.
func (c portCourt) finding(group portGroup) Finding {
	worst := slices.MaxFunc(c.rulings(group.sockets), ruling.compare)
	subject := group.subject()
	return Finding{
		Detector: "open-port",
		Key:      group.key,
		Subject:  platform.Subject{Port: &subject},
		Severity: worst.severity,
		Summary:  portSummary(subject),
		Plan:     worst.plan,
		Because:  worst.because,
		Allowed:  worst.allowed,
		Unlisted: worst.unlisted,
		Unsure:   slices.ContainsFunc(group.sockets, func(l platform.Listener) bool { return l.Forward == "" && isHidden(l.Owner) }),
	}
}

func (c portCourt) rulings(sockets []platform.Listener) []ruling {
	var all []ruling
	for _, l := range sockets {
		all = append(all, c.judge(l))
	}
	return all
}

// ruling is what policy says of one listener.
type ruling struct {
	allowed  bool
	unlisted bool // no rule names it: judged by ports.default
	severity configs.Severity
	plan     string
	because  string
}

// compare orders rulings from the mildest to the one that counts.
func (j ruling) compare(other ruling) int {
	return cmp.Or(
		compareBool(!j.allowed, !other.allowed),
		compareSeverity(j.severity, other.severity),
		compareBool(j.plan != "", other.plan != ""),
		compareBool(!j.unlisted, !other.unlisted),
		cmp.Compare(other.because, j.because),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func compareSeverity(a, b configs.Severity) int {
	return cmp.Compare(slices.Index(configs.Severities, a), slices.Index(configs.Severities, b))
}

// judge applies the policy to one listener: allow beats deny, and what neither
// names is judged by the default, unless only this computer can reach it.
func (c portCourt) judge(l platform.Listener) ruling {
	for _, rule := range c.rules.Allow {
		if c.allows(rule, l) {
			return ruling{allowed: true, because: "allow " + describeRule(rule)}
		}
	}
	if rule, ok := c.denying(l); ok {
		return c.answer(l, rule, "deny "+describeRule(rule))
	}
	if l.Reach == platform.ReachLoopback {
		return ruling{allowed: true, because: "only this computer can reach it"}
	}
	rest := configs.PortRule{Severity: c.rules.Default.Severity, Plan: c.rules.Default.Plan}
	j := c.answer(l, rest, "no rule names it (ports.default)")
	j.unlisted = true
	return j
}

// denying returns the deny rule that counts: on a protected port one that
// overrides the protection, else the most severe, else one with a plan, else the
// first.
func (c portCourt) denying(l platform.Listener) (configs.PortRule, bool) {
	var best configs.PortRule
	found := false
	for _, rule := range c.rules.Deny {
		if !c.denies(rule, l) {
			continue
		}
		stronger := cmp.Or(
			compareBool(c.overrides(rule, l), c.overrides(best, l)),
			compareSeverity(rule.Severity, best.Severity),
			compareBool(rule.Plan != "", best.Plan != ""),
		) > 0
		if !found || stronger {
			best, found = rule, true
		}
	}
	return best, found
}

func (c portCourt) overrides(rule configs.PortRule, l platform.Listener) bool {
	return rule.Protected == "override" && c.protected.Why(l.Protocol, l.Port) != ""
}

// answer is a ruling with the plan taken away where no plan may act: on a
// protected port, and in the network namespace of a container unless the rule
// reaches in there.
func (c portCourt) answer(l platform.Listener, rule configs.PortRule, because string) ruling {
	j := ruling{severity: rule.Severity, plan: rule.Plan, because: because}
	why := c.protected.Why(l.Protocol, l.Port)
	switch {
	case inContainer(l) && rule.Namespaces != "all":
		j.plan, j.because = "", because+"; it is inside a container, so it is only reported"
	case why != "" && rule.Protected != "override":
		j.plan, j.because = "", because+"; the port is protected ("+why+"), so it is only reported"
	}
	return j
}
