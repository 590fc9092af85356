package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/policy"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// resolveDeadline bounds the look-up of the names an isolated host keeps
// reaching. They are looked up when the policy is read: after the cut it would
// be too late.
const resolveDeadline = 2 * time.Second

// newTerms works out what policy says about how actions are done. Names are
// looked up in the worker; until they are known, the addresses that are known
// already stay kept.
func (a *Agent) newTerms(context.Context) {
	p := a.policy
	a.terms.Contact = contact(p.Contact)
	a.terms.Protected, a.terms.Allowed = policy.Protect(p, a.snapshot), policy.Allowed(p)
	kept, names := keep(p.Isolation.Keep)
	a.terms.Isolation = kept
	a.terms.Isolation.Resolvers = a.resolvers(p)
	a.terms.Isolation.Lease = 0
	a.applied = false
	if len(names) == 0 {
		a.trouble("keep", nil)
		return
	}
	a.enqueueLook(func(ctx context.Context) func(context.Context) {
		peers, err := lookUp(ctx, names)
		return func(context.Context) {
			a.trouble("keep", err)
			if a.policy.Revision == p.Revision && a.policy.Name == p.Name {
				a.terms.Isolation.Keep = append(append([]platform.Peer(nil), kept.Keep...), peers...)
			}
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
		case k.Kind == configs.KeepNetwork:
			iso.Keep = append(iso.Keep, peer(k, k.Network))
		}
	}
	return iso, names
}

func peer(k configs.Keep, network netip.Prefix) platform.Peer {
	return platform.Peer{Network: network, Protocol: platform.Protocol(k.Protocol), Port: k.Port, Inbound: k.Inbound}
}

// lookUp resolves the names, all within the deadline.
func lookUp(ctx context.Context, names []configs.Keep) ([]platform.Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveDeadline)
	defer cancel()
	var peers []platform.Peer
	var missing []string
	for _, k := range names {
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", k.Name)
		if err != nil {
			missing = append(missing, k.Name)
			continue
		}
		for _, addr := range addrs {
			addr = addr.Unmap()
			peers = append(peers, peer(k, netip.PrefixFrom(addr, addr.BitLen())))
		}
	}
	if len(missing) > 0 {
		return peers, fmt.Errorf("no address is known for %s: an isolated host could not reach it", strings.Join(missing, ", "))
	}
	return peers, nil
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
		if k.Inbound && k.Network.Contains(peer.Unmap().WithZone("")) {
			return true
		}
	}
	return false
}

// keptNames says who stays reachable, as the policy says it.
func (a *Agent) keptNames() []string {
	if len(a.policy.Isolation.Keep) == 0 {
		return []string{"none"}
	}
	return a.policy.Isolation.Keep
}
