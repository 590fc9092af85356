package nft

import (
	"encoding/binary"
	"math"
)

// encoder writes the attributes of one message, numbers in network byte order.
// It appends to one piece of memory: an isolation is some thousand attributes,
// and the time they take is time that the host is still open.
type encoder struct {
	out     []byte
	tooLong bool // an attribute's length must fit 16 bits
}

// nested is the flag of an attribute that holds others (NLA_F_NESTED).
const (
	nested          = 0x8000
	attributeHeader = 4
)

// String writes text with a zero at its end.
func (e *encoder) String(kind uint16, s string) {
	start := e.begin(kind)
	e.out = append(append(e.out, s...), 0)
	e.end(start)
}

func (e *encoder) Bytes(kind uint16, b []byte) {
	start := e.begin(kind)
	e.out = append(e.out, b...)
	e.end(start)
}

func (e *encoder) Uint8(kind uint16, n uint8) { e.Bytes(kind, []byte{n}) }

func (e *encoder) Uint32(kind uint16, n uint32) {
	start := e.begin(kind)
	e.out = binary.BigEndian.AppendUint32(e.out, n)
	e.end(start)
}

func (e *encoder) Int32(kind uint16, n int32) { e.Uint32(kind, uint32(n)) }

func (e *encoder) Uint64(kind uint16, n uint64) {
	start := e.begin(kind)
	e.out = binary.BigEndian.AppendUint64(e.out, n)
	e.end(start)
}

// nest writes an attribute that holds those that fill writes.
func nest(e *encoder, kind uint16, fill func(*encoder)) {
	start := e.begin(kind | nested)
	fill(e)
	e.end(start)
}

// begin writes a header without its length, and returns where it is.
func (e *encoder) begin(kind uint16) int {
	start := len(e.out)
	e.out = binary.NativeEndian.AppendUint16(append(e.out, 0, 0), kind)
	return start
}

// end fills in the length of the attribute that began there, and pads it.
func (e *encoder) end(start int) {
	length := len(e.out) - start
	if length > math.MaxUint16 {
		e.tooLong = true
	}
	binary.NativeEndian.PutUint16(e.out[start:], uint16(length))
	for len(e.out)%attributeHeader != 0 {
		e.out = append(e.out, 0)
	}
}
