package nft

import (
	"github.com/mdlayher/netlink"
)

// encodeTable creates the table, or leaves it as it is.
func encodeTable(t *Table) netlink.Message {
	return message(newTable, t.Family, netlink.Create, func(ae *encoder) {
		ae.String(attrTableName, t.Name)
		ae.Uint32(attrTableFlags, uint32(t.Flags))
	})
}

// encodeTableRemoval removes the table with all that is in it.
func encodeTableRemoval(t *Table) netlink.Message {
	return message(delTable, t.Family, 0, func(ae *encoder) {
		ae.String(attrTableName, t.Name)
	})
}

// encodeSet creates the set, empty. The id only has to differ within one
// transaction.
func encodeSet(t *Table, s Set, id uint32) netlink.Message {
	return message(newSet, t.Family, netlink.Create, func(ae *encoder) {
		ae.String(attrSetTable, t.Name)
		ae.String(attrSetName, s.Name)
		ae.Uint32(attrSetFlags, setFlags(s))
		ae.Uint32(attrSetKeyType, keyType(s.Key))
		ae.Uint32(attrSetKeyLen, uint32(keyLength(s.Key)))
		ae.Uint32(attrSetID, id)
		if len(s.Key) > 1 {
			nest(ae, attrSetDesc, func(desc *encoder) {
				nest(desc, attrDescConcat, func(fields *encoder) {
					for _, t := range s.Key {
						nest(fields, attrListElem, func(f *encoder) {
							f.Uint32(attrFieldLen, uint32(t.Len))
						})
					}
				})
			})
		}
	})
}

func encodeSetRemoval(t *Table, name string) netlink.Message {
	return message(delSet, t.Family, 0, func(ae *encoder) {
		ae.String(attrSetTable, t.Name)
		ae.String(attrSetName, name)
	})
}

func setFlags(s Set) uint32 {
	var flags uint32
	if s.Interval {
		flags |= setInterval
	}
	if s.Timed {
		flags |= setTimeout
	}
	if len(s.Key) > 1 {
		flags |= setConcat
	}
	return flags
}

// keyType packs the types of a concatenation into one number, six bits each, as
// nft(8) does.
func keyType(key []Type) uint32 {
	var n uint32
	for _, t := range key {
		n = n<<6 | t.ID
	}
	return n
}

// keyLength is the size of a key in the kernel: the parts of a concatenation
// each fill whole words.
func keyLength(key []Type) int {
	if len(key) == 1 {
		return key[0].Len
	}
	n := 0
	for _, t := range key {
		n += padded(t.Len)
	}
	return n
}

func padded(n int) int { return (n + 3) &^ 3 }

// encodeElements adds elements to the set, or takes them away.
func encodeElements(c command, t *Table, s Set, elements []Element) netlink.Message {
	var flags netlink.HeaderFlags
	if c == newElement {
		flags = netlink.Create
	}
	return message(c, t.Family, flags, func(ae *encoder) {
		ae.String(attrElemsTable, t.Name)
		ae.String(attrElemsSet, s.Name)
		nest(ae, attrElemsList, func(list *encoder) {
			for _, e := range elements {
				encodeElement(list, s, e)
			}
		})
	})
}

// encodeElement writes one element. A span of a plain set is two of them for
// the kernel: its first value, and the one after its last, marked as an end; a
// span that reaches the highest value has no end. A span of a concatenation is
// one element with two keys.
func encodeElement(list *encoder, s Set, e Element) {
	concat := len(s.Key) > 1
	nest(list, attrListElem, func(ae *encoder) {
		encodeValue(ae, attrElemKey, keyBytes(s.Key, e.First))
		if concat && s.Interval {
			encodeValue(ae, attrElemKeyEnd, keyBytes(s.Key, e.Last))
		}
		if e.Timeout > 0 {
			ae.Uint64(attrElemTimeout, uint64(e.Timeout.Milliseconds()))
		}
	})
	if after, ok := next(e.Last); ok && s.Interval && !concat {
		nest(list, attrListElem, func(ae *encoder) {
			encodeValue(ae, attrElemKey, after)
			ae.Uint32(attrElemFlags, elemIntervalEnd)
		})
	}
}

// keyBytes pads the parts of a concatenation to whole words.
func keyBytes(key []Type, value []byte) []byte {
	if len(key) == 1 {
		return value
	}
	var out []byte
	for _, t := range key {
		n := min(t.Len, len(value))
		part := make([]byte, padded(t.Len))
		copy(part, value[:n])
		value = value[n:]
		out = append(out, part...)
	}
	return out
}

// next returns the value after b, or false if b is the highest.
func next(b []byte) ([]byte, bool) {
	out := append([]byte(nil), b...)
	for i := len(out) - 1; i >= 0; i-- {
		out[i]++
		if out[i] != 0 {
			return out, true
		}
	}
	return nil, false
}

// encodeChain creates the chain, or changes its policy.
func encodeChain(t *Table, c Chain) netlink.Message {
	return message(newChain, t.Family, netlink.Create, func(ae *encoder) {
		ae.String(attrChainTable, t.Name)
		ae.String(attrChainName, c.Name)
		if h := c.Hook; h != nil {
			nest(ae, attrChainHook, func(hook *encoder) {
				hook.Uint32(attrHookNumber, h.Number)
				hook.Int32(attrHookPriority, h.Priority)
				switch {
				case h.AnyDevice: // a prefix that every name has
					nest(hook, attrHookDevices, func(devices *encoder) { devices.String(attrDevicePrefix, "") })
				case h.Device != "":
					hook.String(attrHookDevice, h.Device)
				}
			})
			ae.Int32(attrChainPolicy, int32(h.Policy))
			ae.String(attrChainType, h.Type)
		}
	})
}

func encodeChainRemoval(t *Table, name string) netlink.Message {
	return message(delChain, t.Family, 0, func(ae *encoder) {
		ae.String(attrChainTable, t.Name)
		ae.String(attrChainName, name)
	})
}

// encodeFlush removes all rules of a chain.
func encodeFlush(t *Table, chain string) netlink.Message {
	return message(delRule, t.Family, 0, func(ae *encoder) {
		ae.String(attrRuleTable, t.Name)
		ae.String(attrRuleChain, chain)
	})
}

// encodeRule adds the rule at the end of the chain.
func encodeRule(t *Table, chain string, r Rule) netlink.Message {
	return message(newRule, t.Family, netlink.Create|netlink.Append, func(ae *encoder) {
		ae.String(attrRuleTable, t.Name)
		ae.String(attrRuleChain, chain)
		nest(ae, attrRuleExprs, func(list *encoder) {
			for _, e := range r.in(t.Family).Exprs {
				nest(list, attrListElem, func(ae *encoder) {
					ae.String(attrExprName, e.name())
					nest(ae, attrExprData, func(data *encoder) { encodeExpr(data, e) })
				})
			}
		})
		if r.Comment != "" {
			ae.Bytes(attrRuleUserdata, commentData(r.Comment))
		}
	})
}

// encodeExpr writes what is special to each expression; the numbers are those
// of NFTA_META_*, NFTA_PAYLOAD_* and so on.
func encodeExpr(ae *encoder, e Expr) {
	switch e := e.(type) {
	case Meta:
		ae.Uint32(1, register)
		ae.Uint32(2, e.Key)
	case Payload:
		ae.Uint32(1, register)
		ae.Uint32(2, uint32(e.Base))
		ae.Uint32(3, e.Offset)
		ae.Uint32(4, e.Len)
	case CT:
		ae.Uint32(1, register)
		ae.Uint32(2, e.Key)
	case SetMeta:
		ae.Uint32(2, e.Key)
		ae.Uint32(3, register)
	case SetCT:
		ae.Uint32(2, e.Key)
		ae.Uint32(4, register)
	case Cgroup:
		ae.Uint32(1, socketCgroup)
		ae.Uint32(2, register)
		ae.Uint32(3, e.Level)
	case Counter:
		ae.Uint64(1, e.Bytes)
		ae.Uint64(2, e.Packets)
	case FIB:
		ae.Uint32(1, register)
		ae.Uint32(2, e.Result)
		ae.Uint32(3, e.Flags)
	case Mask:
		ae.Uint32(1, register)
		ae.Uint32(2, register)
		ae.Uint32(3, uint32(len(e.Bits)))
		encodeValue(ae, 4, e.Bits)
		flip := make([]byte, len(e.Bits))
		copy(flip, e.Flip)
		encodeValue(ae, 5, flip)
	case Cmp:
		ae.Uint32(1, register)
		ae.Uint32(2, uint32(e.Op))
		encodeValue(ae, 3, e.Value)
	case Lookup:
		ae.String(1, e.Set)
		ae.Uint32(2, register)
		if e.Not {
			ae.Uint32(5, lookupInverted)
		}
	case Verdict:
		ae.Uint32(1, registerVerdict)
		nest(ae, 2, func(data *encoder) {
			nest(data, attrDataVerdict, func(v *encoder) { v.Int32(attrVerdictCode, int32(e)) })
		})
	case Jump:
		ae.Uint32(1, registerVerdict)
		nest(ae, 2, func(data *encoder) {
			nest(data, attrDataVerdict, func(v *encoder) {
				v.Int32(attrVerdictCode, verdictJump)
				v.String(attrVerdictChain, e.Chain)
			})
		})
	case Reject:
		ae.Uint32(1, e.Type)
		if e.Type != ResetTCP.Type {
			ae.Uint8(2, e.Code)
		}
	}
}

func encodeValue(ae *encoder, kind uint16, value []byte) {
	nest(ae, kind, func(data *encoder) { data.Bytes(attrDataValue, value) })
}

// commentData is a comment as nft(8) keeps it with a rule: kind 0, the length,
// and the text with a zero at its end. The length is one byte.
func commentData(comment string) []byte {
	if len(comment) > 250 {
		comment = comment[:250]
	}
	return append([]byte{0, byte(len(comment) + 1)}, comment+"\x00"...)
}
