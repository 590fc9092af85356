package hostwall

import (
	"bytes"
	"net/netip"
)

// registerBytes is how much the kernel's packet machine can hold.
const registerBytes = 64

// cell is one byte of a register: bits that are known, and those of the others
// that are bits of the packet's source address.
type cell struct {
	bits, known byte
	source      int8 // which byte of the source address, counted from 1; 0 is none
}

// registers are what a rule has loaded so far. Some values are not known but for
// what they are not: an interface that is not loopback.
type registers struct {
	cells [registerBytes]cell
	not   []unlike
}

// unlike says that the bytes from a place on are none of the values.
type unlike struct {
	at     int
	values [][]byte
}

// place is where a register begins (NFT_REG_1 of 16 bytes each, NFT_REG32_00 of 4
// bytes each); ok is false for numbers that the kernel does not know.
func place(register uint32, length int) (at int, ok bool) {
	switch {
	case 1 <= register && register <= 4:
		at = int(register-1) * 16
	case 8 <= register && register <= 23:
		at = int(register-8) * 4
	default:
		return 0, false
	}
	return at, length >= 0 && at+length <= registerBytes
}

// store fills a register. The kernel clears the rest of its last four bytes.
func (r *registers) store(at int, cells []cell) {
	end := min(at+(len(cells)+3)/4*4, registerBytes)
	for i := at; i < end; i++ {
		r.cells[i] = cell{known: 0xff}
	}
	copy(r.cells[at:end], cells)
	kept := r.not[:0]
	for _, u := range r.not {
		if u.at+len(u.values[0]) <= at || end <= u.at {
			kept = append(kept, u)
		}
	}
	r.not = kept
}

func (r *registers) forget() { *r = registers{} }

// unknownCells are bytes of which nothing is known.
func unknownCells(n int) []cell { return make([]cell, n) }

func knownCells(b []byte) []cell {
	out := make([]cell, len(b))
	for i := range b {
		out[i] = cell{bits: b[i], known: 0xff}
	}
	return out
}

// answer is from which sources a test holds: for certain, and perhaps. What is
// certain is part of what may be.
type answer struct{ must, may sources }

func (a answer) inverted(all sources) answer { return answer{all.minus(a.may), all.minus(a.must)} }

func (a answer) sure() bool {
	return len(a.must) == len(a.may) && a.may.minus(a.must).empty()
}

// question is one comparison: bytes of registers, and from which sources at all.
type question struct {
	registers *registers
	all       sources
	v6        bool
}

func (q question) yes() answer   { return answer{q.all, q.all} }
func (q question) no() answer    { return answer{} }
func (q question) maybe() answer { return answer{nil, q.all} }

// within asks whether the bytes from a place on are between two values, both
// included.
func (q question) within(at int, first, last []byte) answer {
	if len(first) != len(last) || at < 0 || at+len(first) > registerBytes {
		return q.maybe()
	}
	if bytes.Equal(first, last) {
		return q.equal(at, first)
	}
	cells := q.registers.cells[at : at+len(first)]
	if value, ok := valueOf(cells); ok {
		if bytes.Compare(first, value) <= 0 && bytes.Compare(value, last) <= 0 {
			return q.yes()
		}
		return q.no()
	}
	if !q.isSource(cells) || bytes.Compare(first, last) > 0 {
		return q.maybe()
	}
	in := sources{{q.address(first, 0), q.address(last, 0xff)}}
	return answer{in.both(q.all), in.both(q.all)}
}

// equal asks whether the bytes from a place on have a value.
func (q question) equal(at int, value []byte) answer {
	if at < 0 || at+len(value) > registerBytes {
		return q.maybe()
	}
	if q.registers.isUnlike(at, value) {
		return q.no()
	}
	mask, want := make([]byte, q.addressLen()), make([]byte, q.addressLen())
	sure := true
	for i, c := range q.registers.cells[at : at+len(value)] {
		if (c.bits^value[i])&c.known != 0 {
			return q.no()
		}
		switch unknown := ^c.known; {
		case unknown == 0:
		case c.source > 0 && int(c.source) <= len(mask):
			mask[c.source-1] |= unknown
			want[c.source-1] |= value[i] & unknown
		default:
			sure = false
		}
	}
	in, ok := prefixOf(mask, want)
	if !ok {
		return q.maybe()
	}
	in = in.both(q.all)
	if !sure {
		return answer{nil, in}
	}
	return answer{in, in}
}

func (r *registers) isUnlike(at int, value []byte) bool {
	for _, u := range r.not {
		for _, v := range u.values {
			if u.at == at && bytes.Equal(v, value) {
				return true
			}
		}
	}
	return false
}

// isSource tells whether the cells are the first bytes of the source address.
func (q question) isSource(cells []cell) bool {
	for i, c := range cells {
		if c.known != 0 || int(c.source) != i+1 {
			return false
		}
	}
	return len(cells) <= q.addressLen()
}

func (q question) addressLen() int {
	if q.v6 {
		return 16
	}
	return 4
}

// address makes an address of its first bytes.
func (q question) address(b []byte, rest byte) netip.Addr {
	full := bytes.Repeat([]byte{rest}, q.addressLen())
	copy(full, b)
	a, _ := netip.AddrFromSlice(full) // 4 or 16 bytes
	return a
}

func valueOf(cells []cell) ([]byte, bool) {
	out := make([]byte, len(cells))
	for i, c := range cells {
		if c.known != 0xff {
			return nil, false
		}
		out[i] = c.bits
	}
	return out, true
}

// prefixOf is the addresses that have those bits of the mask; ok is false if the
// mask has holes.
func prefixOf(mask, bits []byte) (in sources, ok bool) {
	ones := 0
	for ones < len(mask)*8 && mask[ones/8]&(0x80>>(ones%8)) != 0 {
		ones++
	}
	for i := ones; i < len(mask)*8; i++ {
		if mask[i/8]&(0x80>>(i%8)) != 0 {
			return nil, false
		}
	}
	a, _ := netip.AddrFromSlice(bits) // 4 or 16 bytes
	p := netip.PrefixFrom(a, ones)
	return sources{{p.Addr(), lastOf(p)}}, true
}
