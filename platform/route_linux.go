package platform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// rtnl is a line to the interfaces, addresses and routes of the network
// namespace it was opened in.
type rtnl struct{ nl *netlink.Conn }

func dialRoute() (*rtnl, error) {
	nl, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &rtnl{nl}, nil
}

func (r *rtnl) close() { _ = r.nl.Close() }

// do sends one request that changes something and waits until it is done.
func (r *rtnl) do(kind uint16, flags netlink.HeaderFlags, header []byte, fill func(*netlink.AttributeEncoder)) error {
	ae := netlink.NewAttributeEncoder()
	fill(ae)
	body, err := ae.Encode()
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	_, err = r.nl.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   append(header, body...),
	})
	return err
}

// linkHeader is a struct ifinfomsg.
func linkHeader(index, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], index)
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], change)
	return b
}

// vethPeer is VETH_INFO_PEER of linux/veth.h.
const vethPeer = 1

// addWire makes a veth pair: one end here, the other in the namespace that the
// file descriptor stands for.
//
// This end gets an index that the other surely has not: the kernel takes two
// ends of one index for an interface without a wire, and lets up to a second pass
// before IPv6 hears that it is up (linkwatch_urgent_event in net/core/link_watch.c).
func (r *rtnl) addWire(here, there string, namespace uintptr) error {
	const farIndex = 1 << 24
	err := r.do(unix.RTM_NEWLINK, netlink.Create|netlink.Excl, linkHeader(farIndex, 0, 0), func(ae *netlink.AttributeEncoder) {
		ae.String(unix.IFLA_IFNAME, here)
		ae.Nested(unix.IFLA_LINKINFO, func(info *netlink.AttributeEncoder) error {
			info.String(unix.IFLA_INFO_KIND, "veth")
			info.Nested(unix.IFLA_INFO_DATA, func(data *netlink.AttributeEncoder) error {
				data.Do(vethPeer, func() ([]byte, error) {
					peer := netlink.NewAttributeEncoder()
					peer.String(unix.IFLA_IFNAME, there)
					peer.Uint32(unix.IFLA_NET_NS_FD, uint32(namespace))
					b, err := peer.Encode()
					return append(linkHeader(0, 0, 0), b...), err
				})
				return nil
			})
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("make wire: %w", err)
	}
	return nil
}

// link is one end of a wire.
type link struct {
	index   uint32
	mac     []byte
	running bool // packets pass
}

// linkUp brings the interface up. It gets no address by itself: one of IPv6
// would take a second, and tell the neighbours about it.
func (r *rtnl) linkUp(name string) (link, error) {
	l, err := r.link(name)
	if err != nil {
		return link{}, err
	}
	const addrGenModeNone = 1 // IN6_ADDR_GEN_MODE_NONE
	// Where there is no IPv6 this fails, and there is nothing to keep quiet.
	_ = r.do(unix.RTM_NEWLINK, 0, linkHeader(l.index, 0, 0), func(ae *netlink.AttributeEncoder) {
		ae.Nested(unix.IFLA_AF_SPEC, func(spec *netlink.AttributeEncoder) error {
			spec.Nested(unix.AF_INET6, func(v6 *netlink.AttributeEncoder) error {
				v6.Uint8(unix.IFLA_INET6_ADDR_GEN_MODE, addrGenModeNone)
				return nil
			})
			return nil
		})
	})
	err = r.do(unix.RTM_NEWLINK, 0, linkHeader(l.index, unix.IFF_UP, unix.IFF_UP), func(*netlink.AttributeEncoder) {})
	if err != nil {
		return link{}, fmt.Errorf("bring up %s: %w", name, err)
	}
	return l, nil
}

// link looks at the interface of that name.
func (r *rtnl) link(name string) (link, error) {
	ae := netlink.NewAttributeEncoder()
	ae.String(unix.IFLA_IFNAME, name)
	answer, err := r.ask(unix.RTM_GETLINK, linkHeader(0, 0, 0), ae, unix.SizeofIfInfomsg)
	if err != nil {
		return link{}, fmt.Errorf("find interface %s: %w", name, err)
	}
	l := link{
		index:   binary.NativeEndian.Uint32(answer[4:]),
		running: binary.NativeEndian.Uint32(answer[8:])&unix.IFF_RUNNING != 0,
	}
	ad, err := netlink.NewAttributeDecoder(answer[unix.SizeofIfInfomsg:])
	if err != nil {
		return link{}, fmt.Errorf("find interface %s: %w", name, err)
	}
	for ad.Next() {
		if ad.Type() == unix.IFLA_ADDRESS {
			l.mac = ad.Bytes()
		}
	}
	return l, nil
}

// isLocal tells whether packets to the address end in this namespace. For IPv6
// that is so a moment after the address was added.
func (r *rtnl) isLocal(a netip.Addr) bool {
	header := make([]byte, unix.SizeofRtMsg)
	header[0], header[1] = familyOf(a), byte(a.BitLen())
	ae := netlink.NewAttributeEncoder()
	ae.Bytes(unix.RTA_DST, a.AsSlice())
	answer, err := r.ask(unix.RTM_GETROUTE, header, ae, unix.SizeofRtMsg)
	return err == nil && answer[7] == unix.RTN_LOCAL
}

// ask sends a question that has one answer, of size bytes at least.
func (r *rtnl) ask(kind uint16, header []byte, ae *netlink.AttributeEncoder, size int) ([]byte, error) {
	body, err := ae.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode question: %w", err)
	}
	answers, err := r.nl.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request},
		Data:   append(header, body...),
	})
	if err != nil {
		return nil, err
	}
	if len(answers) == 0 || len(answers[0].Data) < size {
		return nil, errors.New("no answer")
	}
	return answers[0].Data, nil
}

// addNeighbour says where the other end of a wire is, so that nobody has to ask.
func (r *rtnl) addNeighbour(index uint32, a netip.Addr, mac []byte) error {
	header := make([]byte, 12) // struct ndmsg
	header[0] = familyOf(a)
	binary.NativeEndian.PutUint32(header[4:], index)
	binary.NativeEndian.PutUint16(header[8:], unix.NUD_PERMANENT)
	err := r.do(unix.RTM_NEWNEIGH, netlink.Create|netlink.Replace, header, func(ae *netlink.AttributeEncoder) {
		ae.Bytes(unix.NDA_DST, a.AsSlice())
		ae.Bytes(unix.NDA_LLADDR, mac)
	})
	if err != nil {
		return fmt.Errorf("add neighbour %s: %w", a, err)
	}
	return nil
}

// removeLink removes the interface; one that is not there is fine.
func (r *rtnl) removeLink(name string) {
	if l, err := r.link(name); err == nil {
		_ = r.do(unix.RTM_DELLINK, 0, linkHeader(l.index, 0, 0), func(*netlink.AttributeEncoder) {})
	}
}

// addAddress gives the interface an address at once, without asking around
// whether somebody else has it: there are only two on the wire.
func (r *rtnl) addAddress(index uint32, address netip.Prefix, scope byte) error {
	header := make([]byte, unix.SizeofIfAddrmsg)
	header[0], header[1] = familyOf(address.Addr()), byte(address.Bits())
	header[3] = scope
	binary.NativeEndian.PutUint32(header[4:], index)
	err := r.do(unix.RTM_NEWADDR, netlink.Create|netlink.Excl, header, func(ae *netlink.AttributeEncoder) {
		ae.Bytes(unix.IFA_LOCAL, address.Addr().AsSlice())
		ae.Bytes(unix.IFA_ADDRESS, address.Addr().AsSlice())
		if address.Addr().Is6() {
			ae.Uint32(unix.IFA_FLAGS, unix.IFA_F_NODAD)
		}
	})
	if err != nil {
		return fmt.Errorf("add address %s: %w", address, err)
	}
	return nil
}

// addDefaultRoute sends everything that way.
func (r *rtnl) addDefaultRoute(index uint32, via netip.Addr) error {
	header := make([]byte, unix.SizeofRtMsg)
	header[0] = familyOf(via)
	header[4], header[5], header[6], header[7] = unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST
	err := r.do(unix.RTM_NEWROUTE, netlink.Create|netlink.Excl, header, func(ae *netlink.AttributeEncoder) {
		ae.Bytes(unix.RTA_GATEWAY, via.AsSlice())
		ae.Uint32(unix.RTA_OIF, index)
	})
	if err != nil {
		return fmt.Errorf("add route: %w", err)
	}
	return nil
}

func familyOf(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// usedNetworks returns the IPv4 networks that the host is in or has a route to.
func (r *rtnl) usedNetworks() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, list := range []struct {
		kind      uint16
		size      int
		attribute uint16
	}{
		{unix.RTM_GETADDR, unix.SizeofIfAddrmsg, unix.IFA_LOCAL},
		{unix.RTM_GETROUTE, unix.SizeofRtMsg, unix.RTA_DST},
	} {
		header := make([]byte, list.size)
		header[0] = unix.AF_INET
		answers, err := r.nl.Execute(netlink.Message{
			Header: netlink.Header{Type: netlink.HeaderType(list.kind), Flags: netlink.Request | netlink.Dump},
			Data:   header,
		})
		if err != nil {
			return nil, fmt.Errorf("list addresses and routes: %w", err)
		}
		for _, m := range answers {
			if p, ok := networkIn(m.Data, list.size, list.attribute); ok {
				out = append(out, p)
			}
		}
	}
	return out, nil
}

// networkIn reads a network out of an answer: the length of the prefix is the
// second byte of both headers.
func networkIn(data []byte, header int, attribute uint16) (netip.Prefix, bool) {
	if len(data) < header {
		return netip.Prefix{}, false
	}
	ad, err := netlink.NewAttributeDecoder(data[header:])
	if err != nil {
		return netip.Prefix{}, false
	}
	for ad.Next() {
		if ad.Type() != attribute {
			continue
		}
		if a, ok := netip.AddrFromSlice(ad.Bytes()); ok {
			p := netip.PrefixFrom(a, int(data[1]))
			return p, p.IsValid()
		}
	}
	return netip.Prefix{}, false
}
