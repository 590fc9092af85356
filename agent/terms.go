package agent

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/policy"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// resolveDeadline bounds the look-up of the names an isolated host keeps
// reaching.
const resolveDeadline = 2 * time.Second

// namesEvery is how often the names are looked up again, and namesEveryIsolated
// the same while the host is isolated and can still ask.
const (
	namesEvery         = time.Hour
	namesEveryIsolated = time.Minute
)

// newTerms works out what policy says about how actions are done.
func (a *Agent) newTerms() {
	p := a.policy
	a.terms.Contact = contact(p.Contact)
	a.terms.Protected, a.terms.Allows = policy.Protect(p, a.snapshot), detect.Allows(p, a.snapshot)
	a.terms.Logins, a.terms.StateDir = a.logins(), filepath.Dir(a.cfg.Evidence)
	a.keepKnown()
	a.terms.Isolation.Resolvers = a.resolvers(p)
	a.applied = false
	a.naming.ask()
}

// keepKnown keeps what policy names by address, and what it names by name as far
// as an address is known: a name that was looked up once stays known, or a
// change of policy on an isolated host would cut off whom it cannot look up.
func (a *Agent) keepKnown() {
	iso, names := keep(a.policy.Isolation.Keep)
	for _, k := range names {
		iso.Keep = append(iso.Keep, peersAt(k, a.state.Addresses[k.Name])...)
	}
	rules := a.policy.Isolation
	users, err := keptUsers(rules.Keep)
	a.trouble("users", err)
	iso.Users = users
	iso.Lease, iso.Closed, iso.Max = time.Duration(rules.Lease), rules.OnLeaseEnd == "closed", a.longestIsolation()
	iso.Resolvers = a.terms.Isolation.Resolvers
	a.terms.Isolation, a.terms.WallShut = iso, a.policy.Restrict.Outbound == "keep"
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

// resolveNames looks up in a worker the names that policy keeps. An isolated host
// without a name server goes on with what it knows.
func (a *Agent) resolveNames() {
	_, names := keep(a.policy.Isolation.Keep)
	deaf := a.state.Restrictions.Isolation != nil && len(a.state.Restrictions.Isolation.Resolvers) == 0
	if len(names) == 0 || deaf {
		a.trouble(troubleKeep, a.unknown())
		a.naming.end()
		return
	}
	look := a.cfg.LookUp
	a.enqueueIsolate(func(ctx context.Context) func(context.Context) {
		found := lookUp(ctx, look, names)
		return func(context.Context) {
			a.naming.end()
			a.addAddresses(found)
			a.trouble(troubleKeep, a.unknown())
		}
	})
}

// addAddresses takes up the addresses of names. Those of a name that was not
// found stay as they are.
func (a *Agent) addAddresses(found map[string][]netip.Addr) {
	_, names := keep(a.policy.Isolation.Keep)
	known := map[string][]netip.Addr{}
	for _, k := range names {
		if known[k.Name] = found[k.Name]; known[k.Name] == nil {
			known[k.Name] = a.state.Addresses[k.Name]
		}
	}
	if !maps.EqualFunc(known, a.state.Addresses, slices.Equal[[]netip.Addr]) {
		a.state.Addresses = known
		a.keepState()
		a.keepKnown()
	}
}

// unknownNames are the names that policy keeps and of which no address is known.
func (a *Agent) unknownNames() []configs.Keep {
	_, names := keep(a.policy.Isolation.Keep)
	return slices.DeleteFunc(names, func(k configs.Keep) bool { return len(a.state.Addresses[k.Name]) > 0 })
}

// unknown names the names of which no address is known, as an error.
func (a *Agent) unknown() error {
	var missing []string
	for _, k := range a.unknownNames() {
		missing = append(missing, k.Name)
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("no address is known for %s: an isolated host could not reach it", strings.Join(missing, ", "))
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

// peersAt are the peers that an entry with a name stands for.
func peersAt(k configs.Keep, addrs []netip.Addr) []platform.Peer {
	var out []platform.Peer
	for _, addr := range addrs {
		out = append(out, peer(k, netip.PrefixFrom(addr, addr.BitLen())))
	}
	return out
}

// lookUp returns the addresses of the names, all within the deadline.
func lookUp(ctx context.Context, look func(context.Context, string) ([]netip.Addr, error), names []configs.Keep) map[string][]netip.Addr {
	ctx, cancel := context.WithTimeout(ctx, resolveDeadline)
	defer cancel()
	answers := make([][]netip.Addr, len(names))
	var all sync.WaitGroup
	for i, k := range names {
		all.Go(func() {
			addrs, err := look(ctx, k.Name)
			if err != nil {
				return
			}
			for n := range addrs {
				addrs[n] = addrs[n].Unmap()
			}
			slices.SortFunc(addrs, netip.Addr.Compare)
			answers[i] = slices.Compact(addrs)
		})
	}
	all.Wait()
	found := map[string][]netip.Addr{}
	for i, k := range names {
		if len(answers[i]) > 0 {
			found[k.Name] = answers[i]
		}
	}
	return found
}

// termsFor are the terms for one threat: the deadline of flagged work is that
// of its plan.
func (a *Agent) termsFor(t threat.Threat) actions.Terms {
	terms := a.terms
	terms.By, terms.Shared = policy.Deadline(a.policy, t), policy.StopsShared(a.policy, t)
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
func (a *Agent) logins() []platform.PortRule { return logins(detect.Protected(a.policy, a.snapshot)) }

func logins(protected detect.ProtectedPorts) []platform.PortRule {
	var ports []platform.PortRule
	for _, p := range protected {
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
