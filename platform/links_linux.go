package platform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// linkState is one interface with what only this package needs of it.
type linkState struct {
	Interface
	mac      []byte
	flags    uint32 // IFF_*
	hardware uint16 // ARPHRD_*
	master   int    // index of the bridge or bond it is a port of; 0: none
	lower    int    // index of the interface below it, in this namespace; 0: none
}

// running tells whether packets leave over the link: it is up, and so is what
// it is plugged into.
func (l linkState) running() bool {
	return l.flags&unix.IFF_UP != 0 && l.flags&unix.IFF_LOWER_UP != 0
}

// physical tells whether the link is a piece of hardware: only what is made by
// software has a kind.
func (l linkState) physical() bool { return l.Kind == "" && l.flags&unix.IFF_LOOPBACK == 0 }

// links lists the interfaces of the namespace, each with what the kernel itself
// knows of its tunnel.
func (r *rtnl) links() ([]linkState, error) {
	answers, err := dump(r.nl, unix.RTM_GETLINK, linkHeader(0, 0, 0))
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	all := make([]linkState, 0, len(answers))
	for _, m := range answers {
		l, err := parseLink(m.Data)
		if err != nil {
			return nil, fmt.Errorf("list interfaces: %w", err)
		}
		all = append(all, l)
	}
	return all, nil
}

// dump asks for a table, again if it changed while it was read.
func dump(nl *netlink.Conn, kind uint16, header []byte) ([]netlink.Message, error) {
	for range 5 {
		answers, err := nl.Execute(netlink.Message{
			Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request | netlink.Dump},
			Data:   header,
		})
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(answers, func(m netlink.Message) bool { return m.Header.Flags&netlink.DumpInterrupted != 0 }) {
			return answers, nil
		}
	}
	return nil, errors.New("the table changed each time it was read")
}

// parseLink reads the body of one RTM_NEWLINK.
func parseLink(data []byte) (linkState, error) {
	if len(data) < unix.SizeofIfInfomsg {
		return linkState{}, errShort
	}
	l := linkState{
		hardware: binary.NativeEndian.Uint16(data[2:]),
		flags:    binary.NativeEndian.Uint32(data[8:]),
	}
	l.Index = int(binary.NativeEndian.Uint32(data[4:]))
	l.Up = l.flags&unix.IFF_UP != 0
	ad, err := netlink.NewAttributeDecoder(data[unix.SizeofIfInfomsg:])
	if err != nil {
		return linkState{}, err
	}
	elsewhere := false // what is below it is in another namespace
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			l.Name = ad.String()
		case unix.IFLA_ADDRESS:
			l.mac = ad.Bytes()
		case unix.IFLA_MASTER:
			l.master = int(ad.Uint32())
		case unix.IFLA_LINK:
			l.lower = int(ad.Uint32())
		case unix.IFLA_LINK_NETNSID:
			elsewhere = true
		case unix.IFLA_LINKINFO:
			ad.Nested(func(info *netlink.AttributeDecoder) error { return l.parseInfo(info) })
		}
	}
	if elsewhere {
		l.lower = 0
	}
	l.Tunnel = slices.Contains(tunnelKinds(), l.Kind)
	return l, ad.Err()
}

// errShort says that a message of the kernel ends too early.
var errShort = errors.New("read message: too few bytes")

// parseInfo reads IFLA_LINKINFO. The kernel writes the kind before the data,
// which cannot be read without it.
func (l *linkState) parseInfo(info *netlink.AttributeDecoder) error {
	for info.Next() {
		switch info.Type() {
		case unix.IFLA_INFO_KIND:
			l.Kind = info.String()
		case unix.IFLA_INFO_DATA:
			at := endpointOf(l.Kind)
			if at.remote == 0 {
				continue
			}
			info.Nested(func(data *netlink.AttributeDecoder) error {
				outer, err := at.read(data)
				if outer.IsValid() {
					l.Outer = []netip.AddrPort{outer}
				}
				return err
			})
		}
	}
	return info.Err()
}

// tunnelKinds are the kinds of interfaces whose packets leave inside others. An
// interface of PPP, MACsec or the like sends frames that are no IP, so it has no
// endpoint that could be kept.
func tunnelKinds() []string {
	return []string{
		"wireguard", "tun", "ppp", "ovpn", "ovpn-dco",
		"gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ip6erspan",
		"ipip", "sit", "ip6tnl", "vti", "vti6", "xfrm",
		"vxlan", "geneve", "bareudp", "gtp", "amt", "macsec",
	}
}

// endpointAt says in which attributes of IFLA_INFO_DATA a tunnel keeps its
// other end.
type endpointAt struct {
	remote, remote6 uint16 // 0: none
	port            uint16 // big endian; 0: none
}

// Attribute numbers of linux/if_tunnel.h.
const (
	greRemote  = 7 // IFLA_GRE_REMOTE
	iptnRemote = 3 // IFLA_IPTUN_REMOTE
	vtiRemote  = 5 // IFLA_VTI_REMOTE
)

func endpointOf(kind string) endpointAt {
	switch kind {
	case "gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ip6erspan":
		return endpointAt{remote: greRemote}
	case "ipip", "sit", "ip6tnl":
		return endpointAt{remote: iptnRemote}
	case "vti", "vti6":
		return endpointAt{remote: vtiRemote}
	case "vxlan":
		return endpointAt{unix.IFLA_VXLAN_GROUP, unix.IFLA_VXLAN_GROUP6, unix.IFLA_VXLAN_PORT}
	case "geneve":
		return endpointAt{unix.IFLA_GENEVE_REMOTE, unix.IFLA_GENEVE_REMOTE6, unix.IFLA_GENEVE_PORT}
	}
	return endpointAt{}
}

// read returns the endpoint; one that is not valid if there is none, or many
// behind a multicast address.
func (e endpointAt) read(data *netlink.AttributeDecoder) (netip.AddrPort, error) {
	var remote netip.Addr
	var port uint16
	for data.Next() {
		switch kind := data.Type(); {
		case kind == e.remote, kind == e.remote6 && e.remote6 != 0:
			remote, _ = netip.AddrFromSlice(data.Bytes())
		case kind == e.port && e.port != 0:
			if b := data.Bytes(); len(b) == 2 {
				port = binary.BigEndian.Uint16(b)
			}
		}
	}
	if !remote.IsValid() || remote.IsUnspecified() || remote.IsMulticast() {
		return netip.AddrPort{}, data.Err()
	}
	return netip.AddrPortFrom(remote.Unmap(), port), data.Err()
}

// inheritTunnels makes tunnels of what has nothing but tunnels below it: a VLAN
// on a tunnel, or a bridge of tunnels. The ports of containers and of virtual
// machines lead nowhere by themselves.
func inheritTunnels(all []linkState) {
	byIndex := make(map[int]*linkState, len(all))
	ports := map[int][]*linkState{}
	for i := range all {
		byIndex[all[i].Index] = &all[i]
		if all[i].master != 0 {
			ports[all[i].master] = append(ports[all[i].master], &all[i])
		}
	}
	for range 8 { // as deep as the kernel lets interfaces be stacked
		changed := false
		for i := range all {
			l := &all[i]
			if l.Tunnel {
				continue
			}
			switch l.Kind {
			case "vlan", "macvlan", "macvtap", "ipvlan", "ipvtap":
				if below := byIndex[l.lower]; below != nil && below.Tunnel {
					l.Tunnel, l.Outer, changed = true, below.Outer, true
				}
			case "bridge", "bond", "team":
				if outer, ok := onlyTunnels(ports[l.Index]); ok {
					l.Tunnel, l.Outer, changed = true, outer, true
				}
			}
		}
		if !changed {
			return
		}
	}
}

func onlyTunnels(ports []*linkState) (outer []netip.AddrPort, ok bool) {
	for _, p := range ports {
		switch {
		case p.Kind == "veth", p.Kind == "tun":
		case !p.Tunnel:
			return nil, false
		default:
			outer, ok = append(outer, p.Outer...), true
		}
	}
	return outer, ok
}
