package nft

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Text renders the table in the language of nft(8), which can load it.
func (t Table) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s %s {\n", familyName(t.Family), t.Name)
	if flags := flagNames(t.Flags); flags != "" {
		fmt.Fprintf(&b, "\tflags %s\n", flags)
	}
	for _, s := range t.Sets {
		b.WriteString(s.text())
	}
	for _, c := range t.Chains {
		b.WriteString(c.text(t.Family))
	}
	b.WriteString("}\n")
	return b.String()
}

func (s Set) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\tset %s {\n\t\ttype %s\n", s.Name, typeNames(s.Key))
	var flags []string
	if s.Interval {
		flags = append(flags, "interval")
	}
	if s.Timed {
		flags = append(flags, "timeout")
	}
	if flags != nil {
		fmt.Fprintf(&b, "\t\tflags %s\n", strings.Join(flags, ","))
	}
	var elements []string
	for _, e := range s.Elements {
		elements = append(elements, e.text(s.Key))
	}
	if elements != nil {
		fmt.Fprintf(&b, "\t\telements = { %s }\n", strings.Join(elements, ", "))
	}
	b.WriteString("\t}\n")
	return b.String()
}

func (e Element) text(key []Type) string {
	var parts []string
	first, last := e.First, e.Last
	for _, t := range key {
		if len(first) < t.Len || len(last) < t.Len {
			return fmt.Sprintf("%x-%x", e.First, e.Last)
		}
		parts = append(parts, showSpan(t, first[:t.Len], last[:t.Len]))
		first, last = first[t.Len:], last[t.Len:]
	}
	out := strings.Join(parts, " . ")
	if e.Timeout > 0 {
		out += " timeout " + e.Timeout.String()
	}
	return out
}

func showSpan(t Type, first, last []byte) string {
	show := showNumber
	switch t {
	case IPv4Addr, IPv6Addr:
		show = showAddress
	case Mark:
		show = showIndex
	}
	if bytes.Equal(first, last) {
		return show(first)
	}
	return show(first) + "-" + show(last)
}

func (c Chain) text(family Family) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\tchain %s {\n", c.Name)
	if h := c.Hook; h != nil {
		device := ""
		switch {
		case h.AnyDevice:
			device = ` devices = { "*" }`
		case h.Device != "":
			device = fmt.Sprintf(" device %q", h.Device)
		}
		fmt.Fprintf(&b, "\t\ttype %s hook %s%s priority %d; policy %s;\n",
			h.Type, hookName(family, h.Number), device, h.Priority, nameOf(verdictNames(), h.Policy))
	}
	for _, r := range c.Rules {
		fmt.Fprintf(&b, "\t\t%s\n", r.in(family).Text())
	}
	b.WriteString("\t}\n")
	return b.String()
}

// Text renders the rule in the language of nft(8). What this package never
// writes is shown in square brackets, and is not nft's language.
func (r Rule) Text() string {
	var words []string
	seen := map[Expr]byte{} // the protocols tested so far, by what loads them
	for rest := r.Exprs; len(rest) > 0; {
		text, n := statement(rest, seen)
		load, value, ok := protocolTest(rest)
		if ok {
			seen[load] = value
		}
		if !ok || !needed(load, value, rest[n:]) {
			words = append(words, text)
		}
		rest = rest[n:]
	}
	if r.Comment != "" {
		words = append(words, fmt.Sprintf("comment %q", r.Comment))
	}
	return strings.Join(words, " ")
}

// statement renders the first statement of exprs and says how many of them it
// took.
func statement(exprs []Expr, seen map[Expr]byte) (string, int) {
	f, ok := fieldOf(exprs[0], seen)
	if !ok || len(exprs) < 2 {
		return describe(exprs[0]), 1
	}
	switch test := exprs[1].(type) {
	case Lookup:
		return f.name + test.text(), 2
	case Cmp:
		if last, ok := at[Cmp](exprs, 2); ok && test.Op == AtLeast && last.Op == AtMost {
			return fmt.Sprintf("%s %s-%s", f.name, f.show(test.Value), f.show(last.Value)), 3
		}
		return f.name + operator(test.Op) + f.show(test.Value), 2
	case Mask:
		if f.store != nil && len(exprs) > 2 && exprs[2] == f.store && inverse(test.Bits, test.Flip) {
			return fmt.Sprintf("%s set %s | %s", f.name, f.name, f.show(test.Flip)), 3
		}
		if test.Flip != nil {
			break
		}
		if value, ok := at[Cmp](exprs, 2); ok && len(value.Value) == len(test.Bits) {
			return f.masked(test.Bits, value), 3
		}
		if set, ok := at[Lookup](exprs, 2); ok {
			return fmt.Sprintf("%s & %s%s", f.name, f.show(test.Bits), set.text()), 3
		}
	}
	return describe(exprs[0]), 1
}

// masked renders a test of some bits of the field.
func (f Field) masked(mask []byte, value Cmp) string {
	none := len(bytes.Trim(value.Value, "\x00")) == 0
	if value.Op == NotEqual && none && f.flags {
		return f.name + " " + f.show(mask)
	}
	bits := prefixLength(mask)
	if _, packet := f.load.(Payload); packet && value.Op == Equal && bits >= 0 && (len(mask) == 4 || len(mask) == 16) {
		return fmt.Sprintf("%s %s/%d", f.name, f.show(value.Value), bits)
	}
	op := strings.TrimSpace(operator(value.Op))
	if op == "" {
		op = "=="
	}
	shown := f.show(mask)
	if strings.Contains(shown, "|") {
		shown = "(" + shown + ")"
	}
	return fmt.Sprintf("%s & %s %s %s", f.name, shown, op, f.show(value.Value))
}

func (l Lookup) text() string {
	if l.Not {
		return " != @" + l.Set
	}
	return " @" + l.Set
}

// inverse tells whether each bit is set in one of the two.
func inverse(a, b []byte) bool {
	return slices.EqualFunc(a, b, func(x, y byte) bool { return x == ^y })
}

// needed tells whether a later field gets its meaning from the test for that
// protocol; nft(8) does not print such a test.
func needed(load Expr, value byte, later []Expr) bool {
	for _, f := range fields() {
		for _, n := range f.needs {
			if n.field.load == load && n.value == value && slices.ContainsFunc(later, func(e Expr) bool { return e == f.load }) {
				return true
			}
		}
	}
	return false
}

// fieldOf returns the field that e loads, given the protocols tested so far.
func fieldOf(e Expr, seen map[Expr]byte) (Field, bool) {
	if group, ok := e.(Cgroup); ok {
		return ControlGroup(group.Level), true
	}
	for _, f := range fields() {
		if f.load != e {
			continue
		}
		met := true
		for _, n := range f.needs {
			value, ok := seen[n.field.load]
			met = met && ok && value == n.value
		}
		if met {
			return f, true
		}
	}
	return Field{}, false
}

// at returns the i-th expression if it is there and is a T.
func at[T Expr](exprs []Expr, i int) (T, bool) {
	var none T
	if i >= len(exprs) {
		return none, false
	}
	e, ok := exprs[i].(T)
	return e, ok
}

// describe renders one expression by itself: a verdict as nft(8) does, anything
// else in square brackets, whole.
func describe(e Expr) string {
	switch e := e.(type) {
	case Verdict:
		if name := nameOf(verdictNames(), e); name != "" {
			return name
		}
		return fmt.Sprintf("[verdict %d]", int32(e))
	case Jump:
		return "jump " + e.Chain
	case Reject:
		if e == ResetTCP {
			return "reject with tcp reset"
		}
	case Counter:
		return "counter"
	case Unknown:
		return fmt.Sprintf("[%s %x]", e.Name, e.Data)
	}
	return fmt.Sprintf("[%s %x]", e.name(), e)
}
