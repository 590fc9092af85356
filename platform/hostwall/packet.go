package hostwall

import (
	"encoding/binary"
	"math"
	"net/netip"
)

// Packet is what opens a connection to a port from outside: the first segment of
// TCP, or a datagram of UDP.
type Packet struct {
	UDP  bool
	V6   bool
	Port uint16
	To   netip.Addr // the invalid address is any that this computer has
	In   string     // the interface it comes in by; "" is any but loopback
}

// passing is a packet at one place of its way.
type passing struct {
	Packet
	original   uint16 // the port that the sender wrote
	translated bool   // its address or port was rewritten
	early      bool   // connection tracking has not seen it
	vague      bool   // whether connection tracking has seen it is not known
	mangled    bool   // rules may rewrite headers
	renumbered bool   // rules that are not read may have rewritten its address or port
	iface      string // one name that stands for all that no rule names, or In
	anyIface   bool   // iface means nothing: rules ask for it in ways that cannot be told apart
	isLocal    bool   // it is for this computer itself
}

// Keys of the kernel (NFT_META_*, NFT_CT_*, NFT_FIB_*).
const (
	metaProtocol = 1
	metaIIF      = 4
	metaIIFName  = 6
	metaIIFType  = 8
	metaNFProto  = 15
	metaL4Proto  = 16
	metaPktType  = 19

	ctState     = 0
	ctDirection = 1
	ctStatus    = 2
	ctL3Proto   = 7
	ctProtocol  = 10
	ctProtoDst  = 12

	fibType        = 3
	fibOfDest      = 2 // NFTA_FIB_F_DADDR
	routeLocal     = 2 // RTN_LOCAL
	stateInvalid   = 1
	stateNew       = 8
	stateUntracked = 64
	statusDNAT     = 0x20
	ifNameLen      = 16
	deviceTypeLo   = 772 // ARPHRD_LOOPBACK
	networkHeader  = 1
	transport      = 2
)

func (p passing) protocol() byte {
	if p.UDP {
		return 17
	}
	return 6
}

func (p passing) family() byte {
	if p.V6 {
		return 10
	}
	return 2
}

func word(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// meta is what the kernel knows of the packet, and what it is not.
func (p passing) meta(key uint32) (cells []cell, not [][]byte) {
	switch key {
	case metaProtocol:
		frame := uint16(0x0800)
		if p.V6 {
			frame = 0x86dd
		}
		return knownCells(binary.BigEndian.AppendUint16(nil, frame)), nil
	case metaIIF:
		return unknownCells(4), [][]byte{word(1)}
	case metaIIFName:
		if p.anyIface {
			return unknownCells(ifNameLen), [][]byte{nameBytes("lo")}
		}
		return knownCells(nameBytes(p.iface)), nil
	case metaIIFType:
		return unknownCells(2), [][]byte{binary.NativeEndian.AppendUint16(nil, deviceTypeLo)}
	case metaNFProto:
		return knownCells([]byte{p.family()}), nil
	case metaL4Proto:
		return knownCells([]byte{p.protocol()}), nil
	case metaPktType:
		if !p.UDP {
			return knownCells([]byte{0}), nil // PACKET_HOST: TCP answers no other
		}
		return unknownCells(1), nil
	}
	return unknownCells(ifNameLen), nil // no value is longer
}

func nameBytes(name string) []byte {
	out := make([]byte, ifNameLen)
	copy(out[:ifNameLen-1], name)
	return out
}

// ct is what connection tracking knows of it: it is new.
func (p passing) ct(key uint32, original bool) []cell {
	if key != ctState && (p.early || p.vague) {
		return unknownCells(ifNameLen) // there may be no such thing, and then no test of it holds
	}
	switch key {
	case ctState:
		states := p.states()
		cells := knownCells(word(states))
		if states&(states-1) == 0 {
			return cells
		}
		for i, b := range word(states) { // one of them, but which?
			cells[i] = cell{known: ^b}
		}
		return cells
	case ctDirection:
		return knownCells([]byte{0})
	case ctStatus:
		if p.renumbered {
			break
		}
		status := word(0)
		if p.translated {
			status = word(statusDNAT)
		}
		mask := word(statusDNAT)
		cells := make([]cell, 4)
		for i := range cells {
			cells[i] = cell{bits: status[i], known: mask[i]}
		}
		return cells
	case ctL3Proto:
		return knownCells([]byte{p.family()})
	case ctProtocol:
		return knownCells([]byte{p.protocol()})
	case ctProtoDst:
		if original && !p.renumbered {
			return knownCells(binary.BigEndian.AppendUint16(nil, p.original))
		}
	}
	return unknownCells(ifNameLen)
}

// states are those that connection tracking may have for it.
func (p passing) states() uint32 {
	switch {
	case p.vague:
		return stateInvalid | stateNew | stateUntracked
	case p.early:
		return stateInvalid
	}
	return stateNew
}

// fib is what routing says of it.
func (p passing) fib(result, flags uint32) []cell {
	// A datagram may be for everybody on the link, which is no address of ours.
	if result == fibType && flags == fibOfDest && p.isLocal && (!p.UDP || p.To.IsValid()) {
		return knownCells(word(routeLocal))
	}
	return unknownCells(ifNameLen)
}

// payload is bytes of the packet itself. A sender can put options between the
// headers, so what follows from there being none is not known.
func (p passing) payload(base, offset, length uint32) []cell {
	if length > registerBytes || offset > math.MaxUint16 {
		return unknownCells(registerBytes)
	}
	cells := unknownCells(int(length))
	if p.mangled {
		return cells
	}
	for i := range cells {
		switch at := int(offset) + i; base {
		case networkHeader:
			cells[i] = p.networkByte(at)
		case transport:
			cells[i] = p.transportByte(at)
		}
	}
	return cells
}

func (p passing) networkByte(at int) cell {
	from, to, size := 12, 16, 4
	if p.V6 {
		from, to, size = 8, 24, 16
	}
	switch {
	case at == 0:
		version := byte(0x40)
		if p.V6 {
			version = 0x60
		}
		return cell{bits: version, known: 0xf0}
	case at == 9 && !p.V6:
		return cell{bits: p.protocol(), known: 0xff}
	case from <= at && at < from+size:
		return cell{source: int8(at - from + 1)}
	case to <= at && at < to+size && p.To.IsValid() && p.To.Is6() == p.V6:
		return cell{bits: p.To.AsSlice()[at-to], known: 0xff}
	}
	return cell{}
}

func (p passing) transportByte(at int) cell {
	switch {
	case at == 2:
		return cell{bits: byte(p.Port >> 8), known: 0xff}
	case at == 3:
		return cell{bits: byte(p.Port), known: 0xff}
	case at == 13 && !p.UDP: // the flags: SYN, and none of FIN, RST and ACK
		return cell{bits: 0x02, known: 0x17}
	}
	return cell{}
}
