package agent

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/policy"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// resolveDeadline bounds the look-up of the names an isolated host keeps
// reaching. They are looked up when the policy is read: after the cut it would
// be too late.
const resolveDeadline = 2 * time.Second

// newTerms works out what policy says about how actions are done.
func (a *Agent) newTerms() {
	p := a.policy
	a.terms.Contact = contact(p.Contact)
	a.terms.Protected, a.terms.Allowed = policy.Protect(p, a.snapshot), policy.Allowed(p)
	a.terms.Logins, a.terms.StateDir = a.logins(), filepath.Dir(a.cfg.Evidence)
	a.keepKnown()
	a.terms.Isolation.Resolvers = a.resolvers(p)
	a.applied = false
	a.resolveNames()
}

// keepKnown keeps what policy names by address, and what it names by name as far
// as an address is known: a name that was looked up once stays known, or a
// change of policy on an isolated host would cut off whom it cannot look up.
func (a *Agent) keepKnown() {
	iso, names := keep(a.policy.Isolation.Keep)
	for _, k := range names {
		for _, addr := range a.state.Addresses[k.Name] {
			iso.Keep = append(iso.Keep, peer(k, netip.PrefixFrom(addr, addr.BitLen())))
		}
	}
	rules := a.policy.Isolation
	users, err := keptUsers(rules.Keep)
	a.trouble("users", err)
	iso.Users = users
	iso.Lease, iso.Closed, iso.Max = time.Duration(rules.Lease), rules.OnLeaseEnd == "closed", time.Duration(rules.Max)
	iso.Resolvers = a.terms.Isolation.Resolvers
	a.terms.Isolation = iso
}

// keptUsers are the numbers of the users that policy keeps. Who is not known here
// is left out, and so is a second name of root, whose every service would be kept.
func keptUsers(list []string) ([]uint32, error) {
	var ids []uint32
	var wrong []string
	for _, text := range list {
		k, err := configs.ParseKeep(text)
		if err != nil || k.Kind != configs.KeepUser {
			continue
		}
		id, err := platform.UserID(k.Name)
		switch {
		case err != nil:
			wrong = append(wrong, err.Error())
		case id == 0:
			wrong = append(wrong, k.Name+" is another name of root")
		default:
			ids = append(ids, id)
		}
	}
	if len(wrong) > 0 {
		return ids, fmt.Errorf("an isolated host could not keep a user that policy names: %s", strings.Join(wrong, "; "))
	}
	return ids, nil
}

// resolveNames looks up in the worker the names that policy keeps.
func (a *Agent) resolveNames() {
	_, names := keep(a.policy.Isolation.Keep)
	a.trouble(troubleKeep, nil)
	if len(names) == 0 {
		return
	}
	a.enqueueLook(func(ctx context.Context) func(context.Context) {
		found, err := lookUp(ctx, names)
		return func(context.Context) {
			a.trouble(troubleKeep, err)
			known := map[string][]netip.Addr{}
			for _, k := range names {
				if known[k.Name] = found[k.Name]; known[k.Name] == nil {
					known[k.Name] = a.state.Addresses[k.Name]
				}
			}
			if !maps.EqualFunc(known, a.state.Addresses, slices.Equal[[]netip.Addr]) {
				a.state.Addresses = known
				a.keepState()
			}
			a.keepKnown()
		}
	})
}

func (a *Agent) resolvers(p configs.Policy) []netip.Addr {
	if slices.Contains(p.Isolation.Keep, string(configs.KeepDNS)) {
		return platform.Resolvers()
	}
	return nil
}

func contact(c configs.Contact) string {
	switch {
	case c.Phone == "" && c.Text == "":
		return ""
	case c.Phone == "":
		return "Ask " + c.Text + "."
	case c.Text == "":
		return "Call " + c.Phone + "."
	}
	return "Call " + c.Text + ", " + c.Phone + "."
}

// keep turns the policy's list into addresses, and into names still to be
// looked up.
func keep(list []string) (platform.Isolation, []configs.Keep) {
	var iso platform.Isolation
	var names []configs.Keep
	for _, text := range list {
		k, err := configs.ParseKeep(text)
		switch {
		case err != nil: // a policy with an error in it is never in force
		case k.Kind == configs.KeepDHCP:
			iso.DHCP = true
		case k.Kind == configs.KeepName:
			names = append(names, k)
		case k.Kind == configs.KeepUnit:
			iso.Units = append(iso.Units, k.Name)
		case k.Kind == configs.KeepNetwork:
			iso.Keep = append(iso.Keep, peer(k, k.Network))
		}
	}
	return iso, names
}

func peer(k configs.Keep, network netip.Prefix) platform.Peer {
	return platform.Peer{Network: network, Protocol: platform.Protocol(k.Protocol), Port: k.Port, Inbound: k.Inbound}
}

// lookUp returns the addresses of the names, all within the deadline.
func lookUp(ctx context.Context, names []configs.Keep) (map[string][]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveDeadline)
	defer cancel()
	found := map[string][]netip.Addr{}
	var missing []string
	for _, k := range names {
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", k.Name)
		if err != nil {
			missing = append(missing, k.Name)
			continue
		}
		for i := range addrs {
			addrs[i] = addrs[i].Unmap()
		}
		slices.SortFunc(addrs, netip.Addr.Compare)
		found[k.Name] = slices.Compact(addrs)
	}
	if len(missing) > 0 {
		return found, fmt.Errorf("no address is known for %s: an isolated host could not reach it", strings.Join(missing, ", "))
	}
	return found, nil
}

// termsFor are the terms for one threat: the deadline of flagged work is that
// of its plan.
func (a *Agent) termsFor(t threat.Threat) actions.Terms {
	terms := a.terms
	terms.By = policy.Deadline(a.policy, t)
	return terms
}

// kept tells whether a peer keeps its connection when the host is isolated.
func (a *Agent) kept(addr string) bool {
	peer, err := netip.ParseAddr(addr)
	if err != nil {
		return false
	}
	for _, k := range a.terms.Isolation.Keep {
		if k.Inbound && k.Network.Contains(peer.Unmap().WithZone("")) && a.remoteLogin(k.Port) {
			return true
		}
	}
	return false
}

// remoteLogin tells whether people log in to this host on a port; 0 is any port.
func (a *Agent) remoteLogin(port uint16) bool {
	return port == 0 || slices.ContainsFunc(a.logins(), func(r platform.PortRule) bool {
		return r.First <= port && port <= r.Last
	})
}

// logins are the ports at which people log in to this host from afar.
func (a *Agent) logins() []platform.PortRule {
	var ports []platform.PortRule
	for _, p := range detect.Protected(a.policy, a.snapshot) {
		if p.Why == "SSH" || p.Why == "RDP" {
			ports = append(ports, p.PortRule)
		}
	}
	return ports
}

// keptNames says who stays reachable, as the policy says it. What the policy
// keeps and this host does not have (a hub it is enrolled with, a name server)
// is not told as reachable.
func (a *Agent) keptNames() []string {
	names := slices.DeleteFunc(slices.Clone(a.policy.Isolation.Keep), func(text string) bool {
		k, err := configs.ParseKeep(text)
		return err != nil || k.Kind == configs.KeepHub || k.Kind == configs.KeepDNS && len(a.terms.Isolation.Resolvers) == 0
	})
	if len(names) == 0 {
		return []string{"none"}
	}
	return names
}
