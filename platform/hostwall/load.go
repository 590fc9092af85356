package hostwall

import (
	"math"
	"slices"
)

// load fills a register.
func (t *stepping) load(o *op) {
	var cells []cell
	var not [][]byte
	switch o.kind {
	case opMeta:
		cells, not = t.packet.meta(o.key)
	case opCT:
		cells = t.packet.ct(o.key, !o.not)
	case opFIB:
		cells = t.packet.fib(o.key, o.flags)
	case opPayload:
		cells = t.packet.payload(o.key, o.offset, o.length)
	case opValue:
		cells = knownCells(o.value)
	case opMask:
		cells = t.masked(o)
	case opTurn:
		cells = t.turned(o)
	}
	at, ok := place(o.to, len(cells))
	if !ok {
		t.registers.forget()
		return
	}
	t.registers.store(at, cells)
	if not != nil {
		t.registers.not = append(t.registers.not, unlike{at, not})
	}
}

// masked keeps some bits of a register and turns over others.
func (t *stepping) masked(o *op) []cell {
	at, ok := place(o.from, int(min(o.length, registerBytes+1)))
	if !ok {
		return unknownCells(registerBytes)
	}
	n := int(o.length)
	if o.flags != 0 || len(o.value) != n || len(o.other) != n {
		return unknownCells(max(n, 1))
	}
	cells := slices.Clone(t.registers.cells[at : at+n])
	for i := range cells {
		c := &cells[i]
		mask, flip := o.value[i], o.other[i]
		c.known |= ^mask
		if flip&^c.known != 0 {
			c.source = 0
		}
		c.bits = (c.bits&mask ^ flip) & c.known
	}
	return cells
}

// turned changes the order of the bytes of numbers.
func (t *stepping) turned(o *op) []cell {
	at, ok := place(o.from, int(min(o.length, registerBytes+1)))
	if !ok {
		return unknownCells(registerBytes)
	}
	cells := slices.Clone(t.registers.cells[at : at+int(o.length)])
	size := int(min(o.offset, 8))
	if size == 0 || len(cells)%size != 0 || size != int(o.offset) {
		return unknownCells(len(cells))
	}
	if word(1)[0] == 1 {
		for i := 0; i < len(cells); i += size {
			slices.Reverse(cells[i : i+size])
		}
	}
	return cells
}

// Comparisons of the kernel (NFT_CMP_*).
const (
	equal    = 0
	notEqual = 1
	less     = 2
	atMost   = 3
	more     = 4
	atLeast  = 5
)

func (t *stepping) compare(o *op) answer {
	q := t.question()
	at, ok := place(o.from, len(o.value))
	if !ok || len(o.value) == 0 {
		return q.maybe()
	}
	zero, full := make([]byte, len(o.value)), make([]byte, len(o.value))
	for i := range full {
		full[i] = math.MaxUint8
	}
	if o.kind == opRange {
		a := q.within(at, o.value, o.other)
		if o.not {
			return a.inverted(t.all)
		}
		return a
	}
	switch o.key {
	case equal:
		return q.equal(at, o.value)
	case notEqual:
		return q.equal(at, o.value).inverted(t.all)
	case atMost:
		return q.within(at, zero, o.value)
	case more:
		return q.within(at, zero, o.value).inverted(t.all)
	case atLeast:
		return q.within(at, o.value, full)
	case less:
		return q.within(at, o.value, full).inverted(t.all)
	}
	return q.maybe()
}
