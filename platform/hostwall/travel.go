package hostwall

import (
	"net/netip"
)

// Priorities at which the kernel itself works on packets (NF_IP_PRI_*).
const (
	priorityTracking = -200
	priorityDestNAT  = -100
)

// travel is a packet on its way, and who of its sources is still with it.
type travel struct {
	wall   *Wall
	packet passing
	with   sources
	open   []part // the firewall answered these itself
	stages []stage
	sent   []translation
}

// stage is what one chain made of the packets.
type stage struct{ accepted, dropped []part }

// enter takes a packet from the wire to the end of the prerouting chains, as far
// as nothing sends it elsewhere; what does is kept.
func (w *Wall) enter(p Packet, iface string) *travel {
	t := &travel{wall: w, with: union(local(p.V6), remote(p.V6))}
	t.packet = passing{
		Packet: p, original: p.Port, isLocal: true, iface: iface, anyIface: iface == "",
	}
	// Legacy rules may bring a packet to the port that asked for another one.
	t.packet.renumbered = w.legacy.translates(p.V6)
	t.packet.mangled = w.mangles || t.packet.renumbered
	for _, c := range w.chains {
		if isIngress(c) && onDevice(c.hook, iface) {
			t.pass(c, true)
		}
	}
	t.prerouting(func(c *chain) bool { return !isNAT(c) && c.hook.Priority < priorityDestNAT })
	t.prerouting(isNAT)
	t.packet.mangled = w.mangles
	return t
}

func (t *travel) prerouting(wanted func(*chain) bool) {
	for _, c := range t.wall.chains {
		if t.sees(c, hookPrerouting) && wanted(c) {
			t.pass(c, c.hook.Priority < priorityTracking && !isNAT(c))
		}
	}
}

func isNAT(c *chain) bool { return c.hook.Type == "nat" }

// sees tells whether a chain of that hook sees the packet.
func (t *travel) sees(c *chain, hook uint32) bool {
	if isIngress(c) || c.table.family == Netdev || c.hook.Number != hook {
		return false
	}
	switch c.table.family {
	case IPv4:
		return !t.packet.V6
	case IPv6:
		return t.packet.V6
	}
	return true
}

// pass takes the packet through one chain.
func (t *travel) pass(c *chain, early bool) {
	p := t.packet
	p.early = early
	p.vague = t.wall.untracks || !isIngress(c) && !isNAT(c) && c.hook.Number == hookPrerouting && c.hook.Priority == priorityTracking
	w := walk{wall: t.wall, packet: p, all: everyone(p.V6)}
	w.through(c, t.with)
	t.open = append(t.open, w.answered...)
	for _, n := range w.sent {
		if c.hook.Number == hookPrerouting {
			t.sent = append(t.sent, n)
		} else {
			w.accepted = append(w.accepted, n.part)
		}
	}
	t.stages = append(t.stages, stage{w.accepted, w.dropped})
	var with []sources
	for _, a := range w.accepted {
		with = append(with, a.sources)
	}
	t.with = union(with...)
}

// translated is the packet after a rule sent it elsewhere.
func (t *travel) translated(n translation) *travel {
	next := &travel{wall: t.wall, packet: t.packet, with: n.sources, open: t.open}
	next.stages = append(next.stages, t.stages...)
	next.packet.translated, next.packet.isLocal = true, n.address == nil && n.known
	next.packet.To = netip.Addr{}
	if a, ok := netip.AddrFromSlice(n.address); ok && n.known {
		next.packet.To = a
	}
	switch {
	case !n.known:
		next.packet.mangled = true
	case len(n.port) >= 2:
		next.packet.Port = uint16(n.port[0])<<8 | uint16(n.port[1])
	}
	return next
}

// arrive takes the packet on to this computer, to another by way of it, or both,
// and says who arrives.
func (t *travel) arrive(here, elsewhere bool) Access {
	t.prerouting(func(c *chain) bool { return !isNAT(c) && c.hook.Priority > priorityDestNAT })
	var access Access
	first := true
	for _, hook := range []uint32{hookInput, hookForward} {
		if hook == hookInput && !here || hook == hookForward && !elsewhere {
			continue
		}
		way := *t
		way.stages = append([]stage(nil), t.stages...)
		for _, c := range t.wall.chains {
			if way.sees(c, hook) {
				way.pass(c, false)
			}
		}
		if got := way.access(); first {
			access, first = got, false
		} else {
			access = access.wider(got)
		}
	}
	return access
}

// access says who is still with the packet, and by which rule.
func (t *travel) access() Access {
	with := []sources{t.with}
	for _, p := range t.open {
		with = append(with, p.sources)
	}
	in := union(with...)
	fromRemote, fromLocal := in.both(remote(t.packet.V6)), in.both(local(t.packet.V6))
	a := Access{Local: !fromLocal.empty(), Remote: !fromRemote.empty()}
	switch {
	case a.Remote:
		a.Why = t.whyOpen(fromRemote)
	case a.Local:
		// That only neighbours get in is the work of what keeps the others out.
		a.Why = t.whyShut(remote(t.packet.V6))
	default:
		a.Why = t.whyShut(union(local(t.packet.V6), remote(t.packet.V6)))
	}
	return a
}

// whyOpen names the last rule that lets some of the sources in, rather one that
// is sure to. A policy is no rule about a port.
func (t *travel) whyOpen(in sources) string {
	for _, p := range t.open {
		if !p.sources.both(in).empty() {
			return p.why.String()
		}
	}
	for _, unsure := range []bool{false, true} {
		for i := len(t.stages) - 1; i >= 0; i-- {
			for _, p := range t.stages[i].accepted {
				if (p.why.rule >= 0 || p.why.unsure != "") && (p.why.unsure != "") == unsure && !p.sources.both(in).empty() {
					return p.why.String()
				}
			}
		}
	}
	return ""
}

// whyShut names what kept the last of the sources out.
func (t *travel) whyShut(out sources) string {
	for i := len(t.stages) - 1; i >= 0; i-- {
		for j := len(t.stages[i].dropped) - 1; j >= 0; j-- {
			if p := t.stages[i].dropped[j]; !p.sources.both(out).empty() {
				return p.why.String()
			}
		}
	}
	return ""
}
