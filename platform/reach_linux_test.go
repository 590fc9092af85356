package platform

import (
	"net/netip"
	"testing"
)

func TestReachOf(t *testing.T) {
	tests := []struct {
		address, bound string // bind address, and interface it is bound to
		networked      bool
		want           Reach
	}{
		{"127.0.0.1", "", true, ReachLoopback},
		{"127.0.0.53", "lo", true, ReachLoopback},
		{"::1", "", true, ReachLoopback},
		{"::ffff:127.0.0.1", "", true, ReachLoopback},
		{"0.0.0.0", "lo", true, ReachLoopback},
		{"::", "lo", true, ReachLoopback},
		{"0.0.0.0", "", false, ReachLoopback},
		{"::", "", false, ReachLoopback},
		{"192.168.1.7", "", true, ReachLAN},
		{"172.16.0.1", "", true, ReachLAN},
		{"10.255.255.255", "", true, ReachLAN},
		{"169.254.7.7", "", true, ReachLAN},
		{"fe80::1%eth0", "eth0", true, ReachLAN},
		{"fd12::1", "", true, ReachLAN},
		{"::ffff:10.0.0.1", "", true, ReachLAN},
		{"224.0.0.251", "", true, ReachLAN},
		{"ff02::fb", "", true, ReachLAN},
		{"255.255.255.255", "", true, ReachLAN},
		{"0.0.0.0", "", true, ReachAny},
		{"::", "", true, ReachAny},
		{"0.0.0.0", "eth0", true, ReachAny},
		{"198.51.100.7", "", true, ReachAny},
		{"100.64.0.1", "", true, ReachAny},
		{"172.32.0.1", "", true, ReachAny},
		{"2001:db8::1", "", true, ReachAny},
		{"239.1.2.3", "", true, ReachAny},
	}
	for _, test := range tests {
		l := Listener{Address: netip.MustParseAddr(test.address), Interface: test.bound}
		if got := reachOf(l, test.networked); got != test.want {
			t.Errorf("%s on %q, networked %v: got %s; want %s", test.address, test.bound, test.networked, got, test.want)
		}
	}
	if got := reachOf(Listener{}, true); got != ReachAny {
		t.Errorf("an unknown address: got %s; want any", got)
	}
}
