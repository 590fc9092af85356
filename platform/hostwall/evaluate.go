package hostwall

import (
	"math"
	"slices"
)

// Verdict codes of the kernel (NF_*, NFT_*).
const (
	codeDrop     = 0
	codeAccept   = 1
	codeStolen   = 2
	codeQueue    = 3
	codeContinue = -1
	codeBreak    = -2
	codeJump     = -3
	codeGoto     = -4
	codeReturn   = -5
)

// Limits of an evaluation. The kernel refuses deeper rule sets; what costs more
// counts as open.
const (
	deepest  = 32
	mostWork = 200_000
)

// part is some sources and why they fared as they did.
type part struct {
	sources sources
	why     reason
}

// reason is the rule that decided; a rule below 0 is the policy of the chain.
type reason struct {
	chain  *chain
	rule   int
	accept bool
	unsure string // what could not be judged on the way, "" if all was
}

// translation is where a rule sends packets on to.
type translation struct {
	part
	address []byte // nil: this computer
	port    []byte // nil: the same
	known   bool   // address and port could be read
}

// walk is the way of a packet through one base chain.
type walk struct {
	wall     *Wall
	packet   passing
	all      sources
	work     int
	accepted []part
	dropped  []part
	answered []part // the firewall itself answers: no later chain is asked
	sent     []translation
}

func (w *walk) accept(s sources, why reason) {
	why.accept = true
	w.accepted = append(w.accepted, part{s, why})
}

// through returns what is let through of s by a base chain.
func (w *walk) through(c *chain, s sources) {
	rest := w.run(c, s, 0)
	if rest.empty() {
		return
	}
	if c.hook.Drop {
		w.dropped = append(w.dropped, part{rest, reason{chain: c, rule: -1}})
		return
	}
	w.accept(rest, reason{chain: c, rule: -1})
}

// run returns what no rule of a chain decided about.
func (w *walk) run(c *chain, s sources, depth int) sources {
	var returned sources
	for i, rule := range c.rules {
		if s.empty() {
			break
		}
		if w.work++; depth > deepest || w.work > mostWork {
			w.accept(s, reason{chain: c, rule: i, unsure: "a rule set of this size"})
			return returned
		}
		step := stepping{walk: w, chain: c, rule: i, depth: depth}
		step.run(rule, s)
		s = union(step.next...)
		if len(step.returned) > 0 {
			returned = union(append(step.returned, returned)...)
		}
	}
	return union(returned, s)
}

// stepping is one rule under way.
type stepping struct {
	*walk
	chain     *chain
	rule      int
	depth     int
	registers registers
	unsure    string
	next      []sources // go on to the next rule
	returned  []sources // leave the chain
}

func (t *stepping) why() reason { return reason{chain: t.chain, rule: t.rule, unsure: t.unsure} }

func (t *stepping) run(rule []op, s sources) {
	for i := range rule {
		var done bool
		if s, done = t.do(&rule[i], s); done || s.empty() {
			return
		}
	}
	t.next = append(t.next, s)
}

// do returns what goes on within the rule; done is true if nothing does.
func (t *stepping) do(o *op, s sources) (_ sources, done bool) {
	switch o.kind {
	case opNothing:
	case opMaybe:
		t.registers.forget()
		return t.test(o, t.question().maybe(), s), false
	case opStrange:
		t.registers.forget()
		t.unsure = "its test of " + o.name
		t.accept(s, t.why())
		return t.test(o, t.question().maybe(), s), false
	case opMeta, opCT, opFIB, opPayload, opValue, opMask, opTurn:
		t.load(o)
	case opCompare, opRange:
		return t.test(o, t.compare(o), s), false
	case opXT:
		return t.test(o, t.question().of(o.match(t.packet)), s), false
	case opLookup:
		return t.lookup(o, s)
	case opVerdict:
		t.verdict(*o.verdict, s)
		return nil, true
	case opReject:
		t.dropped = append(t.dropped, part{s, t.why()})
		return nil, true
	case opQueue:
		t.unsure = "what the program decides that the rule asks"
		t.accept(s, t.why())
		return nil, true
	case opAnswered:
		why := t.why()
		why.accept = true
		t.answered = append(t.answered, part{s, why})
		return nil, true
	case opNAT, opRedirect:
		t.translate(o, s)
		return nil, true
	}
	return s, false
}

// test splits s by an answer: the rest goes on to the next rule.
func (t *stepping) test(o *op, a answer, s sources) sources {
	if !a.sure() && t.unsure == "" {
		t.unsure = "its test of " + o.name
	}
	t.next = append(t.next, s.minus(a.must))
	return s.both(a.may)
}

func (t *stepping) question() question {
	return question{registers: &t.registers, all: t.all, v6: t.packet.V6}
}

func (q question) of(t truth) answer {
	switch t {
	case yes:
		return q.yes()
	case no:
		return q.no()
	}
	return q.maybe()
}

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

// lookup asks a set, or takes a value or a verdict from a map.
func (t *stepping) lookup(o *op, s sources) (_ sources, done bool) {
	q := t.question()
	if o.set == nil || o.set.Changing {
		if o.flags == mapLookup {
			// Whatever verdict the map has for it, accepting may be one.
			t.unsure = "its set, which changes,"
			if o.to == 0 {
				t.accept(s, t.why())
			}
			t.registers.forget()
		}
		return t.test(o, q.maybe(), s), false
	}
	at, ok := place(o.from, o.set.Len)
	if !ok {
		return t.test(o, q.maybe(), s), false
	}
	if o.flags != mapLookup {
		a := t.member(o.set, at)
		if o.not {
			a = a.inverted(t.all)
		}
		return t.test(o, a, s), false
	}
	if o.to == 0 {
		t.verdictMap(o, at, s)
		return nil, true
	}
	return t.valueMap(o, at, s), false
}

// verdictMap does what a map says for each part of s.
func (t *stepping) verdictMap(o *op, at int, s sources) {
	var otherwise *Element
	var certain []sources
	unsure := t.unsure
	for i := range o.set.Elements {
		e := &o.set.Elements[i]
		if e.CatchAll {
			otherwise = e
			continue
		}
		a := t.question().element(o.set, e, at)
		certain = append(certain, a.must)
		if in := s.both(a.may); !in.empty() {
			t.unsure = unsure
			if !a.sure() && unsure == "" {
				t.unsure = "its test of " + o.name
			}
			t.mapped(e, in)
		}
	}
	t.unsure = unsure
	rest := s.minus(union(certain...))
	if otherwise != nil && !rest.empty() {
		t.mapped(otherwise, rest)
		if !otherwise.Sometimes {
			return
		}
	}
	t.next = append(t.next, rest)
}

func (t *stepping) mapped(e *Element, s sources) {
	if e.Verdict == nil {
		t.unsure = "an element of a map"
		t.accept(s, t.why())
		return
	}
	t.verdict(*e.Verdict, s)
}

// valueMap loads the value that a map has for the packet, if there is but one.
func (t *stepping) valueMap(o *op, at int, s sources) sources {
	var value []byte
	count := 0
	for i := range o.set.Elements {
		e := &o.set.Elements[i]
		if e.CatchAll || !s.both(t.question().element(o.set, e, at).may).empty() {
			value, count = e.Value, count+1
		}
	}
	a := t.member(o.set, at)
	cells := unknownCells(ifNameLen)
	if count == 1 && len(value) > 0 {
		cells = knownCells(value)
	}
	if to, ok := place(o.to, len(cells)); ok {
		t.registers.store(to, cells)
	} else {
		t.registers.forget()
	}
	return t.test(o, a, s)
}

// member asks whether a set has what is in the registers.
func (t *stepping) member(s *set, at int) answer {
	var must, may []sources
	for i := range s.Elements {
		a := t.question().element(s, &s.Elements[i], at)
		must, may = append(must, a.must), append(may, a.may)
	}
	return answer{union(must...), union(may...)}
}

// element asks whether one element is what is in the registers.
func (q question) element(s *set, e *Element, at int) answer {
	if e.CatchAll {
		if e.Sometimes {
			return q.maybe()
		}
		return q.yes()
	}
	fields := s.Fields
	if len(fields) == 0 {
		fields = []int{s.Len}
	}
	a, from := q.yes(), 0
	for _, n := range fields {
		if from+n > len(e.First) || from+n > len(e.Last) {
			return q.maybe()
		}
		b := q.within(at+from, e.First[from:from+n], e.Last[from:from+n])
		a = answer{a.must.both(b.must), a.may.both(b.may)}
		from += (n + 3) / 4 * 4
	}
	if e.Sometimes {
		a.must = nil
	}
	return a
}

// verdict does what a verdict says.
func (t *stepping) verdict(v Verdict, s sources) {
	switch v.Code {
	case codeAccept:
		t.accept(s, t.why())
	case codeDrop, codeStolen:
		t.dropped = append(t.dropped, part{s, t.why()})
	case codeContinue, codeBreak:
		t.next = append(t.next, s)
	case codeReturn:
		t.returned = append(t.returned, s)
	case codeJump, codeGoto:
		to := t.chain.table.chain(v.Chain)
		if to == nil {
			t.unsure = "a jump to a chain that is not there"
			t.accept(s, t.why())
			return
		}
		rest := t.walk.run(to, s, t.depth+1)
		if v.Code == codeJump {
			t.next = append(t.next, rest)
		} else {
			t.returned = append(t.returned, rest)
		}
	default:
		t.unsure = "a verdict nobody knows"
		t.accept(s, t.why())
	}
}

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
