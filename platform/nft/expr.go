package nft

import (
	"bytes"
	"slices"
)

// Expr is one instruction of the kernel's packet machine. All but verdicts work
// on one register: a load fills it, a test reads it.
type Expr interface {
	// name is how the kernel calls the expression.
	name() string
}

// Meta loads something the kernel knows of a packet (NFT_META_*).
type Meta struct{ Key uint32 }

// Payload loads bytes of the packet itself.
type Payload struct {
	Base   Base
	Offset uint32
	Len    uint32
}

// Base is the header that a Payload counts from (NFT_PAYLOAD_*_HEADER).
type Base uint32

// The headers.
const (
	LinkHeader      Base = 0
	NetworkHeader   Base = 1
	TransportHeader Base = 2
)

// CT loads something connection tracking knows of the packet's connection
// (NFT_CT_*). A packet that is not tracked fails the rule.
type CT struct{ Key uint32 }

// SetMeta gives the packet the register's value (NFT_META_*), SetCT its
// connection (NFT_CT_*).
type (
	SetMeta struct{ Key uint32 }
	SetCT   struct{ Key uint32 }
)

// Cgroup loads the number of the control group (v2) that the packet's socket was
// made in, or of its parent so many levels below the root. A packet without a
// socket fails the rule.
type Cgroup struct{ Level uint32 }

// Counter counts the packets that come to it. It begins at its values; what it
// has counted is no difference between two rules.
type Counter struct{ Packets, Bytes uint64 }

// FIB loads what routing says (NFT_FIB_RESULT_*) about the address that Flags
// choose (NFTA_FIB_F_*).
type FIB struct{ Result, Flags uint32 }

// Mask keeps those of the register's bits that are set in Bits, then turns over
// those that are set in Flip; nil turns none.
type Mask struct{ Bits, Flip []byte }

// Cmp goes on only if the register compares with Value.
type Cmp struct {
	Op    Op
	Value []byte
}

// Op is a comparison (NFT_CMP_*).
type Op uint32

// The comparisons.
const (
	Equal    Op = 0
	NotEqual Op = 1
	AtMost   Op = 3
	AtLeast  Op = 5
)

// Lookup goes on only if the register is in the set, or is not.
type Lookup struct {
	Set string
	Not bool
}

// Verdict ends a chain for this packet: Drop for good, Accept for this chain.
type Verdict int32

// The verdicts.
const (
	Drop   Verdict = 0
	Accept Verdict = 1
)

// Jump hands the packet to a chain without a hook, and goes on after it unless
// that chain came to a verdict.
type Jump struct{ Chain string }

// Reject drops the packet and tells its sender so (NFT_REJECT_*).
type Reject struct {
	Type uint32
	Code uint8
}

// ResetTCP rejects a packet of TCP by a reset.
var ResetTCP = Reject{Type: 1}

// Unknown is an expression that this package never writes; it is kept so that
// a rule of somebody else is not mistaken for one of ours.
type Unknown struct {
	Name string
	Data []byte
}

func (Meta) name() string      { return "meta" }
func (Payload) name() string   { return "payload" }
func (CT) name() string        { return "ct" }
func (SetMeta) name() string   { return "meta" }
func (SetCT) name() string     { return "ct" }
func (Cgroup) name() string    { return "socket" }
func (Counter) name() string   { return "counter" }
func (FIB) name() string       { return "fib" }
func (Mask) name() string      { return "bitwise" }
func (Cmp) name() string       { return "cmp" }
func (Lookup) name() string    { return "lookup" }
func (Verdict) name() string   { return "immediate" }
func (Jump) name() string      { return "immediate" }
func (Reject) name() string    { return "reject" }
func (u Unknown) name() string { return u.Name }

// NewRule joins what the fields' tests and a verdict need into one rule. A test
// that two of them need, such as "this is TCP", is made once.
func NewRule(comment string, parts ...[]Expr) Rule {
	r := Rule{Comment: comment}
	for _, part := range parts {
		for {
			if _, _, ok := protocolTest(part); !ok || !r.has(part[:2]) {
				break
			}
			part = part[2:]
		}
		r.Exprs = append(r.Exprs, part...)
	}
	return r
}

// has tells whether the pair of expressions stand next to each other in r.
func (r Rule) has(pair []Expr) bool {
	for i := 0; i+1 < len(r.Exprs); i++ {
		if equalExprs(r.Exprs[i:i+2], pair) {
			return true
		}
	}
	return false
}

// protocolTest tells whether a list begins with a test that fields need: which,
// and for what value. The type of a frame says as much as NetworkProtocol.
func protocolTest(exprs []Expr) (load Expr, value byte, ok bool) {
	test, ok := at[Cmp](exprs, 1)
	if !ok || test.Op != Equal {
		return nil, 0, false
	}
	switch exprs[0] {
	case NetworkProtocol.load, TransportProtocol.load:
		if len(test.Value) == 1 {
			return exprs[0], test.Value[0], true
		}
	case EtherType.load:
		for _, v := range versions() {
			if bytes.Equal(test.Value, v.frame) {
				return NetworkProtocol.load, v.protocol, true
			}
		}
	}
	return nil, 0, false
}

// version is a version of IP, as NetworkProtocol and as the type of a frame.
type version struct {
	protocol byte
	frame    []byte
}

func versions() []version {
	return []version{{V4, Frame(0x0800)}, {V6, Frame(0x86dd)}}
}

// in returns the rule as it must be in a table of that family. Below IP the
// kernel does not know NetworkProtocol: there the type of the frame tells.
func (r Rule) in(f Family) Rule {
	if f == Inet {
		return r
	}
	out := Rule{Comment: r.Comment, Exprs: slices.Clone(r.Exprs)}
	for i := range out.Exprs {
		load, value, ok := protocolTest(out.Exprs[i:])
		if !ok || load != NetworkProtocol.load {
			continue
		}
		for _, v := range versions() {
			if value == v.protocol {
				out.Exprs[i], out.Exprs[i+1] = EtherType.load, Cmp{Equal, v.frame}
			}
		}
	}
	return out
}

func (r Rule) equal(other Rule) bool {
	return r.Comment == other.Comment && equalExprs(r.Exprs, other.Exprs)
}

func equalExprs(a, b []Expr) bool { return slices.EqualFunc(a, b, same) }

// same tells whether two expressions do the same. What a counter has counted is
// no difference.
func same(x, y Expr) bool {
	switch x := x.(type) {
	case Cmp:
		y, ok := y.(Cmp)
		return ok && x.Op == y.Op && bytes.Equal(x.Value, y.Value)
	case Mask:
		y, ok := y.(Mask)
		return ok && bytes.Equal(x.Bits, y.Bits) && bytes.Equal(x.Flip, y.Flip)
	case Counter:
		_, ok := y.(Counter)
		return ok
	case Unknown:
		y, ok := y.(Unknown)
		return ok && x.Name == y.Name && bytes.Equal(x.Data, y.Data)
	}
	return x == y
}
