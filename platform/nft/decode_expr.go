package nft

import (
	"bytes"
	"encoding/binary"

	"github.com/mdlayher/netlink"
)

// values are the attributes of one expression: numbers, nested values, strings.
type values map[uint16][]byte

func (v values) number(kind uint16) uint32 {
	b := v[kind]
	if len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func (v values) long(kind uint16) uint64 {
	b := v[kind]
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// data returns the NFTA_DATA_VALUE inside an attribute.
func (v values) data(kind uint16) []byte { return readValues(v[kind])[attrDataValue] }

func (v values) text(kind uint16) string { return string(bytes.TrimRight(v[kind], "\x00")) }

func readValues(b []byte) values {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return nil
	}
	out := values{}
	for ad.Next() {
		out[ad.Type()] = ad.Bytes()
	}
	return out
}

// decodeExpr reads an expression that this package may have written. Whether it
// did is checked by writing it again: only one that comes out the same, apart
// from what the kernel adds, is ours.
func decodeExpr(name string, data []byte) (Expr, bool) {
	v := readValues(data)
	var e Expr
	switch name {
	case "meta":
		e = Meta{v.number(2)}
		if v[3] != nil {
			e = SetMeta{v.number(2)}
		}
	case "payload":
		e = Payload{Base(v.number(2)), v.number(3), v.number(4)}
	case "ct":
		e = CT{v.number(2)}
		if v[4] != nil {
			e = SetCT{v.number(2)}
		}
	case "socket":
		e = Cgroup{v.number(3)}
	case "counter":
		e = Counter{Bytes: v.long(1), Packets: v.long(2)}
	case "fib":
		e = FIB{v.number(2), v.number(3)}
	case "bitwise":
		m := Mask{Bits: v.data(4), Flip: v.data(5)}
		if len(bytes.Trim(m.Flip, "\x00")) == 0 {
			m.Flip = nil
		}
		e = m
	case "cmp":
		e = Cmp{Op(v.number(2)), v.data(3)}
	case "lookup":
		e = Lookup{v.text(1), v.number(5) == lookupInverted}
	case "immediate":
		verdict := readValues(readValues(v[2])[attrDataVerdict])
		e = Verdict(int32(verdict.number(attrVerdictCode)))
		if e == Expr(Verdict(verdictJump)) {
			e = Jump{verdict.text(attrVerdictChain)}
		}
	case "reject":
		code := v[2]
		if len(code) != 1 {
			code = []byte{0}
		}
		e = Reject{v.number(1), code[0]}
	default:
		return nil, false
	}
	return e, e.name() == name && v.same(rewritten(e))
}

// rewritten returns the attributes that writing e gives.
func rewritten(e Expr) values {
	var out encoder
	encodeExpr(&out, e)
	return readValues(out.out)
}

// same tells whether v, as the kernel gave it, says what ours says. Attributes
// the kernel adds by itself are zero (the operation of a bitwise, the flags of a
// lookup); any other is a difference.
func (v values) same(ours values) bool {
	if v == nil || ours == nil {
		return false
	}
	for kind, b := range ours {
		if !sameBytes(v[kind], b) {
			return false
		}
	}
	for kind, b := range v {
		if _, ok := ours[kind]; !ok && len(bytes.Trim(b, "\x00")) != 0 {
			return false
		}
	}
	return true
}

// sameBytes compares attributes; a nested one may carry the nesting flag in its
// inner headers or not.
func sameBytes(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, y := readValues(a), readValues(b)
	if len(x) == 0 || len(x) != len(y) {
		return false
	}
	for kind, value := range x {
		if !sameBytes(value, y[kind]) {
			return false
		}
	}
	return true
}
