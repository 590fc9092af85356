package nft

import (
	"bytes"
	"slices"

	"github.com/mdlayher/netlink"
)

// ForeignTable is a table that somebody else wrote. Its rules are kept as the
// kernel gave them: what this package would not write is not lost.
type ForeignTable struct {
	Family  Family
	Name    string
	Dormant bool // it is there, but no packet gets to it
	Chains  []ForeignChain
	Sets    []ForeignSet
}

// ForeignChain is a list of rules. Without a Hook no packet gets there by itself.
type ForeignChain struct {
	Name  string
	Hook  *Hook // several devices are one Device, separated by spaces
	Rules [][]Unknown
}

// ForeignSet is a set or a map, anonymous ones included.
type ForeignSet struct {
	Name   string
	Fields []int // lengths of the parts of the key; more than one only where each part has a span of its own
	Len    int   // of the key
	// Changing says that packets or time change the elements, which no change of
	// the ruleset tells of: then Elements are not read.
	Changing bool
	Elements []ForeignElement
}

// ForeignElement is one key or a span of keys, both ends included, as registers
// hold them; a map has a value or a verdict for it.
type ForeignElement struct {
	First, Last []byte
	CatchAll    bool // it matches what no other element does
	// Sometimes says that the element has a condition of its own, such as a limit.
	Sometimes bool
	Value     []byte
	Verdict   *ForeignVerdict
}

// ForeignVerdict is what becomes of a packet: a code (NF_*, NFT_*), and the chain
// that a jump goes to.
type ForeignVerdict struct {
	Code  int32
	Chain string
}

func verdictIn(data []byte) *ForeignVerdict {
	inner := readValues(data)[attrDataVerdict]
	if inner == nil {
		return nil
	}
	v := readValues(inner)
	return &ForeignVerdict{Code: int32(v.number(attrVerdictCode)), Chain: v.text(attrVerdictChain)}
}

// Attributes and flags that only a reader of foreign tables needs (NFTA_*,
// NFT_SET_*, NFT_SET_ELEM_*).
const (
	attrElemData        = 2
	attrElemExpr        = 7
	attrElemExpressions = 11

	setDynamic   = 32 // NFT_SET_EVAL: rules add elements
	elemCatchAll = 2
)

// decodeForeignRule reads one rule, and the names of its table and chain.
func decodeForeignRule(m netlink.Message) (k Key, chain string, exprs []Unknown, err error) {
	ad, err := attributes(m)
	if err != nil {
		return Key{}, "", nil, err
	}
	k.Family = Family(m.Data[0])
	for ad.Next() {
		switch ad.Type() {
		case attrRuleTable:
			k.Name = ad.String()
		case attrRuleChain:
			chain = ad.String()
		case attrRuleExprs:
			ad.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					v := readValues(list.Bytes())
					exprs = append(exprs, Unknown{Name: v.text(attrExprName), Data: v[attrExprData]})
				}
				return nil
			})
		}
	}
	return k, chain, exprs, wrapDecode("rule", ad.Err())
}

// decodeForeignSet reads one set, without its elements; interval is whether these
// come as boundaries.
func decodeForeignSet(m netlink.Message) (k Key, s ForeignSet, interval bool, err error) {
	ad, err := attributes(m)
	if err != nil {
		return Key{}, ForeignSet{}, false, err
	}
	k.Family = Family(m.Data[0])
	var flags uint32
	for ad.Next() {
		switch ad.Type() {
		case attrSetTable:
			k.Name = ad.String()
		case attrSetName:
			s.Name = ad.String()
		case attrSetFlags:
			flags = ad.Uint32()
		case attrSetKeyLen:
			s.Len = int(min(ad.Uint32(), 64))
		case attrSetDesc:
			s.Fields = fieldsIn(readValues(ad.Bytes())[attrDescConcat])
		}
	}
	s.Changing = flags&(setTimeout|setDynamic) != 0
	if flags&setInterval == 0 || flags&setConcat == 0 || len(s.Fields) < 2 {
		s.Fields = nil
	}
	return k, s, flags&setInterval != 0 && s.Fields == nil, wrapDecode("set", ad.Err())
}

// fieldsIn reads the lengths of the parts of a concatenation.
func fieldsIn(list []byte) []int {
	ad, err := netlink.NewAttributeDecoder(list)
	if err != nil {
		return nil
	}
	var out []int
	for ad.Next() {
		out = append(out, int(min(readValues(ad.Bytes()).number(attrFieldLen), 64)))
	}
	return out
}

// foreignBoundary is one element as the kernel has it.
type foreignBoundary struct {
	ForeignElement
	isEnd bool
}

func decodeForeignElements(m netlink.Message) ([]foreignBoundary, error) {
	ad, err := attributes(m)
	if err != nil {
		return nil, err
	}
	var out []foreignBoundary
	for ad.Next() {
		if ad.Type() != attrElemsList {
			continue
		}
		ad.Nested(func(list *netlink.AttributeDecoder) error {
			for list.Next() {
				out = append(out, foreignBoundaryFrom(readValues(list.Bytes())))
			}
			return nil
		})
	}
	return out, wrapDecode("elements", ad.Err())
}

func foreignBoundaryFrom(v values) foreignBoundary {
	flags := v.number(attrElemFlags)
	b := foreignBoundary{isEnd: flags&elemIntervalEnd != 0}
	b.First, b.Last = v.data(attrElemKey), v.data(attrElemKeyEnd)
	b.CatchAll = flags&elemCatchAll != 0
	b.Sometimes = v[attrElemExpr] != nil || v[attrElemExpressions] != nil
	b.Value, b.Verdict = v.data(attrElemData), verdictIn(v[attrElemData])
	return b
}

// foreignElements puts the kernel's elements together to spans, in ascending
// order. In a set of intervals a key is where one begins or, flagged, the first
// after its end.
func foreignElements(bounds []foreignBoundary, interval bool) []ForeignElement {
	slices.SortStableFunc(bounds, func(a, b foreignBoundary) int {
		if c := bytes.Compare(a.First, b.First); c != 0 {
			return c
		}
		switch {
		case a.isEnd == b.isEnd:
			return 0
		case a.isEnd:
			return -1
		}
		return 1
	})
	var out []ForeignElement
	for i, b := range bounds {
		e := b.ForeignElement
		switch {
		case b.isEnd:
			continue
		case e.CatchAll:
		case interval && e.Last == nil && i+1 < len(bounds) && bounds[i+1].isEnd:
			e.Last = previous(bounds[i+1].First)
		case interval && e.Last == nil:
			e.Last = bytes.Repeat([]byte{0xff}, len(e.First))
		case e.Last == nil:
			e.Last = e.First
		}
		out = append(out, e)
	}
	return out
}
