package hostwall

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
)

// String names the rule, as a person finds it in "nft list ruleset".
func (r reason) String() string {
	table := r.chain.table
	text := fmt.Sprintf("nftables table %s %s, chain %s", familyName(table.family), table.name, r.chain.name)
	switch {
	case r.rule >= 0:
		text += fmt.Sprintf(", rule %d", r.rule+1)
		if rule := describe(r.chain.rules[r.rule]); rule != "" {
			text += ": " + rule
		}
	case r.accept:
		text += ", policy accept"
	default:
		text += ", policy drop"
	}
	if r.accept && r.unsure != "" {
		text += " (" + r.unsure + " cannot be judged, so it counts as open)"
	}
	return printable(text)
}

func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

func familyName(f Family) string {
	switch f {
	case Inet:
		return "inet"
	case Netdev:
		return "netdev"
	case IPv4:
		return "ip"
	}
	return "ip6"
}

// mostWords is how much of a rule is shown.
const mostWords = 6

// describe writes a rule nearly as nft(8) does, without what goes without saying.
func describe(rule []op) string {
	var words []string
	loads := map[uint32]op{}
	for _, o := range rule {
		switch o.kind {
		case opMeta, opCT, opPayload, opFIB:
			loads[o.to] = o
		case opMask:
			load := loads[o.from]
			load.value = o.value
			loads[o.to] = load
		case opCompare, opRange:
			if w := compared(loads[o.from], o); w != "" {
				words = append(words, w)
			}
		case opLookup:
			words = append(words, strings.TrimSpace(label(loads[o.from])+" "+setName(o)))
		case opXT, opMaybe, opStrange:
			words = append(words, o.name)
		default:
			if w := effect(o); w != "" {
				words = append(words, w)
			}
		}
	}
	if len(words) > mostWords {
		words = append(words[:mostWords-1], "...")
	}
	return strings.ReplaceAll(strings.ReplaceAll(strings.Join(words, " "), "protocol tcp ", "tcp "), "protocol udp ", "udp ")
}

func effect(o op) string {
	switch o.kind {
	case opReject:
		return "reject"
	case opQueue:
		return "queue"
	case opAnswered:
		return "synproxy"
	case opNAT:
		return "nat"
	case opRedirect:
		return "redirect"
	case opVerdict:
		return verdictName(*o.verdict)
	}
	return ""
}

func verdictName(v Verdict) string {
	switch v.Code {
	case codeAccept:
		return "accept"
	case codeDrop:
		return "drop"
	case codeReturn:
		return "return"
	case codeJump:
		return "jump " + v.Chain
	case codeGoto:
		return "goto " + v.Chain
	}
	return ""
}

func setName(o op) string {
	name := "a set"
	if o.set != nil && !strings.HasPrefix(o.set.Name, "__") {
		name = "@" + o.set.Name
	}
	if o.flags == mapLookup {
		name = "vmap " + name
	}
	if o.not {
		name = "!= " + name
	}
	return name
}

// compared is one test, "tcp dport 22"; "" for tests that only prepare another.
func compared(load, o op) string {
	what := label(load)
	if what == "" || load.kind == opMeta && (load.key == metaNFProto || load.key == metaProtocol) {
		return ""
	}
	value := shown(load, o.value)
	if load.kind == opCT && load.key == ctState {
		return what + " " + states(load.value)
	}
	switch {
	case o.kind == opRange && o.not:
		return what + " != " + value + "-" + shown(load, o.other)
	case o.kind == opRange:
		return what + " " + value + "-" + shown(load, o.other)
	case o.key == equal:
		return what + " " + value
	}
	return what + " " + [...]string{"", "!=", "<", "<=", ">", ">="}[min(o.key, 5)] + " " + value
}

// states names the states that the mask before the comparison picks.
func states(mask []byte) string {
	var names []string
	for i, name := range []string{"invalid", "established", "related", "new"} {
		if len(mask) == 4 && binary.NativeEndian.Uint32(mask)&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

func label(load op) string {
	switch load.kind {
	case opMeta:
		return map[uint32]string{
			metaIIF: "iif", metaIIFName: "iifname", metaL4Proto: "protocol", metaIIFType: "iiftype",
			metaNFProto: "family", metaProtocol: "protocol", metaPktType: "pkttype", 3: "mark", 7: "oifname",
		}[load.key]
	case opCT:
		return map[uint32]string{ctState: "ct state", ctStatus: "ct status", ctProtoDst: "ct original port", ctDirection: "ct direction"}[load.key]
	case opFIB:
		return "fib"
	case opPayload:
		switch {
		case load.key == transport && load.offset == 2 && load.length == 2:
			return "dport"
		case load.key == transport && load.offset == 0 && load.length == 2:
			return "sport"
		case load.key == networkHeader && (load.offset == 12 || load.offset == 8 && load.length > 1): // or the TTL
			return "saddr"
		case load.key == networkHeader && (load.offset == 16 || load.offset == 24):
			return "daddr"
		}
		return "header"
	}
	return ""
}

// shown is a value as a person writes it.
func shown(load op, b []byte) string {
	switch what := label(load); {
	case what == "iifname" || what == "oifname":
		return fmt.Sprintf("%q", strings.TrimRight(string(b), "\x00"))
	case what == "iif" && len(b) == 4 && binary.NativeEndian.Uint32(b) == 1:
		return `"lo"`
	case (what == "dport" || what == "sport" || what == "ct original port") && len(b) == 2:
		return fmt.Sprint(binary.BigEndian.Uint16(b))
	case what == "protocol" && len(b) == 1 && b[0] == 6:
		return "tcp"
	case what == "protocol" && len(b) == 1 && b[0] == 17:
		return "udp"
	case what == "saddr" || what == "daddr":
		full := b
		if len(b) < 4 {
			full = append(append([]byte(nil), b...), make([]byte, 4-len(b))...)
		}
		if a, ok := netip.AddrFromSlice(full); ok {
			return a.String()
		}
	}
	return fmt.Sprintf("0x%x", b)
}
