package platformtest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/platform"
)

// Listen describes a socket for AddService and its like: "*:445" is every
// address of both families, else an address and a port, "127.0.0.1:5432".
func Listen(protocol platform.Protocol, at string) platform.Listener {
	l := platform.Listener{Protocol: protocol}
	if port, ok := strings.CutPrefix(at, "*:"); ok {
		at, l.DualStack = "[::]:"+port, true
	}
	ap := netip.MustParseAddrPort(at)
	l.Address, l.Port = ap.Addr(), ap.Port()
	switch {
	case l.Address.IsLoopback():
		l.Reach = platform.ReachLoopback
	case l.Address.IsPrivate(), l.Address.IsLinkLocalUnicast():
		l.Reach = platform.ReachLAN
	default:
		l.Reach = platform.ReachAny
	}
	return l
}

// SetInForce changes the agent's restrictions behind its back, as somebody with
// the nft tool could.
func (m *Machine) SetInForce(r platform.Restrictions) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inForce = r
}

// InForce returns the restrictions the machine has.
func (m *Machine) InForce() platform.Restrictions {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inForce.Normal()
}

func covered(rules []platform.PortRule, protocol platform.Protocol, port uint16) bool {
	return slices.ContainsFunc(rules, func(r platform.PortRule) bool {
		return (r.Protocol == protocol || r.Protocol == "") && r.First <= port && port <= r.Last
	})
}

type firewall struct{ m *Machine }

func (f firewall) Apply(_ context.Context, want platform.Restrictions) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.called("Firewall.Apply", described(want)); err != nil {
		return err
	}
	f.m.inForce = want.Normal()
	return nil
}

func (f firewall) InForce(context.Context) (platform.Restrictions, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.called("Firewall.InForce", nil); err != nil {
		return platform.Restrictions{}, err
	}
	return f.m.inForce.Normal(), nil
}

// described says restrictions in a few words, for Calls.
func described(r platform.Restrictions) string {
	if r.Zero() {
		return "nothing"
	}
	var words []string
	if r.Isolation != nil {
		words = append(words, "isolated")
	}
	for _, p := range r.Normal().Blocked {
		words = append(words, fmt.Sprintf("block %s %d-%d", p.Protocol, p.First, p.Last))
	}
	for _, p := range r.Normal().Denied {
		words = append(words, fmt.Sprintf("deny %s %d-%d", p.Protocol, p.First, p.Last))
	}
	return strings.Join(words, ", ")
}

type prober struct{ m *Machine }

// Inbound finds the listener that a stranger would reach. A socket unit that is
// reached starts its service.
func (p prober) Inbound(_ context.Context, protocol platform.Protocol, to netip.AddrPort) (platform.Answer, error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if err := p.m.called("Prober.Inbound", nil); err != nil {
		return "", err
	}
	if p.m.inForce.Isolation != nil || covered(p.m.inForce.Blocked, protocol, to.Port()) {
		return platform.Silent, nil
	}
	for _, l := range p.m.listeners() {
		if l.Protocol != protocol || l.Port != to.Port() || !takes(l, to.Addr()) {
			continue
		}
		if socket := p.m.unit(l.Owner.Unit); socket != nil && socket.starts != "" {
			p.m.start(p.m.unit(socket.starts))
		}
		return platform.Answered, nil
	}
	return platform.Refused, nil
}

// takes tells whether a socket takes what is sent to an address of the host.
func takes(l platform.Listener, to netip.Addr) bool {
	if l.Address.IsUnspecified() {
		return l.DualStack || l.Address.Is4() == to.Is4()
	}
	return l.Address.WithZone("") == to.WithZone("") && !l.Address.IsLoopback()
}

func (p prober) Outbound(context.Context, bool) (platform.Answer, error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if err := p.m.called("Prober.Outbound", nil); err != nil {
		return "", err
	}
	if p.m.inForce.Isolation != nil {
		return platform.Silent, nil
	}
	return platform.Answered, nil
}

// Connect reaches every peer, but only those that are kept while isolated. An
// unspecified address is the machine itself, where no restriction is in the way.
func (p prober) Connect(_ context.Context, to netip.AddrPort) (platform.Answer, error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if err := p.m.called("Prober.Connect", nil); err != nil {
		return "", err
	}
	if to.Addr().IsUnspecified() {
		for _, l := range p.m.listeners() {
			if l.Protocol == platform.TCP && l.Port == to.Port() {
				return platform.Answered, nil
			}
		}
		return platform.Refused, nil
	}
	if iso := p.m.inForce.Isolation; iso != nil && !slices.ContainsFunc(iso.Keep, func(k platform.Peer) bool {
		return !k.Inbound && k.Network.Contains(to.Addr()) && (k.Port == 0 || k.Port == to.Port())
	}) {
		return platform.Silent, nil
	}
	return platform.Answered, nil
}
