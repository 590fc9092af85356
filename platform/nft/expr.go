package nft

import "slices"

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

// FIB loads what routing says (NFT_FIB_RESULT_*) about the address that Flags
// choose (NFTA_FIB_F_*).
type FIB struct{ Result, Flags uint32 }

// Mask keeps the bits of the register that are set in it.
type Mask struct{ Bits []byte }

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

// Lookup goes on only if the register is in the set.
type Lookup struct{ Set string }

// Verdict ends a chain for this packet: Drop for good, Accept for this chain.
type Verdict int32

// The verdicts.
const (
	Drop   Verdict = 0
	Accept Verdict = 1
)

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
func (FIB) name() string       { return "fib" }
func (Mask) name() string      { return "bitwise" }
func (Cmp) name() string       { return "cmp" }
func (Lookup) name() string    { return "lookup" }
func (Verdict) name() string   { return "immediate" }
func (Reject) name() string    { return "reject" }
func (u Unknown) name() string { return u.Name }

// NewRule joins what the fields' tests and a verdict need into one rule. A test
// that two of them need, such as "this is TCP", is made once.
func NewRule(comment string, parts ...[]Expr) Rule {
	r := Rule{Comment: comment}
	for _, part := range parts {
		for len(part) >= 2 && isProtocolTest(part) && r.has(part[:2]) {
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

// isProtocolTest tells whether a list begins with a test that fields need.
func isProtocolTest(exprs []Expr) bool {
	return exprs[0] == Expr(NetworkProtocol.load) || exprs[0] == Expr(TransportProtocol.load)
}

func (r Rule) equal(other Rule) bool {
	return r.Comment == other.Comment && equalExprs(r.Exprs, other.Exprs)
}

func equalExprs(a, b []Expr) bool {
	return slices.EqualFunc(a, b, func(x, y Expr) bool { return describe(x) == describe(y) })
}
