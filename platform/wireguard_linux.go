package platform

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// tunnelPeer is one far end of a WireGuard interface.
type tunnelPeer struct {
	key      string
	endpoint netip.AddrPort // not valid: not heard of yet
	networks []netip.Prefix // what is sent to it
}

// genericHeader is a struct genlmsghdr, version 1.
func genericHeader(command byte) []byte { return []byte{command, 1, 0, 0} }

const genericHeaderLen = 4

// readWireGuard returns the peers of an interface.
func readWireGuard(index int) ([]tunnelPeer, error) {
	bodies, err := askWireGuard(index)
	if err != nil {
		return nil, err
	}
	return parseWireGuard(bodies)
}

// askWireGuard asks the kernel for an interface, by generic netlink. It needs
// CAP_NET_ADMIN. The answer holds the interface's private key, which is not
// looked at.
func askWireGuard(index int) ([][]byte, error) {
	nl, err := netlink.Dial(unix.NETLINK_GENERIC, nil)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	defer nl.Close()
	family, err := genericFamily(nl, "wireguard")
	if err != nil {
		return nil, fmt.Errorf("find WireGuard: %w", err)
	}
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.WGDEVICE_A_IFINDEX, uint32(index))
	body, err := ae.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode question: %w", err)
	}
	answers, err := nl.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(family), Flags: netlink.Request | netlink.Dump},
		Data:   append(genericHeader(unix.WG_CMD_GET_DEVICE), body...),
	})
	if err != nil {
		return nil, fmt.Errorf("ask WireGuard: %w", err)
	}
	bodies := make([][]byte, len(answers))
	for i, m := range answers {
		bodies[i] = m.Data
	}
	return bodies, nil
}

// genericFamily returns the number that a family of generic netlink has in this
// boot.
func genericFamily(nl *netlink.Conn, name string) (uint16, error) {
	ae := netlink.NewAttributeEncoder()
	ae.String(unix.CTRL_ATTR_FAMILY_NAME, name)
	body, err := ae.Encode()
	if err != nil {
		return 0, err
	}
	answers, err := nl.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.GENL_ID_CTRL, Flags: netlink.Request},
		Data:   append(genericHeader(unix.CTRL_CMD_GETFAMILY), body...),
	})
	if err != nil {
		return 0, err
	}
	for _, m := range answers {
		if len(m.Data) < genericHeaderLen {
			return 0, errShort
		}
		ad, err := netlink.NewAttributeDecoder(m.Data[genericHeaderLen:])
		if err != nil {
			return 0, err
		}
		for ad.Next() {
			if ad.Type() == unix.CTRL_ATTR_FAMILY_ID {
				return ad.Uint16(), ad.Err()
			}
		}
	}
	return 0, errShort
}

// parseWireGuard reads the answers to one question. A peer with many networks is
// spread over several of them, with its key in each.
func parseWireGuard(bodies [][]byte) ([]tunnelPeer, error) {
	var all []tunnelPeer
	for _, body := range bodies {
		if len(body) < genericHeaderLen {
			return nil, errShort
		}
		ad, err := netlink.NewAttributeDecoder(body[genericHeaderLen:])
		if err != nil {
			return nil, err
		}
		for ad.Next() {
			if ad.Type() != unix.WGDEVICE_A_PEERS {
				continue
			}
			ad.Nested(func(peers *netlink.AttributeDecoder) error {
				for peers.Next() {
					peers.Nested(func(fields *netlink.AttributeDecoder) error {
						p, err := parsePeer(fields)
						all = addPeer(all, p)
						return err
					})
				}
				return peers.Err()
			})
		}
		if err := ad.Err(); err != nil {
			return nil, fmt.Errorf("read WireGuard peers: %w", err)
		}
	}
	return all, nil
}

func addPeer(all []tunnelPeer, p tunnelPeer) []tunnelPeer {
	if n := len(all); n > 0 && all[n-1].key == p.key {
		all[n-1].networks = append(all[n-1].networks, p.networks...)
		return all
	}
	return append(all, p)
}

func parsePeer(fields *netlink.AttributeDecoder) (tunnelPeer, error) {
	var p tunnelPeer
	for fields.Next() {
		switch fields.Type() {
		case unix.WGPEER_A_PUBLIC_KEY:
			p.key = string(fields.Bytes())
		case unix.WGPEER_A_ENDPOINT:
			p.endpoint = parseSockaddr(fields.Bytes())
		case unix.WGPEER_A_ALLOWEDIPS:
			fields.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					list.Nested(func(one *netlink.AttributeDecoder) error {
						if network := parseAllowed(one); network.IsValid() {
							p.networks = append(p.networks, network)
						}
						return one.Err()
					})
				}
				return list.Err()
			})
		}
	}
	return p, fields.Err()
}

func parseAllowed(one *netlink.AttributeDecoder) netip.Prefix {
	var address netip.Addr
	bits := -1
	for one.Next() {
		switch one.Type() {
		case unix.WGALLOWEDIP_A_IPADDR:
			address, _ = netip.AddrFromSlice(one.Bytes())
		case unix.WGALLOWEDIP_A_CIDR_MASK:
			bits = int(one.Uint8())
		}
	}
	return netip.PrefixFrom(address, bits)
}

// parseSockaddr reads a struct sockaddr_in or sockaddr_in6.
func parseSockaddr(b []byte) netip.AddrPort {
	if len(b) < unix.SizeofSockaddrInet4 {
		return netip.AddrPort{}
	}
	port := binary.BigEndian.Uint16(b[2:])
	switch family := binary.NativeEndian.Uint16(b); {
	case family == unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port)
	case family == unix.AF_INET6 && len(b) >= unix.SizeofSockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

// endpoints returns where the peers are; only the one that packets to an address
// go to if the address is valid.
func endpoints(peers []tunnelPeer, to netip.Addr) []netip.AddrPort {
	var all []netip.AddrPort
	best, way := -1, netip.AddrPort{}
	for _, p := range peers {
		for _, n := range p.networks {
			if n.Contains(to) && n.Bits() > best {
				best, way = n.Bits(), p.endpoint
			}
		}
		if p.endpoint.IsValid() && !slices.Contains(all, p.endpoint) {
			all = append(all, p.endpoint)
		}
	}
	switch {
	case !to.IsValid():
		return all
	case way.IsValid():
		return []netip.AddrPort{way}
	}
	return nil
}
