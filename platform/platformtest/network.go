package platformtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

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
	m.tell(platform.PartRestrictions, "table firebreak was changed")
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
	if f.m.isolation() == nil && want.Isolation != nil {
		f.m.left, f.m.leaseAt = want.Isolation.Until(), f.m.thisBoot().Uptime
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
	got := f.m.inForce.Normal()
	got.Isolation = f.m.isolation()
	return got, nil
}

func (f firewall) Renew(_ context.Context, left time.Duration) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.called("Firewall.Renew", nil); err != nil {
		return err
	}
	if f.m.isolation() == nil {
		return errors.New("renew lease: this computer is not isolated")
	}
	f.m.left, f.m.leaseAt = left, f.m.thisBoot().Uptime
	return nil
}

func (f firewall) Standing(context.Context) (platform.Standing, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.called("Firewall.Standing", nil); err != nil {
		return platform.Standing{}, err
	}
	if f.m.isolation() == nil {
		return platform.Standing{}, nil
	}
	s := platform.Standing{Dropped: f.m.dropped, Lacks: slices.Clone(f.m.lacks)}
	if f.m.left > 0 {
		s.Left = f.m.left - (f.m.thisBoot().Uptime - f.m.leaseAt)
	}
	return s, nil
}

// isolation is the one in force; nil if there is none or its lease has ended.
func (m *Machine) isolation() *platform.Isolation {
	iso := m.inForce.Isolation
	if iso != nil && m.left > 0 && m.thisBoot().Uptime-m.leaseAt >= m.left {
		return nil
	}
	return iso
}

// SetLacks says what the machine's kernel cannot do for an isolation.
func (m *Machine) SetLacks(lacks ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lacks = lacks
}

// SetUncounted makes what the firewall drops pass its counters by.
func (m *Machine) SetUncounted(uncounted bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.uncounted = uncounted
}

// peerAnswers are what a peer answers; "" is what the machine says by itself.
type peerAnswers struct{ open, isolated platform.Answer }

// SetPeer says what a peer answers while the machine is not isolated, and while
// it is and keeps the peer.
func (m *Machine) SetPeer(at netip.AddrPort, open, isolated platform.Answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.peers == nil {
		m.peers = map[netip.AddrPort]peerAnswers{}
	}
	m.peers[at] = peerAnswers{open, isolated}
}

// walled counts one more packet that the firewall dropped.
func (m *Machine) walled() platform.Answer {
	if !m.uncounted {
		m.dropped++
	}
	return platform.Silent
}

// SetNetwork says what isolating the machine depends on.
func (m *Machine) SetNetwork(n platform.Network) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.network = n
	m.tell(platform.PartNetwork, "the network changed")
}

// SetRoute says which way packets to a network leave the machine; a route over
// no link is none.
func (m *Machine) SetRoute(to netip.Prefix, r platform.Route) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.links == nil {
		m.links = map[netip.Prefix]platform.Route{}
	}
	m.links[to] = r
}

// Stubborn opens a connection that cannot be ended.
func (m *Machine) Stubborn(c platform.Connection) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stubborn = append(m.stubborn, c)
	m.live = append(m.live, c)
}

// Connections returns what is connected.
func (m *Machine) Connections() []platform.Connection {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.live)
}

// LeaseLeft is how long the kernel keeps the isolation in force; 0 if there is
// none, or if it has no end.
func (m *Machine) LeaseLeft() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isolation() == nil || m.left == 0 {
		return 0
	}
	return m.left - (m.thisBoot().Uptime - m.leaseAt)
}

// Connect opens a connection.
func (m *Machine) Connect(c platform.Connection) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live = append(m.live, c)
}

type routes struct{ m *Machine }

// To leaves over eth0 unless SetRoute says otherwise.
func (r routes) To(_ context.Context, to netip.Addr) (platform.Route, error) {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	if err := r.m.called("Routes.To", nil); err != nil {
		return platform.Route{}, err
	}
	for network, route := range r.m.links {
		if !network.Contains(to) {
			continue
		}
		if route.Link.Name == "" {
			return platform.Route{}, platform.ErrNoRoute
		}
		return route, nil
	}
	return platform.Route{Link: platform.Interface{Name: "eth0", Index: 2, Up: true}}, nil
}

type connections struct{ m *Machine }

func (c connections) Live(_ context.Context, iso platform.Isolation) ([]platform.Connection, error) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if err := c.m.called("Connections.Live", nil); err != nil {
		return nil, err
	}
	live, _ := c.m.judged(iso)
	return live, nil
}

func (c connections) Cut(_ context.Context, iso platform.Isolation) (platform.Cut, error) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if err := c.m.called("Connections.Cut", "all but the kept"); err != nil {
		return platform.Cut{}, err
	}
	ended, kept := c.m.judged(iso)
	var left []platform.Connection
	ended = slices.DeleteFunc(ended, func(x platform.Connection) bool {
		if slices.Contains(c.m.stubborn, x) {
			left = append(left, x)
			return true
		}
		return false
	})
	c.m.live = append(kept, left...)
	return platform.Cut{Ended: len(ended), Flows: len(ended), Left: left}, nil
}

// judged parts the connections into those that iso ends and those it keeps.
func (m *Machine) judged(iso platform.Isolation) (ended, kept []platform.Connection) {
	for _, c := range m.live {
		if slices.ContainsFunc(iso.Keep, func(k platform.Peer) bool {
			port := c.Remote.Port()
			if k.Inbound {
				port = c.Local.Port()
			}
			return k.Network.Contains(c.Remote.Addr()) && (k.Port == 0 || k.Port == port) && (k.Protocol == "" || k.Protocol == c.Protocol)
		}) {
			kept = append(kept, c)
		} else {
			ended = append(ended, c)
		}
	}
	return ended, kept
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
	if p.m.isolation() != nil || covered(p.m.inForce.Blocked, protocol, to.Port()) {
		return p.m.walled(), nil
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
	if p.m.isolation() != nil {
		return p.m.walled(), nil
	}
	return platform.Answered, nil
}

// SetRaw says what becomes of frames while the machine is isolated; by itself it
// stops them.
func (m *Machine) SetRaw(answer platform.Answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.raw = answer
}

// Raw is stopped while the machine is isolated.
func (p prober) Raw(context.Context) (platform.Answer, error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if err := p.m.called("Prober.Raw", nil); err != nil {
		return "", err
	}
	if p.m.isolation() != nil && p.m.raw == "" {
		return p.m.walled(), nil
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
	iso, peer := p.m.isolation(), p.m.peers[to]
	answer := peer.open
	if iso != nil {
		answer = peer.isolated
		if !slices.ContainsFunc(iso.Keep, func(k platform.Peer) bool {
			return !k.Inbound && k.Network.Contains(to.Addr()) && (k.Port == 0 || k.Port == to.Port())
		}) {
			return p.m.walled(), nil
		}
	}
	return cmp.Or(answer, platform.Answered), nil
}
