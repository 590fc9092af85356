package hostwall

import (
	"encoding/binary"
	"slices"
)

// xtMatch is a match of iptables inside nftables: those that a common rule set
// has are judged, all others may hold or not. The layouts are those of
// linux/netfilter/xt_*.h.
func xtMatch(a attributes) op {
	name, revision, info := a.text(1), a.number(2), a[3]
	o := op{kind: opXT, name: "iptables match " + name}
	switch {
	case name == "comment":
		o.kind = opNothing
	case (name == "tcp" || name == "udp") && revision == 0 && len(info) >= 9:
		o.match = xtPorts(name, info)
	case name == "conntrack" && 1 <= revision && revision <= 3:
		o.match = xtConntrack(info, revision)
	case name == "state" && len(info) >= 4:
		states := binary.NativeEndian.Uint32(info)
		o.match = func(p passing) truth { return isState(p, states) }
	case name == "addrtype" && revision == 1 && len(info) >= 8:
		o.match = xtAddressType(info)
	case name == "multiport" && revision == 1 && len(info) >= 48:
		o.match = xtMultiport(info)
	}
	if o.match == nil && o.kind == opXT {
		o.kind = opMaybe
	}
	return o
}

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

func (t truth) not() truth {
	switch t {
	case yes:
		return no
	case no:
		return yes
	}
	return perhaps
}

// both is yes if each is, and no if one is not.
func (t truth) both(other truth) truth {
	switch {
	case t == no || other == no:
		return no
	case t == yes && other == yes:
		return yes
	}
	return perhaps
}

// xtPorts reads struct xt_tcp and struct xt_udp: spans of source and destination
// ports, and for TCP an option and flags.
func xtPorts(name string, info []byte) func(passing) truth {
	at := func(i int) uint16 { return binary.NativeEndian.Uint16(info[i:]) }
	sources, first, last := at(0) != 0 || at(2) != 0xffff, at(4), at(6)
	inverted := info[8]
	var option, mask, flags byte
	if name == "tcp" {
		if len(info) < 12 {
			return nil
		}
		option, mask, flags, inverted = info[8], info[9], info[10], info[11]
	}
	return func(p passing) truth {
		if p.UDP != (name == "udp") {
			return no
		}
		t := truthOf((first <= p.Port && p.Port <= last) != (inverted&2 != 0))
		if sources || option != 0 || inverted&1 != 0 {
			t = t.both(perhaps)
		}
		const known, syn = 0x17, 0x02 // as in transportByte
		flagsFit := perhaps
		switch {
		case (syn^flags)&mask&known != 0:
			flagsFit = no
		case mask&^known == 0:
			flagsFit = yes
		}
		if inverted&4 != 0 {
			flagsFit = flagsFit.not()
		}
		return t.both(flagsFit)
	}
}

// State bits of xt_state and xt_conntrack: one above those of the kernel's info.
const (
	xtInvalid     = 1
	xtEstablished = 2
	xtRelated     = 4
	xtNew         = 8
	xtSNAT        = 0x40 // xt_conntrack alone
	xtDNAT        = 0x80
)

// isState tells whether the packet is in one of the states. The bits are those of
// nftables, but for untracked, which each match has somewhere else.
func isState(p passing, states uint32) truth {
	may := p.states()
	switch known := states & (xtInvalid | xtEstablished | xtRelated | xtNew); {
	case may&stateUntracked != 0 && known != states:
		return perhaps
	case known&may == 0:
		return no
	case may&^known == 0:
		return yes
	}
	return perhaps
}

// xtConntrack reads struct xt_conntrack_mtinfo1 to 3 as far as the state; what
// else it asks for may hold or not.
func xtConntrack(info []byte, revision uint32) func(passing) truth {
	// Eight addresses of 16 bytes, two times of 4, a protocol and four ports of 2.
	const flagsAt = 8*16 + 2*4 + 5*2
	size := flagsAt + 2 + 2 + 1 + 1
	if revision >= 2 {
		size = flagsAt + 2 + 2 + 2 + 2
	}
	if len(info) < size {
		return nil
	}
	at := func(i int) uint16 { return binary.NativeEndian.Uint16(info[i:]) }
	asked, inverted := at(flagsAt), at(flagsAt+2)
	states := uint32(info[flagsAt+4])
	if revision >= 2 {
		states = uint32(at(flagsAt + 4))
	}
	return func(p passing) truth {
		t := yes
		if asked&1 != 0 { // XT_CONNTRACK_STATE
			t = isState(p, states)
			if bits := states & (xtSNAT | xtDNAT); bits != 0 && t == no {
				t = perhaps
			}
			if inverted&1 != 0 {
				t = t.not()
			}
		}
		if asked&^1 != 0 {
			t = t.both(perhaps)
		}
		return t
	}
}

// xtAddressType reads struct xt_addrtype_info_v1.
func xtAddressType(info []byte) func(passing) truth {
	source, dest := binary.NativeEndian.Uint16(info), binary.NativeEndian.Uint16(info[2:])
	flags := binary.NativeEndian.Uint32(info[4:])
	const local = 1 << routeLocal
	return func(p passing) truth {
		if source != 0 || flags&^2 != 0 {
			return perhaps
		}
		if !p.isLocal || p.UDP && !p.To.IsValid() {
			return perhaps
		}
		return truthOf((dest == 0 || dest&local != 0) != (flags&2 != 0))
	}
}

// xtMultiport reads struct xt_multiport_v1.
func xtMultiport(info []byte) func(passing) truth {
	kind, count, inverted := info[0], int(info[1]), info[47] != 0
	const source, dest, either = 0, 1, 2
	if count > 15 || kind > either {
		return nil
	}
	var ports []uint16
	var spans []bool
	for i := range count {
		ports = append(ports, binary.NativeEndian.Uint16(info[2+2*i:]))
		spans = append(spans, info[32+i] != 0)
	}
	return func(p passing) truth {
		if kind == source {
			return perhaps
		}
		hit := false
		for i := 0; i < len(ports); i++ {
			last := ports[i]
			if spans[i] && i+1 < len(ports) {
				last = ports[i+1]
			}
			hit = hit || ports[i] <= p.Port && p.Port <= last
			if spans[i] {
				i++
			}
		}
		if kind == either && !hit {
			return perhaps // the source port may be one of them
		}
		return truthOf(hit != inverted)
	}
}

// xtTarget is a target of iptables inside nftables.
func xtTarget(a attributes) op {
	name, info := a.text(1), a[3]
	o := op{kind: opStrange, name: "iptables target " + name}
	harmless := []string{
		"LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "CONNSECMARK", "SECMARK", "TRACE", "CHECKSUM", "CLASSIFY",
		"DSCP", "TOS", "TTL", "HL", "TCPMSS", "TCPOPTSTRIP", "AUDIT", "SET", "RATEEST", "LED", "CT", "NOTRACK", "IDLETIMER",
	}
	switch {
	case slices.Contains(harmless, name):
		o.kind = opNothing
	case name == "REJECT" || name == "DROP":
		o.kind = opReject
	case name == "NFQUEUE":
		o.kind = opQueue
	case name == "SYNPROXY":
		o.kind = opAnswered
	case name == "DNAT":
		return xtDNATTarget(o, a.number(2), info)
	case name == "REDIRECT" && len(info) >= 20:
		// struct nf_nat_ipv4_multi_range_compat, or nf_nat_range for IPv6.
		o.kind, o.flags = opRedirect, xtValues
		if a.number(2) == 0 && len(info) < 40 {
			o.value = portValue(info, 16)
		} else if len(info) >= 40 {
			o.value = portValue(info, 36)
		}
	case name == "SNAT" || name == "MASQUERADE" || name == "NETMAP":
		o.kind, o.flags = opNAT, 0
	}
	return o
}

// xtValues says that a translation carries its own values, not registers.
const xtValues = 1 << 16

// portValue is a port in network order, as bytes; none if the target names none.
func portValue(info []byte, at int) []byte {
	port := info[at : at+2]
	if port[0]|port[1] == 0 {
		return nil
	}
	return port
}

// addressValue is an address of a range; none if its flags say that the target
// names none.
func addressValue(info []byte, flags, at, size int) []byte {
	if binary.NativeEndian.Uint32(info[flags:])&1 == 0 { // NF_NAT_RANGE_MAP_IPS
		return nil
	}
	return info[at : at+size]
}

// xtDNATTarget reads the target DNAT: revision 0 has the ranges of IPv4 of old,
// 1 and 2 struct nf_nat_range and nf_nat_range2.
func xtDNATTarget(o op, revision uint32, info []byte) op {
	o.kind, o.flags = opNAT, xtValues|1
	switch {
	case revision == 0 && len(info) >= 20:
		o.other, o.value = addressValue(info, 4, 8, 4), portValue(info, 16)
	case revision >= 1 && len(info) >= 40:
		o.other, o.value = addressValue(info, 0, 4, 16), portValue(info, 36)
	default:
		o.kind = opStrange
	}
	return o
}
