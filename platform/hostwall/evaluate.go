package hostwall

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
		held := o.match(t.packet)
		if t.packet.mangled {
			held = perhaps
		}
		return t.test(o, t.question().of(held), s), false
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
