package live

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Numbers from linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h.
const (
	netfilter = 12 // NETLINK_NETFILTER

	trackNew    = 1 << 8 // NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW
	trackGet    = 1<<8 | 1
	trackDelete = 1<<8 | 2

	attributeOriginal  = 1 // CTA_TUPLE_ORIG
	attributeReply     = 2 // CTA_TUPLE_REPLY
	attributeStatus    = 3
	attributeProtoInfo = 4
	attributeTimeout   = 7
	attributeMark      = 8
	attributeID        = 12
	attributeZone      = 18
	attributeMarkMask  = 21

	tupleIP, tupleProto                       = 1, 2       // CTA_TUPLE_IP, CTA_TUPLE_PROTO
	ip4Source, ip4Dest, ip6Source, ip6Dest    = 1, 2, 3, 4 // CTA_IP_V4_SRC, ...
	protoNumber, protoSource, protoDest       = 1, 2, 3    // CTA_PROTO_NUM, ...
	infoTCP                                   = 1          // CTA_PROTOINFO_TCP
	tcpState, tcpFlagsOriginal, tcpFlagsReply = 1, 4, 5    // CTA_PROTOINFO_TCP_STATE, ...

	// What nf_conntrack_common.h and nf_conntrack_tcp.h call a flow that was seen
	// both ways and must not be dropped early, and whose windows are not checked.
	statusLive     = 1<<1 | 1<<2 | 1<<3 // IPS_SEEN_REPLY, IPS_ASSURED, IPS_CONFIRMED
	stateTracked   = 3                  // TCP_CONNTRACK_ESTABLISHED
	flagLiberal    = 0x08               // IP_CT_TCP_FLAG_BE_LIBERAL
	familyHeader   = 4                  // struct nfgenmsg
	secondsTCP     = 432000             // the kernel's default for an established connection
	secondsUDP     = 120                // the kernel's default for a UDP stream
	secondsOpening = 60                 // the kernel's default for an answered SYN
)

// Tracking is a line to connection tracking in a network namespace.
type Tracking struct{ line *line }

// OpenTracking opens a line to connection tracking in the calling thread's
// namespace.
func OpenTracking() (*Tracking, error) {
	l, err := open(netfilter)
	if err != nil {
		return nil, wrap("open connection tracking", err)
	}
	return &Tracking{l}, nil
}

// Close closes the line.
func (t *Tracking) Close() error { return t.line.close() }

// List appends all flows to into. EINVAL says that this kernel has no line to
// connection tracking, EPERM that CAP_NET_ADMIN is missing.
func (t *Tracking) List(into []Flow) ([]Flow, error) {
	var names []byte // of many flows, so that not each needs an allocation
	err := t.line.dump(trackGet, make([]byte, familyHeader), func(body []byte) error {
		if cap(names)-len(names) < len(body) {
			names = make([]byte, 0, max(64<<10, len(body)))
		}
		f, rest, err := parseFlow(body, names)
		names = rest
		into = append(into, f)
		return err
	})
	return into, wrap("list flows", err)
}

// parseFlow reads one answer, and appends what names the flow to names.
func parseFlow(b, names []byte) (Flow, []byte, error) {
	if len(b) < familyHeader {
		return Flow{}, names, errMalformed
	}
	f := Flow{family: b[0]}
	begin := len(names)
	err := attributes(b[familyHeader:], func(kind uint16, whole, value []byte) (err error) {
		switch {
		case kind == attributeOriginal:
			f.Original, f.Protocol, err = parseTuple(value)
		case kind == attributeReply:
			f.Reply, _, err = parseTuple(value)
		case kind == attributeMark && len(value) == 4:
			f.Mark = binary.BigEndian.Uint32(value)
		}
		if kind == attributeOriginal || kind == attributeZone || kind == attributeID {
			names = append(names, whole...)
			names = append(names, make([]byte, aligned(len(whole))-len(whole))...)
		}
		return err
	})
	f.identity = names[begin:len(names):len(names)]
	return f, names, err
}

func parseTuple(b []byte) (t Tuple, protocol uint8, err error) {
	var source, dest netip.Addr
	var from, to uint16
	err = attributes(b, func(kind uint16, _, value []byte) error {
		return attributes(value, func(inner uint16, _, v []byte) error {
			switch {
			case kind == tupleIP && (inner == ip4Source || inner == ip6Source):
				source, _ = netip.AddrFromSlice(v)
			case kind == tupleIP && (inner == ip4Dest || inner == ip6Dest):
				dest, _ = netip.AddrFromSlice(v)
			case kind == tupleProto && inner == protoNumber && len(v) == 1:
				protocol = v[0]
			case kind == tupleProto && inner == protoSource && len(v) == 2:
				from = binary.BigEndian.Uint16(v)
			case kind == tupleProto && inner == protoDest && len(v) == 2:
				to = binary.BigEndian.Uint16(v)
			}
			return nil
		})
	})
	return Tuple{netip.AddrPortFrom(source, from), netip.AddrPortFrom(dest, to)}, protocol, err
}

// Forget removes the flows, and tells how many of them were still there.
func (t *Tracking) Forget(list []Flow) (int, error) {
	gone := len(list)
	var first error
	err := t.line.tell(len(list), func(b []byte, i int, sequence uint32) []byte {
		return list[i].request(b, trackDelete, sequence)
	}, func(_ int, err unix.Errno) {
		gone--
		if err != unix.ENOENT && first == nil {
			first = err
		}
	})
	if err == nil {
		err = first
	}
	return gone, wrap("forget flows", err)
}

// Mark sets the bits of mark in the marks of the flows.
func (t *Tracking) Mark(list []Flow, mark uint32) error {
	return wrap("mark flows", t.all(len(list), func(b []byte, i int, sequence uint32) []byte {
		b = list[i].request(b, trackNew, sequence)
		b = appendWord(b, attributeMark, mark)
		return appendWord(b, attributeMarkMask, mark)
	}, unix.ENOENT))
}

// Enter makes the flows known. One that is known already stays as it is.
func (t *Tracking) Enter(list []Entry) error {
	bodies := make([][]byte, len(list))
	for i, e := range list {
		var err error
		if bodies[i], err = e.attributes(); err != nil {
			return wrap("enter flows", err)
		}
	}
	return wrap("enter flows", t.all(len(list), func(b []byte, i int, sequence uint32) []byte {
		b = appendHeader(b, trackNew, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_EXCL, sequence)
		family := byte(unix.AF_INET6)
		if list[i].Original.Source.Addr().Is4() {
			family = unix.AF_INET
		}
		return append(append(b, family, 0, 0, 0), bodies[i]...)
	}, unix.EEXIST))
}

// all sends the requests and returns the first refusal that is not fine.
func (t *Tracking) all(n int, put func([]byte, int, uint32) []byte, fine unix.Errno) error {
	var first error
	err := t.line.tell(n, put, func(_ int, err unix.Errno) {
		if err != fine && first == nil {
			first = err
		}
	})
	if err == nil {
		err = first
	}
	return err
}

func (f *Flow) request(b []byte, kind uint16, sequence uint32) []byte {
	b = appendHeader(b, kind, unix.NLM_F_REQUEST, sequence)
	return append(append(b, f.family, 0, 0, 0), f.identity...)
}

func appendWord(b []byte, kind uint16, value uint32) []byte {
	b = binary.NativeEndian.AppendUint16(b, 8)
	b = binary.NativeEndian.AppendUint16(b, kind)
	return binary.BigEndian.AppendUint32(b, value)
}

// attributes writes the entry. Nobody saw how its windows began, so they are not
// checked (as conntrackd does for connections it takes over).
func (e Entry) attributes() ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	tuple(ae, attributeOriginal, e.Protocol, e.Original)
	tuple(ae, attributeReply, e.Protocol, e.Original.Inverse())
	ae.Uint32(attributeStatus, statusLive)
	switch {
	case e.Opening:
		ae.Uint32(attributeTimeout, secondsOpening)
	case e.Protocol == UDP:
		ae.Uint32(attributeTimeout, secondsUDP)
	default:
		ae.Uint32(attributeTimeout, secondsTCP)
	}
	if e.Mark != 0 {
		ae.Uint32(attributeMark, e.Mark)
	}
	if e.Protocol == TCP {
		ae.Nested(attributeProtoInfo, func(info *netlink.AttributeEncoder) error {
			info.Nested(infoTCP, func(tcp *netlink.AttributeEncoder) error {
				tcp.Uint8(tcpState, stateTracked)
				tcp.Bytes(tcpFlagsOriginal, []byte{flagLiberal, flagLiberal}) // flags and mask
				tcp.Bytes(tcpFlagsReply, []byte{flagLiberal, flagLiberal})
				return nil
			})
			return nil
		})
	}
	return ae.Encode()
}

func tuple(ae *netlink.AttributeEncoder, kind uint16, protocol uint8, t Tuple) {
	ae.Nested(kind, func(tuple *netlink.AttributeEncoder) error {
		tuple.Nested(tupleIP, func(ip *netlink.AttributeEncoder) error {
			source, dest := uint16(ip6Source), uint16(ip6Dest)
			if t.Source.Addr().Is4() {
				source, dest = ip4Source, ip4Dest
			}
			ip.Bytes(source, t.Source.Addr().AsSlice())
			ip.Bytes(dest, t.Dest.Addr().AsSlice())
			return nil
		})
		tuple.Nested(tupleProto, func(proto *netlink.AttributeEncoder) error {
			proto.Uint8(protoNumber, protocol)
			proto.Bytes(protoSource, binary.BigEndian.AppendUint16(nil, t.Source.Port()))
			proto.Bytes(protoDest, binary.BigEndian.AppendUint16(nil, t.Dest.Port()))
			return nil
		})
		return nil
	})
}
