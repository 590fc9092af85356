package platform

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Layout of struct xfrm_userpolicy_info and struct xfrm_user_tmpl of
// linux/xfrm.h.
const (
	getPolicy    = 0x15 // XFRM_MSG_GETPOLICY
	policySize   = 168
	policyDirAt  = 160
	policyActAt  = 161
	templateAttr = 5 // XFRMA_TMPL
	templateSize = 64
	tmplFamilyAt = 24
	tmplModeAt   = 48
	selFamilyAt  = 40
	selBitsAt    = 42
)

// ipsecGateway returns where IPsec sends packets to an address inside its own, or
// an address that is not valid if it does not. Such a tunnel (the usual one of
// strongSwan and Libreswan) has no interface: the route says nothing of it.
func ipsecGateway(to netip.Addr) (netip.Addr, error) {
	nl, err := netlink.Dial(unix.NETLINK_XFRM, nil)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("open netlink: %w", err)
	}
	defer nl.Close()
	answers, err := dump(nl, getPolicy, nil)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list IPsec policies: %w", err)
	}
	// The kernel lists them in the order of their making, and takes the one with
	// the lowest number for its priority.
	var best netip.Addr
	lowest, found := uint32(0), false
	for _, m := range answers {
		gateway, priority, ok := parsePolicy(m.Data, to)
		if ok && (priority < lowest || !found) {
			best, lowest, found = gateway, priority, true
		}
	}
	return best, nil
}

// parsePolicy tells whether a policy sends packets to an address through a
// tunnel, and to where. A policy that lets them pass as they are has no gateway.
func parsePolicy(data []byte, to netip.Addr) (gateway netip.Addr, priority uint32, ok bool) {
	const outbound, tunnelMode, block = 1, 1, 1 // XFRM_POLICY_OUT, XFRM_MODE_TUNNEL, XFRM_POLICY_BLOCK
	if len(data) < policySize || data[policyDirAt] != outbound || data[policyActAt] == block {
		return netip.Addr{}, 0, false
	}
	network := netip.PrefixFrom(xfrmAddress(data, binary.NativeEndian.Uint16(data[selFamilyAt:])), int(data[selBitsAt]))
	if !network.Contains(to) {
		return netip.Addr{}, 0, false
	}
	const priorityAt = 152
	priority = binary.NativeEndian.Uint32(data[priorityAt:])
	ad, err := netlink.NewAttributeDecoder(data[policySize:])
	if err != nil {
		return netip.Addr{}, 0, false
	}
	for ad.Next() {
		if ad.Type() != templateAttr {
			continue
		}
		for t := ad.Bytes(); len(t) >= templateSize; t = t[templateSize:] {
			if t[tmplModeAt] == tunnelMode {
				return xfrmAddress(t, binary.NativeEndian.Uint16(t[tmplFamilyAt:])), priority, true
			}
		}
	}
	return netip.Addr{}, priority, true
}

// xfrmAddress reads an xfrm_address_t, which is as long for IPv4 as for IPv6.
func xfrmAddress(b []byte, family uint16) netip.Addr {
	if family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16([16]byte(b[:16]))
}
