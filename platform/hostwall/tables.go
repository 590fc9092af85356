package hostwall

import (
	"bytes"
	"encoding/binary"
)

// Family is the kind of packets that a table sees (NFPROTO_*).
type Family uint8

// The families that packets from outside to an IP port come by.
const (
	Inet   Family = 1
	IPv4   Family = 2
	Netdev Family = 5
	IPv6   Family = 10
)

// Table is one table of nftables as the kernel gave it.
type Table struct {
	Family  Family
	Name    string
	Dormant bool // it is there, but no packet gets to it
	Chains  []Chain
	Sets    []Set
}

// Chain is a list of rules. Without a Hook no packet gets there by itself.
type Chain struct {
	Name  string
	Hook  *Hook
	Rules [][]Expression
}

// Hook is the place where the kernel hands packets to a chain.
type Hook struct {
	Type      string // "filter", "nat"
	Number    uint32 // NF_INET_*, NF_NETDEV_*
	Priority  int32
	Drop      bool   // the policy
	Device    string // several are separated by spaces; "eth*" is all that begin so
	AnyDevice bool
}

// The hooks (NF_INET_*, NF_NETDEV_INGRESS).
const (
	hookPrerouting    = 0
	hookInput         = 1
	hookForward       = 2
	hookInetIngress   = 5
	hookNetdevIngress = 0
)

// Expression is one instruction of a rule; Data are its attributes.
type Expression struct {
	Name string
	Data []byte
}

// Set is a set or a map, anonymous ones included.
type Set struct {
	Name   string
	Fields []int // lengths of the parts of the key; more than one only where each part has a span of its own
	Len    int   // of the key
	// Changing says that the elements are not known: packets or time change them,
	// or there are too many.
	Changing bool
	Elements []Element
}

// Element is one key or a span of keys, both ends included, as registers hold
// them; a map has a value or a verdict for it.
type Element struct {
	First, Last []byte
	CatchAll    bool // it matches what no other element does
	Sometimes   bool // it has a condition of its own, such as a limit
	Value       []byte
	Verdict     *Verdict
}

// Verdict is what becomes of a packet: a code (NF_*, NFT_*), and the chain that a
// jump goes to.
type Verdict struct {
	Code  int32
	Chain string
}

// attributes are the parts of an expression, by the kernel's numbers.
type attributes map[uint16][]byte

// attributesIn takes netlink attributes apart. What does not fit is left out.
func attributesIn(data []byte) attributes {
	const header, kindMask = 4, 0x3fff
	out := attributes{}
	for len(data) >= header {
		n := int(binary.NativeEndian.Uint16(data))
		if n < header || n > len(data) {
			break
		}
		out[binary.NativeEndian.Uint16(data[2:])&kindMask] = data[header:n]
		data = data[min((n+3)&^3, len(data)):]
	}
	return out
}

func (a attributes) has(kind uint16) bool { return a[kind] != nil }

func (a attributes) number(kind uint16) uint32 {
	if len(a[kind]) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(a[kind])
}

func (a attributes) text(kind uint16) string { return string(bytes.TrimRight(a[kind], "\x00")) }

// Attributes inside others (NFTA_DATA_*, NFTA_VERDICT_*).
const (
	dataValue    = 1
	dataVerdict  = 2
	verdictCode  = 1
	verdictChain = 2
)

// value is the value of registers inside an attribute.
func (a attributes) value(kind uint16) []byte { return attributesIn(a[kind])[dataValue] }

// verdict is the verdict inside an attribute; nil if there is none.
func (a attributes) verdict(kind uint16) *Verdict {
	inner := attributesIn(a[kind])[dataVerdict]
	if inner == nil {
		return nil
	}
	v := attributesIn(inner)
	return &Verdict{Code: int32(v.number(verdictCode)), Chain: v.text(verdictChain)}
}
