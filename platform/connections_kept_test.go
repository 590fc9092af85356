package platform

import (
	"net/netip"
	"testing"
)

func TestKept(t *testing.T) {
	at := netip.MustParseAddrPort
	hub, hub6, admin := at("203.0.113.5:443"), at("[2001:db8:5::5]:443"), at("198.51.100.7:51000")
	iso := Isolation{
		Keep: []Peer{
			{Network: netip.MustParsePrefix("203.0.113.5/32"), Protocol: TCP, Port: 443},
			{Network: netip.MustParsePrefix("2001:db8:5::/64"), Port: 443},
			{Network: netip.MustParsePrefix("::ffff:198.51.100.0/120"), Protocol: TCP, Port: 22, Inbound: true},
			{Network: netip.MustParsePrefix("192.0.2.0/24"), Protocol: UDP, Port: 45000, Inbound: true},
		},
		Resolvers: []netip.Addr{netip.MustParseAddr("10.0.0.53"), netip.MustParseAddr("fe80::53%eth0")},
	}
	dhcp := Isolation{DHCP: true}
	here, ssh := at("192.168.1.2:40000"), at("192.168.1.2:22")
	tests := []struct {
		name string
		iso  Isolation
		session
		want bool
	}{
		{"to the hub", iso, session{protocol: TCP, local: here, remote: hub}, true},
		{"to the hub, over the other protocol", iso, session{protocol: UDP, local: here, remote: hub}, false},
		{"to another port of the hub", iso, session{protocol: TCP, local: here, remote: at("203.0.113.5:80")}, false},
		{"to the hub's neighbour", iso, session{protocol: TCP, local: here, remote: at("203.0.113.6:443")}, false},
		{"from the hub's own port", iso, session{protocol: TCP, local: here, remote: hub, inbound: true}, false},
		{"to the hub over IPv6", iso, session{protocol: UDP, local: here, remote: hub6}, true},
		{"from an administrator", iso, session{protocol: TCP, local: ssh, remote: admin, inbound: true}, true},
		{"from an administrator to another port", iso, session{protocol: TCP, local: here, remote: admin, inbound: true}, false},
		{"to an administrator", iso, session{protocol: TCP, local: ssh, remote: admin}, false},
		{"to a private address", iso, session{protocol: TCP, local: here, remote: at("192.168.1.9:445")}, false},
		{"to a resolver", iso, session{protocol: UDP, local: here, remote: at("10.0.0.53:53")}, true},
		{"to a link-local resolver", iso, session{protocol: TCP, local: here, remote: at("[fe80::53]:53")}, true},
		{"to another port of a resolver", iso, session{protocol: TCP, local: here, remote: at("10.0.0.53:853")}, false},
		{"from a resolver", iso, session{protocol: UDP, local: here, remote: at("10.0.0.53:53"), inbound: true}, false},
		{"a kept program's", iso, session{protocol: TCP, local: here, remote: at("192.0.2.9:5000"), program: true}, true},
		{"to a kept program", iso, session{protocol: TCP, local: here, remote: at("192.0.2.9:5000"), program: true, inbound: true}, false},
		{"over lo", iso, session{protocol: TCP, inner: true}, true},
		{"over lo in a container", iso, session{protocol: TCP, inner: true, away: true}, true},
		{"to the hub from a container", iso, session{protocol: TCP, local: here, remote: hub, away: true}, false},
		{"no protocol that can be kept", iso, session{local: here, remote: hub}, false},
		{"DHCP", dhcp, session{protocol: UDP, local: at("192.168.1.2:68"), remote: at("192.168.1.1:67")}, true},
		{"DHCPv6", dhcp, session{protocol: UDP, local: at("[fe80::2]:546"), remote: at("[fe80::1]:547")}, true},
		{"DHCP that is not kept", iso, session{protocol: UDP, local: at("192.168.1.2:68"), remote: at("192.168.1.1:67")}, false},
		{"no DHCP", dhcp, session{protocol: UDP, local: at("192.168.1.2:68"), remote: at("192.168.1.1:53")}, false},
		{"a UDP service", iso, session{protocol: UDP, local: at("0.0.0.0:5353"), service: true}, true},
		{"a UDP service in a container", iso, session{protocol: UDP, local: at("0.0.0.0:5353"), service: true, away: true}, true},
		{"a QUIC client", iso, session{protocol: UDP, local: at("0.0.0.0:41000")}, false},
		{"a QUIC client of a kept program", iso, session{protocol: UDP, local: at("0.0.0.0:41000"), program: true}, true},
		{"where kept peers send to", iso, session{protocol: UDP, local: at("0.0.0.0:45000")}, true},
		{"the same port in a container", iso, session{protocol: UDP, local: at("0.0.0.0:45000"), away: true}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := kept(test.iso, test.session); got != test.want {
				t.Errorf("kept: got %v; want %v", got, test.want)
			}
			if test.want && !test.away && !mayBeKept(test.iso, test.session) {
				t.Error("it may not be kept at all")
			}
		})
	}
}

func TestMadeByPeer(t *testing.T) {
	tests := []struct {
		name      string
		listens   bool
		tracked   direction
		handedOut bool
		want      bool
	}{
		{"a listener is there", true, direction{}, false, true},
		{"a listener is there, tracked from its middle", true, direction{known: true}, false, true},
		{"a listener is there, on a high port", true, direction{}, true, true},
		{"nothing is known", false, direction{}, true, false},
		{"nothing is known of a low port", false, direction{}, false, false},
		{"the listener is gone", false, direction{known: true, inbound: true}, false, true},
		{"tracked as outbound", false, direction{known: true}, false, false},
		{"tracked from its middle", false, direction{known: true, inbound: true}, true, false},
		{"redirected to a high port", false, direction{known: true, inbound: true, rewritten: true}, true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := madeByPeer(test.listens, test.tracked, test.handedOut); got != test.want {
				t.Errorf("got %v; want %v", got, test.want)
			}
		})
	}
}
