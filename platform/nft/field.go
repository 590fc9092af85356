package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Field is something a rule can test: how the kernel loads it, how nft(8) calls
// it, and what must be tested before it means anything.
type Field struct {
	name  string
	load  Expr
	store Expr // nil: cannot be set
	needs []need
	show  func(value []byte) string
	flags bool // nft(8) tests its bits without saying so
}

// need is the test that gives a field its meaning: bytes 2 and 3 of a transport
// header are a port only if the packet is TCP or UDP.
type need struct {
	field *Field
	value byte
}

// Values of NetworkProtocol (NFPROTO_*), TransportProtocol (IPPROTO_*),
// AddressType (RTN_*), and of connection tracking.
const (
	V4 byte = 2
	V6 byte = 10

	ICMP   byte = 1
	TCP    byte = 6
	UDP    byte = 17
	ICMPv6 byte = 58

	Unicast uint32 = 1

	Original byte = 0
	Reply    byte = 1

	Related uint32 = 4
	New     uint32 = 8

	SYN byte = 0x02
	ACK byte = 0x10
)

// The fields.
var (
	NetworkProtocol   = Field{name: "meta nfproto", load: Meta{15}, show: showNetworkProtocol}
	TransportProtocol = Field{name: "meta l4proto", load: Meta{16}, show: showTransportProtocol}
	InIndex           = Field{name: "iif", load: Meta{4}, show: showIndex}
	OutIndex          = Field{name: "oif", load: Meta{5}, show: showIndex}
	InName            = Field{name: "iifname", load: Meta{6}, show: showName}
	// EtherType is the protocol of the frame; IPv4 and IPv6 are better asked for
	// by NetworkProtocol, which every family understands.
	EtherType = Field{name: "meta protocol", load: Meta{1}, show: showEtherType}
	OutName   = Field{name: "oifname", load: Meta{7}, show: showName}

	IPSource  = Field{name: "ip saddr", load: Payload{NetworkHeader, 12, 4}, needs: isV4, show: showAddress}
	IPDest    = Field{name: "ip daddr", load: Payload{NetworkHeader, 16, 4}, needs: isV4, show: showAddress}
	IP6Source = Field{name: "ip6 saddr", load: Payload{NetworkHeader, 8, 16}, needs: isV6, show: showAddress}
	IP6Dest   = Field{name: "ip6 daddr", load: Payload{NetworkHeader, 24, 16}, needs: isV6, show: showAddress}
	// FragmentOffset holds flags too, see LaterFragment.
	FragmentOffset = Field{name: "ip frag-off", load: Payload{NetworkHeader, 6, 2}, needs: isV4, show: showNumber}
	NextHeader     = Field{name: "ip6 nexthdr", load: Payload{NetworkHeader, 6, 1}, needs: isV6, show: showNumber}
	HopLimit       = Field{name: "ip6 hoplimit", load: Payload{NetworkHeader, 7, 1}, needs: isV6, show: showNumber}
	TCPSource      = Field{name: "tcp sport", load: Payload{TransportHeader, 0, 2}, needs: isTCP, show: showNumber}
	TCPDest        = Field{name: "tcp dport", load: Payload{TransportHeader, 2, 2}, needs: isTCP, show: showNumber}
	TCPFlags       = Field{name: "tcp flags", load: Payload{TransportHeader, 13, 1}, needs: isTCP, show: showTCPFlags, flags: true}
	UDPSource      = Field{name: "udp sport", load: Payload{TransportHeader, 0, 2}, needs: isUDP, show: showNumber}
	UDPDest        = Field{name: "udp dport", load: Payload{TransportHeader, 2, 2}, needs: isUDP, show: showNumber}
	ICMPType       = Field{name: "icmp type", load: Payload{TransportHeader, 0, 1}, needs: isICMP, show: showNumber}
	ICMPCode       = Field{name: "icmp code", load: Payload{TransportHeader, 1, 1}, needs: isICMP, show: showNumber}
	ICMPv6Type     = Field{name: "icmpv6 type", load: Payload{TransportHeader, 0, 1}, needs: isICMPv6, show: showNumber}

	// AddressType is what the destination is to this host: its own, a
	// broadcast, or (Unicast) somebody else's.
	AddressType = Field{name: "fib daddr type", load: FIB{Result: 3, Flags: 2}, show: showAddressType}
	State       = Field{name: "ct state", load: CT{0}, show: showState, flags: true}
	Direction   = Field{name: "ct direction", load: CT{1}, show: showDirection}

	PacketMark = Field{name: "meta mark", load: Meta{3}, store: SetMeta{3}, show: showWord}
	ConnMark   = Field{name: "ct mark", load: CT{3}, store: SetCT{3}, show: showWord}
	// UserID is the user who made the packet's socket.
	UserID = Field{name: "meta skuid", load: Meta{10}, show: showNative}
)

var (
	isV4     = []need{{&NetworkProtocol, V4}}
	isV6     = []need{{&NetworkProtocol, V6}}
	isTCP    = []need{{&TransportProtocol, TCP}}
	isUDP    = []need{{&TransportProtocol, UDP}}
	isICMP   = []need{{&NetworkProtocol, V4}, {&TransportProtocol, ICMP}}
	isICMPv6 = []need{{&NetworkProtocol, V6}, {&TransportProtocol, ICMPv6}}
)

// fields returns all fields; of two that load the same bytes, what the rule
// tested before decides (see needs).
func fields() []Field {
	return []Field{
		NetworkProtocol, TransportProtocol, InIndex, OutIndex, InName, OutName,
		IPSource, IPDest, IP6Source, IP6Dest, HopLimit,
		FragmentOffset, NextHeader,
		TCPSource, TCPDest, TCPFlags, UDPSource, UDPDest, ICMPType, ICMPCode, ICMPv6Type,
		AddressType, State, Direction, EtherType, PacketMark, ConnMark, UserID,
	}
}

// Is tests that the field has the value, in the byte order of the field: that
// of the wire for bytes of a packet, that of the machine for all else.
func (f Field) Is(value []byte) []Expr {
	return append(f.loaded(), Cmp{Equal, value})
}

// Between tests that the field is in the span, both ends included.
func (f Field) Between(first, last []byte) []Expr {
	return append(f.loaded(), Cmp{AtLeast, first}, Cmp{AtMost, last})
}

// Masked tests that the bits of the mask have the value.
func (f Field) Masked(mask, value []byte) []Expr {
	return append(f.loaded(), Mask{Bits: mask}, Cmp{Equal, value})
}

// Any tests that one bit of the mask at least is set.
func (f Field) Any(mask []byte) []Expr {
	return append(f.loaded(), Mask{Bits: mask}, Cmp{NotEqual, make([]byte, len(mask))})
}

// In tests that the field is in the named set.
func (f Field) In(set string) []Expr {
	return append(f.loaded(), Lookup{Set: set})
}

// NotIn tests that the field is not in the named set.
func (f Field) NotIn(set string) []Expr {
	return append(f.loaded(), Lookup{Set: set, Not: true})
}

// With sets the bits in a mark and leaves its others as they are.
func (f Field) With(bits uint32) []Expr {
	return append(f.loaded(), Mask{Word(^bits), Word(bits)}, f.store)
}

// ControlGroup is the control group (v2) that the packet's socket was made in,
// or its parent so many levels below the root.
func ControlGroup(level uint32) Field {
	return Field{name: fmt.Sprintf("socket cgroupv2 level %d", level), load: Cgroup{level}, show: showNative}
}

// LeaseEnded tests that the one element of the named set, the word 0, has run
// out of time. A set can only be asked for something that the packet brings
// along, so its mark is brought to 0 first.
func LeaseEnded(set string) []Expr {
	return append(PacketMark.loaded(), Mask{Bits: Word(0)}, Lookup{Set: set, Not: true})
}

// LaterFragment tests for a fragment of IPv4 other than the first, which has no
// ports.
func LaterFragment() []Expr { return FragmentOffset.Any([]byte{0x1f, 0xff}) }

// Within tests that an address is in the network. A network that holds every
// address only tests the version of IP.
func (f Field) Within(network netip.Prefix) []Expr {
	network = network.Masked()
	address := network.Addr().AsSlice()
	switch network.Bits() {
	case 0:
		return f.required()
	case network.Addr().BitLen():
		return f.Is(address)
	}
	return f.Masked(prefixMask(network.Bits(), len(address)), address)
}

// loaded returns what is needed before the field, and its load.
func (f Field) loaded() []Expr { return append(f.required(), f.load) }

func (f Field) required() []Expr {
	var out []Expr
	for _, n := range f.needs {
		out = append(out, n.field.load, Cmp{Equal, []byte{n.value}})
	}
	return out
}

// Then is a rule's verdict.
func Then(e Expr) []Expr { return []Expr{e} }

// Port is a port in the byte order of the wire.
func Port(p uint16) []byte { return binary.BigEndian.AppendUint16(nil, p) }

// Frame is a protocol of frames (ETH_P_*) in the byte order of the wire.
func Frame(p uint16) []byte { return binary.BigEndian.AppendUint16(nil, p) }

// Long is a number of 64 bits in the byte order of the machine.
func Long(n uint64) []byte { return binary.NativeEndian.AppendUint64(nil, n) }

// Word is a number in the byte order of the machine.
func Word(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// Name is the name of an interface as the kernel compares it, IFNAMSIZ bytes.
func Name(s string) []byte {
	b := make([]byte, 16)
	copy(b[:15], s)
	return b
}

func prefixMask(bits, length int) []byte {
	mask := make([]byte, length)
	for i := range bits {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return mask
}
