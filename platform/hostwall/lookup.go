package hostwall

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
