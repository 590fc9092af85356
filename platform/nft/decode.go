package nft

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
)

// decodeTable reads the answer to a request for one table.
func decodeTable(m netlink.Message) (Table, error) {
	ad, err := attributes(m)
	if err != nil {
		return Table{}, err
	}
	t := Table{Family: Family(m.Data[0])}
	for ad.Next() {
		switch ad.Type() {
		case attrTableName:
			t.Name = ad.String()
		case attrTableFlags:
			t.Flags = Flags(ad.Uint32())
		}
	}
	return t, wrapDecode("table", ad.Err())
}

// decodeChain reads one chain, without its rules, and the name of its table.
func decodeChain(m netlink.Message) (table string, c Chain, err error) {
	ad, err := attributes(m)
	if err != nil {
		return "", Chain{}, err
	}
	var policy Verdict
	var kind string
	for ad.Next() {
		switch ad.Type() {
		case attrChainTable:
			table = ad.String()
		case attrChainName:
			c.Name = ad.String()
		case attrChainHook:
			h := Hook{}
			ad.Nested(func(inner *netlink.AttributeDecoder) error { return decodeHook(inner, &h) })
			c.Hook = &h
		case attrChainPolicy:
			policy = Verdict(ad.Int32())
		case attrChainType:
			kind = ad.String()
		}
	}
	if c.Hook != nil {
		c.Hook.Policy, c.Hook.Type = policy, kind
	}
	return table, c, wrapDecode("chain", ad.Err())
}

func decodeHook(ad *netlink.AttributeDecoder, h *Hook) error {
	for ad.Next() {
		switch ad.Type() {
		case attrHookNumber:
			h.Number = ad.Uint32()
		case attrHookPriority:
			h.Priority = ad.Int32()
		case attrHookDevice:
			h.Device = ad.String()
		case attrHookDevices:
			ad.Nested(func(list *netlink.AttributeDecoder) error { return decodeDevices(list, h) })
		}
	}
	return nil
}

// decodeDevices reads the devices of a hook. Several of them, which this package
// never writes, become one Device with a name that no device can have.
func decodeDevices(ad *netlink.AttributeDecoder, h *Hook) error {
	var names []string
	for ad.Next() {
		name := ad.String()
		if ad.Type() == attrDevicePrefix {
			name += "*"
		}
		names = append(names, name)
	}
	h.AnyDevice = slices.Equal(names, []string{"*"})
	if !h.AnyDevice {
		h.Device = strings.Join(names, " ")
	}
	return nil
}

// decodeRule reads one rule and the names of its table and chain.
func decodeRule(m netlink.Message) (table, chain string, r Rule, err error) {
	ad, err := attributes(m)
	if err != nil {
		return "", "", Rule{}, err
	}
	for ad.Next() {
		switch ad.Type() {
		case attrRuleTable:
			table = ad.String()
		case attrRuleChain:
			chain = ad.String()
		case attrRuleUserdata:
			r.Comment = decodeComment(ad.Bytes())
		case attrRuleExprs:
			ad.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					list.Nested(func(e *netlink.AttributeDecoder) error {
						r.Exprs = append(r.Exprs, decodeNamedExpr(e))
						return nil
					})
				}
				return nil
			})
		}
	}
	return table, chain, r, wrapDecode("rule", ad.Err())
}

// decodeNamedExpr reads one expression. One with anything in it that this
// package does not write is Unknown, whole.
func decodeNamedExpr(ad *netlink.AttributeDecoder) Expr {
	u := Unknown{}
	for ad.Next() {
		switch ad.Type() {
		case attrExprName:
			u.Name = ad.String()
		case attrExprData:
			u.Data = ad.Bytes()
		}
	}
	if e, ok := decodeExpr(u.Name, u.Data); ok {
		return e
	}
	return u
}

// decodeComment finds the comment in what nft(8) keeps with a rule: entries of
// a kind, a length and that many bytes.
func decodeComment(b []byte) string {
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		value := b[2 : 2+int(b[1])]
		if b[0] == 0 {
			return string(bytes.TrimRight(value, "\x00"))
		}
		b = b[2+len(value):]
	}
	return ""
}

// decodeSet reads one set, without its elements, and the name of its table. An
// anonymous set, which is part of a rule, is not ours to list: ok is false.
func decodeSet(m netlink.Message) (table string, s Set, ok bool, err error) {
	ad, err := attributes(m)
	if err != nil {
		return "", Set{}, false, err
	}
	var flags, kind, length uint32
	for ad.Next() {
		switch ad.Type() {
		case attrSetTable:
			table = ad.String()
		case attrSetName:
			s.Name = ad.String()
		case attrSetFlags:
			flags = ad.Uint32()
		case attrSetKeyType:
			kind = ad.Uint32()
		case attrSetKeyLen:
			length = ad.Uint32()
		}
	}
	s.Interval = flags&setInterval != 0
	s.Timed = flags&setTimeout != 0
	s.Key = keyTypes(kind, length)
	return table, s, flags&setAnonymous == 0, wrapDecode("set", ad.Err())
}

// keyTypes unpacks what keyType packed.
func keyTypes(packed, length uint32) []Type {
	known := []Type{IPv4Addr, IPv6Addr, InetProto, InetService, Mark}
	var key []Type
	for n := packed; n != 0; n >>= 6 {
		i := slices.IndexFunc(known, func(t Type) bool { return t.ID == n&63 })
		if i < 0 {
			return []Type{{Name: fmt.Sprintf("type_%d", packed), ID: packed, Len: int(length)}}
		}
		key = append(key, known[i])
	}
	slices.Reverse(key)
	return key
}

// boundary is one element as the kernel has it.
type boundary struct {
	key, end []byte
	isEnd    bool
	timeout  time.Duration
	left     time.Duration
}

// decodeElements reads the elements of s out of one message.
func decodeElements(m netlink.Message) ([]boundary, error) {
	ad, err := attributes(m)
	if err != nil {
		return nil, err
	}
	var out []boundary
	for ad.Next() {
		if ad.Type() != attrElemsList {
			continue
		}
		ad.Nested(func(list *netlink.AttributeDecoder) error {
			for list.Next() {
				list.Nested(func(e *netlink.AttributeDecoder) error {
					out = append(out, decodeBoundary(e))
					return nil
				})
			}
			return nil
		})
	}
	return out, wrapDecode("elements", ad.Err())
}

func decodeBoundary(ad *netlink.AttributeDecoder) boundary {
	var b boundary
	for ad.Next() {
		switch ad.Type() {
		case attrElemKey:
			b.key = decodeValue(ad)
		case attrElemKeyEnd:
			b.end = decodeValue(ad)
		case attrElemFlags:
			b.isEnd = ad.Uint32()&elemIntervalEnd != 0
		case attrElemTimeout:
			b.timeout = time.Duration(ad.Uint64()) * time.Millisecond
		case attrElemLeft:
			b.left = time.Duration(ad.Uint64()) * time.Millisecond
		}
	}
	return b
}

// decodeValue reads a nested NFTA_DATA_VALUE.
func decodeValue(ad *netlink.AttributeDecoder) []byte {
	var value []byte
	ad.Nested(func(data *netlink.AttributeDecoder) error {
		for data.Next() {
			if data.Type() == attrDataValue {
				value = data.Bytes()
			}
		}
		return nil
	})
	return value
}

// elements puts the kernel's elements together again to those of a Set, in
// ascending order.
func elements(s Set, bounds []boundary) []Element {
	concat := len(s.Key) > 1
	slices.SortFunc(bounds, func(a, b boundary) int {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		if a.isEnd == b.isEnd {
			return 0
		}
		if a.isEnd {
			return -1
		}
		return 1
	})
	var out []Element
	for i, b := range bounds {
		if b.isEnd {
			continue
		}
		e := Element{First: unpadded(s.Key, b.key), Timeout: b.timeout, Left: b.left}
		e.Last = e.First
		switch {
		case s.Interval && concat && b.end != nil:
			e.Last = unpadded(s.Key, b.end)
		case s.Interval && !concat && i+1 < len(bounds) && bounds[i+1].isEnd:
			e.Last = previous(bounds[i+1].key)
		case s.Interval && !concat:
			e.Last = bytes.Repeat([]byte{0xff}, len(b.key))
		}
		out = append(out, e)
	}
	return out
}

// unpadded is the inverse of keyBytes.
func unpadded(key []Type, b []byte) []byte {
	if len(key) <= 1 {
		return b
	}
	var out []byte
	for _, t := range key {
		if len(b) < padded(t.Len) {
			return append(out, b...)
		}
		out = append(out, b[:t.Len]...)
		b = b[padded(t.Len):]
	}
	return out
}

// previous returns the value before b; before zero there is none, and b stays.
func previous(b []byte) []byte {
	out := slices.Clone(b)
	for i := len(out) - 1; i >= 0; i-- {
		out[i]--
		if out[i] != 0xff {
			return out
		}
	}
	return b
}

// generation is a state of nftables, and who made it.
type generation struct {
	id, pid uint32
	process string
}

func decodeGeneration(m netlink.Message) (generation, error) {
	ad, err := attributes(m)
	if err != nil {
		return generation{}, err
	}
	var g generation
	for ad.Next() {
		switch ad.Type() {
		case attrGenID:
			g.id = ad.Uint32()
		case attrGenPID:
			g.pid = ad.Uint32()
		case attrGenProcess:
			g.process = ad.String()
		}
	}
	return g, wrapDecode("generation", ad.Err())
}

// decodeTouched reads in which table the thing is that a message is about.
func decodeTouched(m netlink.Message) (Key, error) {
	ad, err := attributes(m)
	if err != nil {
		return Key{}, err
	}
	k := Key{Family: Family(m.Data[0])}
	for ad.Next() {
		if ad.Type() == attrAnyTable {
			k.Name = ad.String()
		}
	}
	return k, wrapDecode("change", ad.Err())
}

// decodeFlowtable reads a flowtable's family, table and name, as nft(8) writes
// them.
func decodeFlowtable(m netlink.Message) (string, error) {
	ad, err := attributes(m)
	if err != nil {
		return "", err
	}
	var table, name string
	for ad.Next() {
		switch ad.Type() {
		case attrAnyTable:
			table = ad.String()
		case attrFlowtableName:
			name = ad.String()
		}
	}
	return familyName(Family(m.Data[0])) + " " + table + " " + name, wrapDecode("flowtable", ad.Err())
}

func wrapDecode(what string, err error) error {
	if err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	return nil
}
