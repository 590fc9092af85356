package hostwall

// translate sends packets on to another address or port. Translation of the
// source alone leaves them on their way.
func (t *stepping) translate(o *op, s sources) {
	why := t.why()
	why.accept = true
	n := translation{part: part{s, why}, known: true}
	isDest := o.kind == opRedirect || o.flags&1 != 0
	switch {
	case !isDest:
		t.accept(s, why)
		return
	case o.flags&xtValues != 0:
		n.address, n.port = o.other, o.value
		if size := addressSize(t.packet.V6); len(n.address) > size {
			n.address = n.address[:size]
		}
	default:
		if o.kind == opNAT && o.from != 0 {
			n.address, n.known = t.value(o.from, addressSize(t.packet.V6), n.known)
		}
		if o.to != 0 {
			n.port, n.known = t.value(o.to, 2, n.known)
		}
	}
	t.sent = append(t.sent, n)
}

func addressSize(v6 bool) int {
	if v6 {
		return 16
	}
	return 4
}

func (t *stepping) value(register uint32, n int, known bool) ([]byte, bool) {
	at, ok := place(register, n)
	if !ok {
		return nil, false
	}
	b, ok := valueOf(t.registers.cells[at : at+n])
	return b, ok && known
}
