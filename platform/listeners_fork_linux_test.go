package platform

import (
	"os/exec"
	"testing"
	"time"
)

// intoBackground listens, leaves the socket to a child, and ends, as daemons do; the
// child ends soon.
const intoBackground = `use IO::Socket::INET;
my $s = IO::Socket::INET->new(LocalPort => 7400, Listen => 5, ReuseAddr => 1) or die;
exit 0 if fork;
select undef, undef, undef, 0.05;`

// TestOwnersOfWhatForksAway looks at programs while they begin, hand their socket on,
// and end: the owner of a socket that is there is always known.
func TestOwnersOfWhatForksAway(t *testing.T) {
	needTools(t, "perl")
	inNewNetns(t, func(t *testing.T) {
		r, err := newListenerReader()
		if err != nil {
			t.Fatal(err)
		}
		defer r.close()
		looks, unknown := 0, 0
		for range 60 {
			cmd := exec.Command("perl", "-e", intoBackground)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(70 * time.Millisecond); time.Now().Before(end); looks++ {
				found, _, err := r.read(t.Context(), true)
				if err != nil {
					t.Fatal(err)
				}
				for _, l := range found {
					if l.NetNS == "" && l.Owner.PID == 0 {
						unknown++
					}
				}
			}
			_ = cmd.Wait() // it has no children that matter
		}
		if unknown > 0 {
			t.Errorf("in %d of %d looks nobody held the port", unknown, looks)
		}
	})
}
