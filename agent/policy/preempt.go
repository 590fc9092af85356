package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// Preempt returns what policy shuts before anything listens there: the ports that
// are blocked at the firewall, and those that no program may open. Nothing in
// audit, and nothing while paused.
//
// Neither is more than policy says of a listener: what an allow rule lets open, or
// a person, is left open. Whoever may open a port that is blocked finds it open as
// soon as he is seen to listen there and nobody else does.
//
// Where SSH listens is known from a look: before one, and after one that failed,
// nothing is shut that was not before.
func Preempt(p configs.Policy, threats []threat.Threat, f Facts) (blocked []platform.PortRule, binds []platform.BindRule) {
	if p.Mode != configs.Enforce || f.Paused {
		return nil, nil
	}
	open := leftOpen(p, threats, f)
	deny := preempted(p, f, "bind", open)
	blocked = preempted(p, f, "block", open)
	// What the bind itself cannot be told of is blocked instead.
	blocked = append(blocked, within(deny, append(ofAnybody(p, f, "lan"), f.Undeniable...))...)
	deny = cut(deny, append(ofAnybody(p, f, "lan"), f.Undeniable...))
	if len(blocked) > 0 {
		blocked = cut(blocked, allowedNow(p, f.Host))
	}
	if f.Host.Taken.IsZero() || f.Host.Missing(platform.PartListeners) != nil {
		blocked = within(blocked, f.InForce.Blocked)
		deny = within(deny, portsOf(f.Denied))
	}
	return blocked, excepted(p, f, deny)
}

// preempted are the ports of the rules that preempt in one way. A rule that does
// not say so for its one port never shuts a protected one; and a port whose owner
// could not be seen may be SSH's.
func preempted(p configs.Policy, f Facts, how string, open []platform.PortRule) []platform.PortRule {
	var protected []platform.PortRule
	for _, x := range detect.Protected(p, f.Host) {
		protected = append(protected, x.PortRule)
	}
	for _, l := range f.Host.Listeners {
		if o := l.Owner; o.Unit == "" && o.Exe == "" && !o.Kernel {
			protected = append(protected, platform.PortRule{Protocol: l.Protocol, First: l.Port, Last: l.Port})
		}
	}
	var out []platform.PortRule
	for _, r := range p.Ports.Deny {
		plan, ok := p.Plans[r.Plan]
		if r.Preempt != how || !ok || plan.Mode == configs.Audit || !detect.OnThisSystem(r, f.Host) {
			continue
		}
		rules := portsNamed(r.Ports, r.Protocol)
		if r.Protected != "override" {
			rules = cut(rules, protected)
		}
		out = append(out, cut(rules, open)...)
	}
	return out
}

// leftOpen are the ports that policy lets anybody open, and those that a person
// or the policy has decided to leave open for now.
func leftOpen(p configs.Policy, threats []threat.Threat, f Facts) []platform.PortRule {
	open := append(ofAnybody(p, f, ""), ofAnybody(p, f, "any")...)
	for _, e := range p.Except {
		if aboutPorts(e, f) && e.Process == "" {
			open = append(open, portsNamed(e.Ports, e.Protocol)...)
		}
	}
	for _, t := range threats {
		port := t.Subject.Port
		if port != nil && (t.Stage == threat.Excepted || t.HoldOff != nil) {
			open = append(open, platform.PortRule{Protocol: port.Protocol, First: port.Port, Last: port.Port})
		}
	}
	return open
}

// ofAnybody are the ports that an allow rule of that reach names by number alone.
func ofAnybody(p configs.Policy, f Facts, reach string) []platform.PortRule {
	var out []platform.PortRule
	for _, r := range p.Ports.Allow {
		if r.Process+r.User+r.Unit == "" && r.Reach == reach && detect.OnThisSystem(r, f.Host) {
			out = append(out, portsNamed(r.Ports, r.Protocol)...)
		}
	}
	return out
}

// aboutPorts tells whether an exception of the policy is about ports, and still
// holds.
func aboutPorts(e configs.Exception, f Facts) bool {
	return (e.Detector == "" || e.Detector == detect.OpenPort.Name) && len(e.Ports)+len(e.Process) > 0 &&
		f.Now.Before(e.Until.End(f.Now.Location()))
}

// allowedNow are the ports at which somebody listens for others whom an allow rule
// names, and nobody else does.
func allowedNow(p configs.Policy, host platform.Snapshot) []platform.PortRule {
	found, err := detect.OpenPort.Find(detect.Input{Policy: p, Snapshot: host})
	if err != nil {
		return nil // the listeners are a gap: nothing is known of them
	}
	var allowed, not []platform.PortRule
	for _, x := range found {
		port := x.Subject.Port
		at := platform.PortRule{Protocol: port.Protocol, First: port.Port, Last: port.Port}
		switch {
		case port.NetNS != "" || x.Allowed && port.Reach == platform.ReachLoopback:
		case x.Allowed:
			allowed = append(allowed, at)
		default:
			not = append(not, at)
		}
	}
	return cut(allowed, not)
}

// excepted are the rules for ports, with those who may open them all the same: the
// allow rules, and the exceptions of the policy, that name a program.
func excepted(p configs.Policy, f Facts, ports []platform.PortRule) []platform.BindRule {
	type named struct {
		ports []platform.PortRule
		who   platform.BindException
	}
	var all []named
	for _, r := range p.Ports.Allow {
		who := platform.BindException{Exe: r.Process, User: r.User, Unit: detect.UnitName(r.Unit)}
		if who != (platform.BindException{}) && r.Reach != "loopback" && detect.OnThisSystem(r, f.Host) {
			all = append(all, named{portsNamed(r.Ports, r.Protocol), who})
		}
	}
	for _, e := range p.Except {
		if aboutPorts(e, f) && e.Process != "" {
			all = append(all, named{portsNamed(e.Ports, e.Protocol), platform.BindException{Exe: e.Process}})
		}
	}
	var out []platform.BindRule
	for _, r := range (platform.Restrictions{Blocked: ports}).Normal().Blocked {
		parts := []platform.BindRule{{PortRule: r}}
		for _, x := range all {
			var next []platform.BindRule
			for _, part := range parts {
				for _, same := range within([]platform.PortRule{part.PortRule}, x.ports) {
					except := part.Except
					if !slices.Contains(except, x.who) {
						except = append(slices.Clone(except), x.who)
					}
					next = append(next, platform.BindRule{PortRule: same, Except: except})
				}
				for _, rest := range without(part.PortRule, x.ports) {
					next = append(next, platform.BindRule{PortRule: rest, Except: part.Except})
				}
			}
			parts = next
		}
		out = append(out, parts...)
	}
	return inOrder(out)
}

// inOrder sorts rules and their exceptions, and joins those that are next to each
// other and except the same.
func inOrder(rules []platform.BindRule) []platform.BindRule {
	for i := range rules {
		slices.SortFunc(rules[i].Except, func(a, b platform.BindException) int {
			return cmp.Or(strings.Compare(a.Exe, b.Exe), strings.Compare(a.User, b.User), strings.Compare(a.Unit, b.Unit))
		})
	}
	slices.SortFunc(rules, func(a, b platform.BindRule) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.First, b.First))
	})
	var out []platform.BindRule
	for _, r := range rules {
		if n := len(out); n > 0 && out[n-1].Protocol == r.Protocol && int(out[n-1].Last)+1 == int(r.First) &&
			slices.Equal(out[n-1].Except, r.Except) {
			out[n-1].Last = r.Last
			continue
		}
		out = append(out, r)
	}
	return out
}

// portsNamed are the ports that a rule names; all of them if it names none.
func portsNamed(set configs.PortSet, protocol string) []platform.PortRule {
	if len(set) == 0 {
		set = configs.PortSet{{First: 1, Last: 65535}}
	}
	var out []platform.PortRule
	for _, span := range set {
		for _, proto := range protocols(protocol) {
			out = append(out, platform.PortRule{Protocol: proto, First: span.First, Last: span.Last})
		}
	}
	return (platform.Restrictions{Blocked: out}).Normal().Blocked
}

func portsOf(rules []platform.BindRule) []platform.PortRule {
	var out []platform.PortRule
	for _, r := range rules {
		out = append(out, r.PortRule)
	}
	return out
}

// cut returns the parts of rules that hold no port of others.
func cut(rules, others []platform.PortRule) []platform.PortRule {
	var out []platform.PortRule
	for _, r := range rules {
		out = append(out, without(r, others)...)
	}
	return out
}

// without returns the parts of rule that hold no port of others.
func without(rule platform.PortRule, others []platform.PortRule) []platform.PortRule {
	parts := []platform.PortRule{rule}
	for _, x := range others {
		var left []platform.PortRule
		for _, r := range parts {
			if x.Protocol != r.Protocol || x.Last < r.First || r.Last < x.First {
				left = append(left, r)
				continue
			}
			if r.First < x.First {
				left = append(left, platform.PortRule{Protocol: r.Protocol, First: r.First, Last: x.First - 1})
			}
			if x.Last < r.Last {
				left = append(left, platform.PortRule{Protocol: r.Protocol, First: x.Last + 1, Last: r.Last})
			}
		}
		parts = left
	}
	return parts
}
