package detect

import (
	"cmp"
	"slices"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// ProtectedPort is a span of ports that no plan acts on by a range or by the
// default: only a rule for one single number, with protected: override, does.
type ProtectedPort struct {
	platform.PortRule
	Why string // "SSH", for people
}

// ProtectedPorts are all protected ports of a host.
type ProtectedPorts []ProtectedPort

// alwaysProtected are ports whose loss locks people out, whether or not anybody
// is logged in through them now.
var alwaysProtected = ProtectedPorts{
	{platform.PortRule{Protocol: platform.TCP, First: 22, Last: 22}, "SSH"},
	{platform.PortRule{Protocol: platform.TCP, First: 3389, Last: 3389}, "RDP"},
	{platform.PortRule{Protocol: platform.UDP, First: 3389, Last: 3389}, "RDP"},
	{platform.PortRule{Protocol: platform.UDP, First: 68, Last: 68}, "DHCP client"},
	{platform.PortRule{Protocol: platform.UDP, First: 546, Last: 546}, "DHCP client"},
}

// Protected returns the protected ports of a host: the built-in ones, those on
// which its SSH server really listens, those that stay open to somebody while it
// is isolated (the management path), and those that policy names. In order,
// each once.
func Protected(policy configs.Policy, snapshot platform.Snapshot) ProtectedPorts {
	all := slices.Clone(alwaysProtected)
	for _, l := range snapshot.Listeners {
		if isSSH(l) {
			all = append(all, protect(l.Protocol, l.Port, l.Port, "SSH"))
		}
	}
	for _, text := range policy.Isolation.Keep {
		keep, err := configs.ParseKeep(text)
		if err == nil && keep.Inbound && keep.Port != 0 {
			all = append(all, protect(platform.Protocol(keep.Protocol), keep.Port, keep.Port, "management path"))
		}
	}
	for _, span := range policy.Protect.Ports {
		all = append(all,
			protect(platform.TCP, span.First, span.Last, "by policy"),
			protect(platform.UDP, span.First, span.Last, "by policy"))
	}
	slices.SortFunc(all, func(a, b ProtectedPort) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.First, b.First),
			cmp.Compare(a.Last, b.Last), cmp.Compare(a.Why, b.Why))
	})
	return slices.Compact(all)
}

func protect(protocol platform.Protocol, first, last uint16, why string) ProtectedPort {
	return ProtectedPort{platform.PortRule{Protocol: protocol, First: first, Last: last}, why}
}

// isSSH tells whether the listener is the host's SSH server. Its path and its
// unit need root to be forged; the name of a process does not, so that one does
// not count.
func isSSH(l platform.Listener) bool {
	if l.Protocol != platform.TCP || inContainer(l) || l.Owner.Container != "" {
		return false
	}
	return slices.Contains(sshServers, l.Owner.Exe) || slices.Contains(sshUnits, l.Owner.Unit)
}

var (
	sshServers = []string{
		"/usr/sbin/sshd", "/usr/bin/sshd", "/usr/sbin/dropbear",
		`C:\Windows\System32\OpenSSH\sshd.exe`,
	}
	sshUnits = []string{"ssh.service", "ssh.socket", "sshd.service", "sshd.socket", "dropbear.service"}
)

// Why says why a port is protected; "" if it is not.
func (ps ProtectedPorts) Why(protocol platform.Protocol, port uint16) string {
	for _, p := range ps {
		if p.Protocol == protocol && p.First <= port && port <= p.Last {
			return p.Why
		}
	}
	return ""
}

// Guarded returns the ports that an action must refuse under this policy: all
// protected ones but those that a deny rule overrides.
func (ps ProtectedPorts) Guarded(policy configs.Policy) []platform.PortRule {
	var guarded []platform.PortRule
	for _, p := range ps {
		guarded = append(guarded, p.PortRule)
	}
	for _, rule := range policy.Ports.Deny {
		if rule.Protected == "override" && rule.Ports.Single() {
			guarded = cutOut(guarded, rule.Ports[0].First, platform.Protocol(rule.Protocol))
		}
	}
	return guarded
}

// cutOut takes one port out of the spans; protocol "" is both.
func cutOut(spans []platform.PortRule, port uint16, protocol platform.Protocol) []platform.PortRule {
	var left []platform.PortRule
	for _, s := range spans {
		if port < s.First || s.Last < port || protocol != "" && protocol != s.Protocol {
			left = append(left, s)
			continue
		}
		if s.First < port {
			left = append(left, platform.PortRule{Protocol: s.Protocol, First: s.First, Last: port - 1})
		}
		if port < s.Last {
			left = append(left, platform.PortRule{Protocol: s.Protocol, First: port + 1, Last: s.Last})
		}
	}
	return left
}
