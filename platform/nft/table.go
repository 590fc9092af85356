// Package nft writes nftables, and reads back what it wrote.
//
// It is the one writer of nftables in this program. A Table is plain data: it
// can be rendered as the text that nft(8) reads, sent to the kernel as one
// transaction that changes only what differs, and read back from the kernel as
// a Table again, so that what is in force can be compared with what is wanted.
package nft

import (
	"bytes"
	"slices"
	"time"
)

// Family is the kind of packets a table sees (NFPROTO_* of linux/netfilter.h).
type Family uint8

// The families.
const (
	Inet   Family = 1
	Netdev Family = 5
	Bridge Family = 7
)

// Flags are the flags of a table (NFT_TABLE_F_* of linux/netfilter/nf_tables.h).
type Flags uint32

// The flags of a table.
const (
	Dormant Flags = 1
	Owner   Flags = 2
	Persist Flags = 4
)

// Table is one table with all that is in it.
type Table struct {
	Family Family
	Name   string
	Flags  Flags
	Sets   []Set
	Chains []Chain
}

// Set is a named set of values that rules look up. Its elements change without
// any rule being touched.
type Set struct {
	Name     string
	Key      []Type // more than one: a concatenation
	Interval bool   // elements may be spans
	Timed    bool   // elements may have a timeout
	Elements []Element
}

// Type is the type of a set's key. ID matters only to nft(8), which prints by it.
type Type struct {
	Name string
	ID   uint32
	Len  int // bytes
}

// The types of keys; the IDs are those of nft(8) (TYPE_* of its datatype.h).
var (
	IPv4Addr    = Type{"ipv4_addr", 7, 4}
	IPv6Addr    = Type{"ipv6_addr", 8, 16}
	InetProto   = Type{"inet_proto", 12, 1}
	InetService = Type{"inet_service", 13, 2}
	Mark        = Type{"mark", 19, 4}
)

// Element is one value of a set, or a span of them, both ends included. A
// concatenation holds its parts one after the other, unpadded.
type Element struct {
	First, Last []byte
	Timeout     time.Duration // 0: none
	Left        time.Duration // of the timeout, as read
}

// Chain is a list of rules. Without a Hook no packet gets there by itself.
type Chain struct {
	Name  string
	Hook  *Hook
	Rules []Rule
}

// Hook is the place where the kernel hands packets to a chain.
type Hook struct {
	Type     string // "filter"
	Number   uint32 // Prerouting, Forward, ...; netdev and bridge have their own
	Priority int32
	Policy   Verdict // Accept or Drop

	// The netdev family hooks devices: one, or all there are and will be. Linux
	// before 6.17 knows no hook on all. Nor does an nft(8) on a libnftnl before
	// 1.3.1: it takes the rules of such a chain for a race, and lists again for ever.
	Device    string
	AnyDevice bool
}

// The hooks of the inet and the bridge family (NF_INET_*, NF_BR_*), and of the
// netdev family (NF_NETDEV_*).
const (
	Prerouting uint32 = 0
	Input      uint32 = 1
	Forward    uint32 = 2
	Output     uint32 = 3

	NetdevIngress uint32 = 0
	NetdevEgress  uint32 = 1
)

// Rule is a list of expressions; a packet that passes them all meets the
// verdict at their end.
type Rule struct {
	Exprs   []Expr
	Comment string
}

// Key names one table.
type Key struct {
	Family Family
	Name   string
}

// Key names the table.
func (t *Table) Key() Key { return Key{t.Family, t.Name} }

// chain returns the chain of that name, or nil.
func (t *Table) chain(name string) *Chain {
	for i := range t.Chains {
		if t.Chains[i].Name == name {
			return &t.Chains[i]
		}
	}
	return nil
}

// Set returns the set of that name, or nil.
func (t *Table) Set(name string) *Set {
	for i := range t.Sets {
		if t.Sets[i].Name == name {
			return &t.Sets[i]
		}
	}
	return nil
}

// sameShape tells whether s can become other by a change of elements alone.
func (s Set) sameShape(other Set) bool {
	return s.Interval == other.Interval && s.Timed == other.Timed && slices.Equal(s.Key, other.Key)
}

// without returns the elements of s that other lacks.
func (s Set) without(other Set) []Element {
	var out []Element
	for _, e := range s.Elements {
		if !slices.ContainsFunc(other.Elements, e.equal) {
			out = append(out, e)
		}
	}
	return out
}

// equal compares values only: the time that is left of a timeout is no part of
// what was wanted.
func (e Element) equal(other Element) bool {
	return bytes.Equal(e.First, other.First) && bytes.Equal(e.Last, other.Last)
}

// Packets returns how many packets the rule's counter has seen; without a
// counter, none.
func (r Rule) Packets() uint64 {
	for _, e := range r.Exprs {
		if c, ok := e.(Counter); ok {
			return c.Packets
		}
	}
	return 0
}

func (h *Hook) equal(other *Hook) bool {
	if h == nil || other == nil {
		return h == other
	}
	return *h == *other
}
