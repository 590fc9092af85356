package platform

import (
	"net/netip"
	"testing"
)

// TestWall shows what a wall lets through, each way.
func TestWall(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		f := newFirewall()
		serve(t, "80")
		serve(t, "22")
		w.fromOutside(t, func() { serve(t, "9000"); serve(t, "4222") })
		inside := []talk{
			{"tcp", "127.0.0.1", "80", "", true}, {"udp", "::1", "80", "", true}, {"tcp", host4, "80", "", true},
		}
		keep := []Peer{
			{Network: netip.MustParsePrefix(far4 + "/32"), Protocol: TCP, Port: 22, Inbound: true},
			{Network: netip.MustParsePrefix(far4 + "/32"), Protocol: TCP, Port: 4222},
		}
		fromOutside := func(what string) {
			w.fromOutside(t, func() {
				check(t, "outside, "+what,
					talk{"tcp", host4, "80", "", false}, talk{"tcp", host6, "80", "", false}, talk{"tcp", hostLocal, "80", "", false},
					talk{"udp", host4, "80", "", false}, talk{"udp", host6, "80", "", false}, talk{"udp", hostLocal, "80", "", false},
					talk{"tcp", host4, "80", "4222", false}, talk{"udp", host4, "80", "53", false},
					talk{"tcp", host4, "22", "", true}, talk{"tcp", host6, "22", "", false}, talk{"udp", host4, "22", "", false})
			})
		}
		apply(t, f, Restrictions{Wall: &Wall{Keep: keep}})
		fromOutside("a wall")
		check(t, "the host itself", inside...)
		check(t, "outgoing, a wall",
			talk{"tcp", far4, "9000", "", true}, talk{"tcp", far6, "9000", "", true}, talk{"udp", far4, "9000", "", true},
			talk{"udp", far6, "9000", "", true}, talk{"tcp", far4, "4222", "", true})

		apply(t, f, Restrictions{Wall: &Wall{Keep: keep, Shut: true}})
		fromOutside("shut")
		check(t, "the host itself", inside...)
		check(t, "outgoing, shut",
			talk{"tcp", far4, "9000", "", false}, talk{"tcp", far6, "9000", "", false}, talk{"udp", far4, "9000", "", false},
			talk{"udp", far6, "9000", "", false}, talk{"tcp", far4, "4222", "", true}, talk{"tcp", far6, "4222", "", false})

		apply(t, f, Restrictions{})
		w.fromOutside(t, func() {
			check(t, "outside, taken away", talk{"tcp", host4, "80", "", true}, talk{"udp", host6, "80", "", true})
		})
	})
}
