//go:build linux

package lab

import (
	"net/netip"
	"strings"
	"testing"
)

// TestKeepAllows judges packets written by hand. A frame is given as a person
// would say it; each case is followed by what the judge must say.
func TestKeepAllows(t *testing.T) {
	keep := Keep{
		Peers: []Peer{
			{Network: netip.MustParsePrefix("10.0.0.2/32"), Port: 22, Inbound: true},
			{Network: netip.MustParsePrefix("10.0.0.2/32"), Port: 443},
			{Network: netip.MustParsePrefix("fd00::/64"), Port: 443, UDP: true},
		},
		Resolvers: []netip.Addr{netip.MustParseAddr("10.0.0.53")},
	}
	const host, peer, attacker = "10.0.0.1", "10.0.0.2", "10.0.0.66"
	ip := func(out bool, from, to string, protocol byte) Packet {
		p := Packet{Out: out, EtherType: etherIPv4, From: netip.MustParseAddr(from), To: netip.MustParseAddr(to), Protocol: protocol, HopLimit: 64}
		if p.From.Is6() {
			p.EtherType = etherIPv6
		}
		return p
	}
	ports := func(p Packet, from, to uint16, flags byte) Packet {
		p.FromPort, p.ToPort, p.Flags = from, to, flags
		return p
	}
	icmp := func(p Packet, kind, code, hops byte) Packet {
		p.Type, p.Code, p.HopLimit = kind, code, hops
		return p
	}
	later := func(p Packet) Packet { p.Later = true; return p }
	tagged := func(p Packet) Packet { p.VLANs = []uint16{7}; return p }
	const syn, synAck, ack, rst = tcpSYN, tcpSYN | tcpACK, tcpACK, tcpRST
	for _, c := range []struct {
		name string
		p    Packet
		want bool
	}{
		{"ARP", Packet{Out: true, EtherType: etherARP}, true},
		{"802.1X", Packet{Out: true, EtherType: etherEAPOL}, true},
		{"an experiment", Packet{Out: true, EtherType: 0x88b5}, false},
		{"LLDP", Packet{Out: true, EtherType: 0x88cc}, false},
		{"what cannot be read", Packet{Out: true, EtherType: etherIPv4, Broken: true}, false},
		{"connecting to a kept port", ports(ip(true, host, peer, 6), 50000, 443, syn), true},
		{"its answer", ports(ip(false, peer, host, 6), 443, 50000, synAck), true},
		{"what follows", ports(ip(true, host, peer, 6), 50000, 443, ack), true},
		{"what follows, back", ports(ip(false, peer, host, 6), 443, 50000, ack), true},
		{"the same in a VLAN", tagged(ports(ip(true, host, peer, 6), 50000, 443, syn)), true},
		{"another port of the peer", ports(ip(true, host, peer, 6), 50000, 80, syn), false},
		{"the kept port of somebody else", ports(ip(true, host, attacker, 6), 50000, 443, syn), false},
		{"the kept port over UDP", ports(ip(true, host, peer, 17), 50000, 443, 0), false},
		{"the peer connects from its kept port", ports(ip(false, peer, host, 6), 443, 22222, syn), false},
		{"the host answers such a connection", ports(ip(true, host, peer, 6), 22222, 443, synAck), false},
		{"the peer connects in", ports(ip(false, peer, host, 6), 50000, 22, syn), true},
		{"the host answers it", ports(ip(true, host, peer, 6), 22, 50000, synAck), true},
		{"the host ends it", ports(ip(true, host, peer, 6), 22, 50000, rst), true},
		{"the host connects from there", ports(ip(true, host, peer, 6), 22, 50000, syn), false},
		{"the host connects to that port", ports(ip(true, host, peer, 6), 50000, 22, syn), false},
		{"the attacker connects in", ports(ip(false, attacker, host, 6), 50000, 22, syn), false},
		{"a later fragment of a kept flow", later(ip(true, host, peer, 6)), true},
		{"a later fragment to the attacker", later(ip(true, host, attacker, 6)), false},
		{"a later fragment of UDP to a TCP peer", later(ip(true, host, peer, 17)), false},
		{"kept UDP over IPv6", ports(ip(true, "fd00::1", "fd00::9", 17), 50000, 443, 0), true},
		{"kept UDP over IPv6, back", ports(ip(false, "fd00::9", "fd00::1", 17), 443, 50000, 0), true},
		{"another UDP", ports(ip(true, "fd00::1", "fd01::9", 17), 50000, 443, 0), false},
		{"DNS", ports(ip(true, host, "10.0.0.53", 17), 50000, 53, 0), true},
		{"DNS over TCP", ports(ip(true, host, "10.0.0.53", 6), 50000, 53, syn), true},
		{"an answer of DNS", ports(ip(false, "10.0.0.53", host, 17), 53, 50000, 0), true},
		{"DNS of somebody else", ports(ip(true, host, attacker, 17), 50000, 53, 0), false},
		{"the resolver's other ports", ports(ip(true, host, "10.0.0.53", 17), 50000, 123, 0), false},
		{"DHCP, which is not kept", ports(ip(true, "0.0.0.0", "255.255.255.255", 17), 68, 67, 0), false},
		{"ping", icmp(ip(true, host, peer, 1), 8, 0, 64), false},
		{"unreachable", icmp(ip(true, host, attacker, 1), 3, 3, 64), false},
		{"fragmentation needed, kept", icmp(ip(true, host, peer, 1), 3, 4, 64), true},
		{"fragmentation needed, attacker", icmp(ip(true, host, attacker, 1), 3, 4, 64), false},
		{"neighbour solicitation", icmp(ip(true, "fe80::1", "ff02::1:ff00:2", 58), 135, 0, 255), true},
		{"one that crossed a router", icmp(ip(false, "fe80::1", "ff02::1:ff00:2", 58), 135, 0, 254), false},
		{"redirect", icmp(ip(true, "fe80::1", "fe80::2", 58), 137, 0, 255), false},
		{"MLD report", icmp(ip(true, "fe80::1", "ff02::16", 58), 143, 0, 1), true},
		{"MLD report, in", icmp(ip(false, "fe80::1", "ff02::16", 58), 143, 0, 1), false},
		{"MLD report to the attacker", icmp(ip(true, "fe80::1", "fe80::66", 58), 143, 0, 1), false},
		{"ping, IPv6", icmp(ip(true, "fd00::1", "fd00::9", 58), 128, 0, 64), false},
		{"IGMP", ip(true, host, "224.0.0.22", 2), false},
		{"a tunnel", ip(true, host, peer, 41), false},
		{"mDNS", ports(ip(true, host, "224.0.0.251", 17), 5353, 5353, 0), false},
	} {
		if got := keep.Allows(c.p); got != c.want {
			t.Errorf("%s: allowed %v; want %v", c.name, got, c.want)
		}
	}
	keep.DHCP = true
	for _, c := range []struct {
		name string
		p    Packet
		want bool
	}{
		{"a request", ports(ip(true, "0.0.0.0", "255.255.255.255", 17), 68, 67, 0), true},
		{"an offer", ports(ip(false, attacker, host, 17), 67, 68, 0), true},
		{"the host as a server", ports(ip(true, host, attacker, 17), 67, 68, 0), false},
		{"version 6", ports(ip(true, "fe80::1", "ff02::1:2", 17), 546, 547, 0), true},
		{"ports of version 4 in IPv6", ports(ip(true, "fe80::1", "ff02::1:2", 17), 68, 67, 0), false},
	} {
		if got := keep.Allows(c.p); got != c.want {
			t.Errorf("DHCP kept, %s: allowed %v; want %v", c.name, got, c.want)
		}
	}
}

// TestReadFrame reads frames as they are on a wire.
func TestReadFrame(t *testing.T) {
	const ether, v6 = "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c", "\x86\xdd\x60\x00\x00\x00\x00\x00"
	addrs := strings.Repeat("\xfd"+strings.Repeat("\x00", 14)+"\x01", 2)
	v4 := func(offset string, protocol string) string {
		return "\x08\x00\x45\x00\x00\x00\x00\x00" + offset + "\x40" + protocol + "\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02"
	}
	for _, c := range []struct{ name, frame, want string }{
		{"TCP", ether + v4("\x00\x00", "\x06") + "\x00\x16\xc3\x50" + strings.Repeat("\x00", 9) + "\x12", "10.0.0.1:22 > 10.0.0.2:50000 tcp flags 0x12"},
		{"UDP in two VLANs", ether + "\x88\xa8\x00\x09\x81\x00\x20\x07" + v4("\x40\x00", "\x11") + "\x00\x35\x00\x36\x00\x00\x00\x00", "vlan 9 vlan 7 10.0.0.1:53 > 10.0.0.2:54 udp"},
		{"a later fragment", ether + v4("\x20\xb9", "\x11"), "10.0.0.1 > 10.0.0.2 protocol 17, later fragment"},
		{"MLD behind a header", ether + v6 + "\x00\x01" + addrs + "\x3a\x00\x05\x02\x00\x00\x01\x00" + "\x8f\x00\x00\x00", "fd00::1 > fd00::1 icmp 143/0, hop limit 1"},
		{"a later fragment of IPv6", ether + v6 + "\x2c\x40" + addrs + "\x11\x00\x05\xa9\x00\x00\x00\x00", "fd00::1 > fd00::1 protocol 17, later fragment"},
		{"a header that is cut off", ether + v6 + "\x00\x01" + addrs + "\x3a\xff\x05\x02", "broken 86dd"},
		{"a TCP header that is cut off", ether + v4("\x00\x00", "\x06") + "\x00\x16", "broken 0800"},
		{"no IP", ether + "\x88\xb5abc", "ethertype 88b5 61 62 63"},
		{"nothing", "\x01", "broken 0000 01"},
	} {
		if got := readFrame([]byte(c.frame)).String(); !strings.Contains(got, c.want) {
			t.Errorf("%s: read as %q; want %q", c.name, got, c.want)
		}
	}
}
