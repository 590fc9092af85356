package hostwall

import (
	"bytes"
	"cmp"
	"slices"
)

// opKind is what one instruction does.
type opKind uint8

const (
	opNothing opKind = iota // counters, logs, marks
	opMaybe                 // a condition that cannot be judged; it may write any register
	opStrange               // an instruction nobody knows: it may do anything, accepting among it
	opMeta                  // loads
	opCT
	opFIB
	opPayload
	opValue
	opMask
	opTurn // byte order
	opCompare
	opRange
	opLookup
	opVerdict
	opReject
	opQueue    // another program decides
	opAnswered // the firewall itself answers the sender
	opNAT      // sends the packet elsewhere, or leaves it if it only rewrites the source
	opRedirect
	opXT // a match of iptables
)

// op is one instruction of a rule.
type op struct {
	kind     opKind
	name     string // of the instruction, for who reads about it
	from, to uint32 // registers
	key      uint32 // of what is loaded; or the comparison
	flags    uint32
	offset   uint32
	length   uint32
	value    []byte
	other    []byte
	not      bool
	set      *set
	verdict  *Verdict
	match    func(packet passing) truth
}

// truth is a test of one packet by whatever its source may be.
type truth uint8

const (
	perhaps truth = iota
	yes
	no
)

// set is a set or a map, ready to be asked.
type set struct {
	Set
}

type chain struct {
	name  string
	hook  *Hook
	rules [][]op
	table *table
}

type table struct {
	family Family
	name   string
	chains []*chain
}

func (t *table) chain(name string) *chain {
	for _, c := range t.chains {
		if c.name == name {
			return c
		}
	}
	return nil
}

// compiler turns what was read into instructions, and finds what the rules ask
// of a packet at all.
type compiler struct {
	wall  *Wall
	loads map[int]op // by place: what a register of this rule was loaded with
	sets  map[string]*set
}

func (c *compiler) table(f Table) *table {
	t := &table{family: f.Family, name: f.Name}
	c.sets = map[string]*set{}
	for i := range f.Sets {
		c.sets[f.Sets[i].Name] = &set{Set: f.Sets[i]}
	}
	for _, fc := range f.Chains {
		compiled := &chain{name: fc.Name, hook: fc.Hook, table: t}
		for _, rule := range fc.Rules {
			c.loads = map[int]op{}
			var ops []op
			for _, e := range rule {
				o := c.op(e)
				c.note(o)
				if at, ok := place(o.from, 0); ok && (o.kind == opCompare || o.kind == opRange || o.kind == opLookup) {
					o.name = cmp.Or(label(c.loads[at]), o.name)
				}
				ops = append(ops, o)
			}
			compiled.rules = append(compiled.rules, ops)
		}
		t.chains = append(t.chains, compiled)
	}
	return t
}

// op reads one instruction. The attribute numbers are those of
// linux/netfilter/nf_tables.h.
func (c *compiler) op(e Expression) op {
	a := attributesIn(e.Data)
	o := op{name: e.Name}
	switch e.Name {
	case "counter", "log", "last", "dup", "notrack":
		o.kind = opNothing
	case "meta":
		o = op{kind: opMeta, to: a.number(1), key: a.number(2), name: e.Name}
		if a.has(3) {
			o.kind = opNothing
		}
	case "ct":
		o = op{kind: opCT, to: a.number(1), key: a.number(2), name: e.Name, not: a.has(3) && !bytes.Equal(a[3], []byte{0})}
		if a.has(4) {
			o.kind = opNothing
		}
	case "payload":
		o = op{kind: opPayload, to: a.number(1), key: a.number(2), offset: a.number(3), length: a.number(4), name: e.Name}
		if a.has(5) {
			o.kind, c.wall.mangles = opNothing, true
		}
	case "fib":
		o = op{kind: opFIB, to: a.number(1), key: a.number(2), flags: a.number(3), name: e.Name}
	case "immediate":
		o = op{kind: opValue, to: a.number(1), value: a.value(2), verdict: a.verdict(2), name: e.Name}
		if o.verdict != nil {
			o.kind = opVerdict
		}
	case "bitwise":
		o = op{kind: opMask, from: a.number(1), to: a.number(2), length: a.number(3), value: a.value(4), other: a.value(5), flags: a.number(6), name: e.Name}
	case "byteorder":
		o = op{kind: opTurn, from: a.number(1), to: a.number(2), length: a.number(4), offset: a.number(5), name: e.Name}
	case "cmp":
		o = op{kind: opCompare, from: a.number(1), key: a.number(2), value: a.value(3), name: e.Name}
	case "range":
		o = op{kind: opRange, from: a.number(1), not: a.number(2) == 1, value: a.value(3), other: a.value(4), name: e.Name}
	case "lookup":
		o = op{kind: opLookup, set: c.sets[a.text(1)], from: a.number(2), to: a.number(3), not: a.number(5)&1 != 0, name: e.Name}
		o.flags = 0
		if a.has(3) {
			o.flags = mapLookup
		}
	case "reject":
		o.kind = opReject
	case "queue":
		o.kind = opQueue
	case "synproxy":
		o.kind = opAnswered
	case "nat":
		o = op{kind: opNAT, flags: a.number(1), from: a.number(3), to: a.number(5), name: e.Name}
	case "masq":
		o = op{kind: opNAT, name: e.Name}
	case "redir":
		o = op{kind: opRedirect, to: a.number(1), name: e.Name}
	case "tproxy":
		o = op{kind: opRedirect, to: a.number(3), name: e.Name}
	case "objref":
		o.kind = opMaybe
		if kind := a.number(1); kind == objectCounter || kind == objectHelper {
			o.kind = opNothing
		}
	case "limit", "quota", "connlimit", "numgen", "hash", "jhash", "symhash", "osf", "socket", "xfrm", "tunnel",
		"exthdr", "rt", "dynset", "fwd", "inner", "flow_offload":
		o.kind = opMaybe
	case "match":
		o = xtMatch(a)
	case "target":
		o = xtTarget(a)
	default:
		o.kind = opStrange
	}
	if e.Name == "notrack" || e.Name == "target" && a.text(1) == "CT" {
		c.wall.untracks = true
	}
	return o
}

const (
	mapLookup     = 1 // a lookup that loads, or decides
	objectCounter = 1 // NFT_OBJECT_*
	objectHelper  = 3
)

// note finds the names of interfaces that rules ask for, and the ports that
// rules of address translation do.
func (c *compiler) note(o op) {
	switch o.kind {
	case opMeta, opCT, opFIB, opPayload, opValue:
		if at, ok := place(o.to, 0); ok {
			c.loads[at] = o
		}
	case opMask, opTurn:
		if at, ok := place(o.from, 0); ok && isName(c.loads[at]) {
			c.wall.vagueNames = true
		}
		if at, ok := place(o.to, 0); ok && o.from != o.to {
			delete(c.loads, at)
		}
	case opCompare, opRange:
		c.noteValues(o.from, 0, o.value, o.other)
		if o.kind == opRange || o.key > 1 {
			if at, ok := place(o.from, 0); ok && isName(c.loads[at]) {
				c.wall.vagueNames = true
			}
		}
	case opLookup:
		c.noteSet(o)
	}
}

func (c *compiler) noteSet(o op) {
	if o.set == nil {
		return
	}
	at, ok := place(o.from, 0)
	if !ok {
		return
	}
	for other, load := range c.loads {
		if other < at || at+o.set.Len <= other {
			continue
		}
		if isName(load) && o.set.Changing {
			c.wall.vagueNames = true
		}
		for _, e := range o.set.Elements {
			if isName(load) && !bytes.Equal(piece(e.First, other-at), piece(e.Last, other-at)) {
				c.wall.vagueNames = true
			}
			c.noteValues(o.from, other-at, piece(e.First, other-at), piece(e.Last, other-at))
		}
	}
}

func piece(b []byte, from int) []byte {
	if from < 0 || from > len(b) {
		return nil
	}
	return b[from:min(len(b), from+ifNameLen)]
}

// noteValues takes down what a register is compared with.
func (c *compiler) noteValues(register uint32, offset int, first, last []byte) {
	at, ok := place(register, 0)
	if !ok {
		return
	}
	load := c.loads[at+offset]
	switch {
	case isName(load):
		name := string(bytes.TrimRight(first, "\x00"))
		if len(first) < ifNameLen { // "eth*"
			name += "~"
		}
		if len(name) < ifNameLen && !slices.Contains(c.wall.names, name) && name != "lo" {
			c.wall.names = append(c.wall.names, name)
		}
	case load.kind == opPayload && load.key == transport && load.offset <= 2 && load.offset+load.length >= 4:
		skip := int(2 - load.offset)
		c.wall.noteports(piece(first, skip), piece(last, skip))
	case load.kind == opCT && load.key == ctProtoDst:
		c.wall.noteports(first, last)
	}
}

func isName(o op) bool { return o.kind == opMeta && o.key == metaIIFName }
