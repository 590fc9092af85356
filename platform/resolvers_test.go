package platform

import (
	"net/netip"
	"slices"
	"testing"
)

func TestParseResolvConf(t *testing.T) {
	got := parseResolvConf([]byte("# by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch example.org\nnameserver fe80::1%eth0\nnameserver\nnameserver nonsense\n"))
	want := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1%eth0")}
	if !slices.Equal(got, want) {
		t.Errorf("got %v; want %v", got, want)
	}
}
