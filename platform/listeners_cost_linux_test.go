package platform

import (
	"net"
	"testing"
)

// TestReadingAllocatesNothingForAPort reads the listeners of this process, again
// and again, with few of them and with many.
func TestReadingAllocatesNothingForAPort(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		shell(t, "ip link set lo up; nft add table inet filter; nft add chain inet filter input '{ type filter hook input priority 0; policy drop; }'")
		r, err := newListenerReader()
		if err != nil {
			t.Fatal(err)
		}
		defer r.close()
		open := func(n int) {
			for range n {
				l, err := net.Listen("tcp", ":0")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { l.Close() })
			}
		}
		read := func(want int) float64 {
			return testing.AllocsPerRun(10, func() {
				found, _, err := r.read(t.Context(), true)
				if err != nil || len(found) != want || found[0].Owner.Exe == "" {
					t.Fatalf("got %d listeners and error %v; want %d with owners", len(found), err, want)
				}
			})
		}
		open(10)
		few := read(10)
		open(290)
		if many := read(300); many > few+20 {
			t.Errorf("got %.0f allocations with 10 ports and %.0f with 300; want the same but for lists that double", few, many)
		} else {
			t.Logf("%.0f allocations with 10 ports, %.0f with 300", few, many)
		}
	})
}
