package platform

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
)

func TestRoutes(t *testing.T) {
	inWorld(t, func(t *testing.T, _ world) {
		shell(t, `ip route add 198.51.100.0/24 via 192.0.2.2
			ip route add 203.0.113.0/24 via inet6 2001:db8::2
			ip route add unreachable 198.18.1.0/24; ip route add blackhole 198.18.2.0/24; ip route add prohibit 198.18.3.0/24
			ip link add vx0 type vxlan id 5 remote 192.0.2.2 dstport 4789; ip addr add 10.9.0.1/24 dev vx0; ip link set vx0 up`)
		for to, want := range map[string]string{
			"192.0.2.2":        "eth0 tunnel=false [] from 192.0.2.1 via invalid IP",
			"198.51.100.7":     "eth0 tunnel=false [] from 192.0.2.1 via 192.0.2.2",
			"203.0.113.7":      "eth0 tunnel=false [] from 192.0.2.1 via 2001:db8::2",
			"2001:db8::2":      "eth0 tunnel=false [] from 2001:db8::1 via invalid IP",
			"::ffff:192.0.2.2": "eth0 tunnel=false [] from 192.0.2.1 via invalid IP",
			"fe80::2%eth0":     "eth0 tunnel=false [] from fe80::1 via invalid IP",
			"127.0.0.1":        "lo tunnel=false [] from 127.0.0.1 via invalid IP",
			"::1":              "lo tunnel=false [] from ::1 via invalid IP",
			"10.9.0.2":         "vx0 tunnel=true [192.0.2.2:4789] from 10.9.0.1 via invalid IP",
			"198.18.1.1":       "no route", "198.18.2.1": "no route", "198.18.3.1": "no route",
			"8.8.8.8": "no route", "2001:db8:1::1": "no route", "fe80::2%eth9": "no route",
		} {
			if got := way(t, to); got != want {
				t.Errorf("to %s: got %s; want %s", to, got, want)
			}
		}
	})
}

func way(t *testing.T, to string) string {
	t.Helper()
	r, err := newRoutes().To(context.Background(), netip.MustParseAddr(to))
	if errors.Is(err, ErrNoRoute) {
		return "no route"
	}
	if err != nil {
		t.Errorf("to %s: %v", to, err)
	}
	return fmt.Sprintf("%s tunnel=%v %v from %s via %s", r.Link.Name, r.Link.Tunnel, r.Link.Outer, r.Source, r.Gateway)
}

// TestRouteThroughIPsec has a tunnel that no interface stands for, and a policy
// ahead of it that lets one host pass as it is.
func TestRouteThroughIPsec(t *testing.T) {
	inWorld(t, func(t *testing.T, _ world) {
		shell(t, `ip route add default via 192.0.2.2
			ip xfrm policy add src 192.0.2.1/32 dst 10.0.0.0/8 dir out priority 2000 tmpl src 192.0.2.1 dst 192.0.2.77 proto esp mode tunnel
			ip xfrm policy add src 192.0.2.1/32 dst 10.5.0.1/32 dir out priority 1000
			ip xfrm policy add src 192.0.2.1/32 dst 10.5.0.2/32 dir out priority 3000`)
		for to, want := range map[string]string{
			"10.1.2.3":     "eth0 tunnel=true [192.0.2.77:0] from 192.0.2.1 via 192.0.2.2",
			"10.5.0.1":     "eth0 tunnel=false [] from 192.0.2.1 via 192.0.2.2",
			"10.5.0.2":     "eth0 tunnel=true [192.0.2.77:0] from 192.0.2.1 via 192.0.2.2",
			"198.51.100.1": "eth0 tunnel=false [] from 192.0.2.1 via 192.0.2.2",
		} {
			if got := way(t, to); got != want {
				t.Errorf("to %s: got %s; want %s", to, got, want)
			}
		}
	})
}
