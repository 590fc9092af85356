package hostwall_test

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/firebreak-sec/firebreak/platform/hostwall"
)

// What follows writes expressions as the kernel gives them, by the numbers of
// linux/netfilter/nf_tables.h. Values are loaded into register 1.

func attribute(kind uint16, data ...byte) []byte {
	out := binary.NativeEndian.AppendUint16(nil, uint16(4+len(data)))
	out = append(binary.NativeEndian.AppendUint16(out, kind), data...)
	return append(out, make([]byte, (4-len(out)%4)%4)...)
}

func number(kind uint16, n uint32) []byte {
	return attribute(kind, binary.BigEndian.AppendUint32(nil, n)...)
}

func text(kind uint16, s string) []byte { return attribute(kind, append([]byte(s), 0)...) }

func value(kind uint16, data ...byte) []byte { return attribute(kind, attribute(1, data...)...) }

func host32(n uint32) []byte                                { return binary.NativeEndian.AppendUint32(nil, n) }
func rule(e ...[]hostwall.Expression) []hostwall.Expression { return slices.Concat(e...) }

func expression(name string, attributes ...[]byte) []hostwall.Expression {
	return []hostwall.Expression{{Name: name, Data: slices.Concat(attributes...)}}
}

func meta(key uint32) []hostwall.Expression { return expression("meta", number(1, 1), number(2, key)) }

func ct(key uint32) []hostwall.Expression { return expression("ct", number(1, 1), number(2, key)) }

func payload(base, offset, length uint32) []hostwall.Expression {
	return expression("payload", number(1, 1), number(2, base), number(3, offset), number(4, length))
}

// compare is a test by NFT_CMP_*: 0 is equal, 1 is not.
func compare(by uint32, v ...byte) []hostwall.Expression {
	return expression("cmp", number(1, 1), number(2, by), value(3, v...))
}

func is(v ...byte) []hostwall.Expression { return compare(0, v...) }

func masked(mask ...byte) []hostwall.Expression {
	return expression("bitwise", number(1, 1), number(2, 1), number(3, uint32(len(mask))), value(4, mask...), value(5, make([]byte, len(mask))...))
}

func inSet(name string) []hostwall.Expression {
	return expression("lookup", text(1, name), number(2, 1))
}

func notInSet(name string) []hostwall.Expression {
	return expression("lookup", text(1, name), number(2, 1), number(5, 1))
}

func byMap(name string) []hostwall.Expression {
	return expression("lookup", text(1, name), number(2, 1), number(3, 0))
}

func then(code int32, chain string) []hostwall.Expression {
	v := number(1, uint32(code))
	if chain != "" {
		v = append(v, text(2, chain)...)
	}
	return expression("immediate", number(1, 0), attribute(2, attribute(2, v...)...))
}

func match(name string, revision uint32, info []byte) []hostwall.Expression {
	return expression("match", text(1, name), number(2, revision), attribute(3, info...))
}

func target(name string) []hostwall.Expression {
	return expression("target", text(1, name), number(2, 0))
}

func isTCP() []hostwall.Expression { return rule(meta(16), is(6)) }

func portBytes(port uint16) []byte { return binary.BigEndian.AppendUint16(nil, port) }

func tcp(port uint16) []hostwall.Expression {
	return rule(isTCP(), payload(2, 2, 2), is(portBytes(port)...))
}

func sourceIn(prefix string) []hostwall.Expression {
	p := netip.MustParsePrefix(prefix)
	mask := make([]byte, 4)
	binary.BigEndian.PutUint32(mask, ^uint32(0)<<(32-p.Bits()))
	return rule(meta(15), is(2), payload(1, 12, 4), masked(mask...), is(p.Masked().Addr().AsSlice()...))
}

func interfaceIs(name string) []hostwall.Expression {
	return rule(meta(6), is(append([]byte(name), make([]byte, 16-len(name))...)...))
}

// sendTo is address translation of the destination.
func sendTo(address string, port uint16) []hostwall.Expression {
	a := netip.MustParseAddr(address).AsSlice()
	return rule(
		expression("immediate", number(1, 1), value(2, a...)),
		expression("immediate", number(1, 2), value(2, portBytes(port)...)),
		expression("nat", number(1, 1), number(2, 2), number(3, 1), number(5, 2)),
	)
}

func accept() []hostwall.Expression           { return then(1, "") }
func drop() []hostwall.Expression             { return then(0, "") }
func jump(chain string) []hostwall.Expression { return then(-3, chain) }

// chain is one with a hook of the filter type; drops is its policy.
func chain(hook uint32, priority int32, drops bool, rules ...[]hostwall.Expression) hostwall.Chain {
	return hostwall.Chain{
		Name: "c", Hook: &hostwall.Hook{Type: "filter", Number: hook, Priority: priority, Drop: drops}, Rules: rules,
	}
}

func plain(name string, rules ...[]hostwall.Expression) hostwall.Chain {
	return hostwall.Chain{Name: name, Rules: rules}
}

func inet(chains ...hostwall.Chain) hostwall.Table {
	return hostwall.Table{Family: hostwall.Inet, Name: "t", Chains: chains}
}

// input is a table whose input chain drops what no rule accepts.
func input(rules ...[]hostwall.Expression) []hostwall.Table {
	return []hostwall.Table{inet(chain(1, 0, true, rules...))}
}

// open is one whose input chain accepts what no rule drops.
func open(rules ...[]hostwall.Expression) []hostwall.Table {
	return []hostwall.Table{inet(chain(1, 0, false, rules...))}
}

func with(tables []hostwall.Table, sets ...hostwall.Set) []hostwall.Table {
	tables[0].Sets = append(tables[0].Sets, sets...)
	return tables
}

func and(tables []hostwall.Table, chains ...hostwall.Chain) []hostwall.Table {
	tables[0].Chains = append(tables[0].Chains, chains...)
	return tables
}

func one(key []byte) hostwall.Element { return hostwall.Element{First: key, Last: key} }
