// Package hostwall judges who gets through a host's own firewall to a port.
//
// It runs the rules of nftables, as plain data, over classes of packets instead
// of single ones: the first packet of a connection, from any source on the
// networks that the host is directly on, and from any other. A rule splits the
// sources into those it matches for certain, those it may match, and the rest.
// What cannot be judged may match or not, and whatever may be let in counts as
// let in. So it can call a port open that is shut, and never the other way round.
//
// docs/decisions/0016-reach.md has what is judged.
package hostwall

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Wall is the firewall of one network namespace.
type Wall struct {
	chains     []*chain // with a hook that packets from outside come by, in their order
	names      []string // of interfaces that rules ask for
	vagueNames bool     // rules ask for names in ways that cannot be told apart
	mangles    bool     // rules rewrite headers
	untracks   bool     // rules keep packets from connection tracking
	translates bool     // rules pass ports on
	notePorts  bool     // while compiling: the table translates
	ports      []uint16 // that rules of tables which translate ask for
	legacy     Legacy
}

// Limits of what is tried: more interfaces are not told apart, more ports not
// asked for.
const (
	mostNames = 32
	mostPorts = 1024
	mostSpan  = 128 // ports of one span
)

// New judges by these tables, where legacy is in force as well.
func New(tables []Table, legacy Legacy) *Wall {
	w := &Wall{legacy: legacy, untracks: legacy.has("raw")}
	for _, f := range tables {
		if !f.Dormant && slices.Contains([]Family{Inet, Netdev, IPv4, IPv6}, f.Family) {
			w.notePorts = translates(f)
			w.translates = w.translates || w.notePorts
			t := (&compiler{wall: w}).table(f)
			w.chains = append(w.chains, slices.DeleteFunc(slices.Clone(t.chains), func(c *chain) bool { return !hooked(c) })...)
		}
	}
	for _, c := range w.chains {
		for _, device := range strings.Fields(c.hook.Device) {
			if device = strings.Replace(device, "*", "~", 1); !slices.Contains(w.names, device) {
				w.names = append(w.names, device)
			}
		}
	}
	w.vagueNames = w.vagueNames || len(w.names) > mostNames
	slices.SortStableFunc(w.chains, func(a, b *chain) int { return cmp.Compare(a.hook.Priority, b.hook.Priority) })
	slices.Sort(w.ports)
	return w
}

func translates(f Table) bool {
	return slices.ContainsFunc(f.Chains, func(c Chain) bool {
		return c.Hook != nil && c.Hook.Number == hookPrerouting && f.Family != Netdev
	}) && slices.ContainsFunc(f.Chains, func(c Chain) bool {
		return slices.ContainsFunc(c.Rules, func(rule []Expression) bool {
			return slices.ContainsFunc(rule, func(e Expression) bool {
				return slices.Contains([]string{"nat", "redir", "tproxy", "target"}, e.Name)
			})
		})
	})
}

// hooked tells whether packets from outside can come by a chain.
func hooked(c *chain) bool {
	if c.hook == nil {
		return false
	}
	if isIngress(c) {
		return true
	}
	return c.table.family != Netdev && c.hook.Number <= hookForward
}

func isIngress(c *chain) bool {
	return c.table.family == Netdev && c.hook.Number == hookNetdevIngress ||
		c.table.family == Inet && c.hook.Number == hookInetIngress
}

func (w *Wall) noteports(first, last []byte) {
	if !w.notePorts || len(first) < 2 {
		return
	}
	from := binary.BigEndian.Uint16(first)
	to := from
	if len(last) >= 2 {
		to = max(from, binary.BigEndian.Uint16(last))
	}
	w.addPorts(from, to)
}

func (w *Wall) addPorts(from, to uint16) {
	for p := int(from); p <= int(to) && p < int(from)+mostSpan && len(w.ports) < mostPorts; p++ {
		if p != 0 && !slices.Contains(w.ports, uint16(p)) {
			w.ports = append(w.ports, uint16(p))
		}
	}
}

// Empty tells whether there is nothing to judge by: everything is let in.
func (w *Wall) Empty() bool { return len(w.chains) == 0 && len(w.legacy.V4)+len(w.legacy.V6) == 0 }

// Access is who gets to a port.
type Access struct {
	Local  bool // sources on the networks that this computer is directly on
	Remote bool // any other source
	// Why names the rule that decided, "nftables table inet filter, chain input,
	// policy drop". "" if no rule is about it.
	Why string
}

// wider merges who gets in by two ways. The rule that counts is that of the wider.
func (a Access) wider(b Access) Access {
	out := Access{Local: a.Local || b.Local, Remote: a.Remote || b.Remote, Why: a.Why}
	if b.rank() > a.rank() || out.Why == "" && b.rank() == a.rank() {
		out.Why = b.Why
	}
	return out
}

func (a Access) rank() int {
	switch {
	case a.Remote:
		return 2
	case a.Local:
		return 1
	}
	return 0
}

// Judge says who gets to a port that a socket of this computer listens on. Where
// rules pass it on, those count who then get an answer from elsewhere.
func (w *Wall) Judge(p Packet) Access {
	var ways []Access
	for _, iface := range w.interfaces(p) {
		t := w.enter(p, iface)
		for _, sent := range t.sent {
			ways = append(ways, t.translated(sent).arrive(true, sent.elsewhere()))
		}
		ways = append(ways, t.arrive(true, false))
	}
	widest := ways[0]
	for _, a := range ways[1:] {
		widest = widest.wider(a)
	}
	return w.legacy.noted(widest, p.V6)
}

// Forward is a port that rules pass on, with no socket of this computer.
type Forward struct {
	Packet
	To string // "10.88.0.2:80"; ":80" is this computer itself
	Access
}

// Forwards lists the ports that rules pass on, if they are asked for at one of
// the addresses.
func (w *Wall) Forwards(at []netip.Addr) []Forward {
	if !w.translates {
		return nil
	}
	var out []Forward
	for _, port := range w.ports {
		for _, udp := range []bool{false, true} {
			for _, to := range at {
				p := Packet{UDP: udp, V6: to.Is6(), Port: port, To: to}
				out = append(out, w.forwardsOf(p)...)
			}
		}
	}
	return out
}

func (w *Wall) forwardsOf(p Packet) []Forward {
	var out []Forward
	for _, iface := range w.interfaces(p) {
		t := w.enter(p, iface)
		for _, sent := range t.sent {
			next := t.translated(sent)
			f := Forward{Packet: p, To: target(sent, p.Port), Access: w.legacy.noted(next.arrive(true, sent.elsewhere()), p.V6)}
			if i := slices.IndexFunc(out, func(g Forward) bool { return g.To == f.To }); i >= 0 {
				out[i].Access = out[i].wider(f.Access)
			} else {
				out = append(out, f)
			}
		}
	}
	return out
}

// elsewhere tells whether it may lead to another computer, or a container.
func (n translation) elsewhere() bool { return n.address != nil || !n.known }

// target is where a translation leads, as a person writes it.
func target(n translation, port uint16) string {
	if len(n.port) >= 2 {
		port = binary.BigEndian.Uint16(n.port)
	}
	if !n.known {
		return "an address that a rule works out"
	}
	if n.address == nil {
		return fmt.Sprintf(":%d", port)
	}
	a, _ := netip.AddrFromSlice(n.address)
	return netip.AddrPortFrom(a.Unmap(), port).String()
}

// interfaces are the names to try for a packet: those that rules ask for, and one
// that stands for all others. "" is any, where names cannot be told apart.
func (w *Wall) interfaces(p Packet) []string {
	switch {
	case p.In != "":
		return []string{p.In}
	case w.vagueNames:
		return []string{""}
	}
	return append([]string{"~"}, w.names...)
}

// onDevice tells whether a chain that is hooked to devices sees a packet.
func onDevice(h *Hook, iface string) bool {
	if h.AnyDevice {
		return true
	}
	for _, device := range strings.Fields(h.Device) {
		start, every := strings.CutSuffix(device, "*")
		if iface != "" && (device == iface || every && strings.HasPrefix(iface, start)) {
			return true
		}
	}
	return false
}
