//go:build linux

package lab_test

import (
	"strings"
	"testing"

	"github.com/firebreak-sec/firebreak/lab"
)

// another makes another program of the agent's: longer, and the same.
const another = "cp /usr/local/bin/firebreak /usr/local/bin/new && echo >>/usr/local/bin/new && mv /usr/local/bin/new /usr/local/bin/firebreak"

// TestUpgradeWhileIsolated replaces the program of an isolated host that talks, as
// install does and as a package does. Nothing passes, and the new agent owns the
// tables.
func TestUpgradeWhileIsolated(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	w, since := chatters(t, h, "open")
	main := func() string { return h.Run(t, "systemctl", "show", "-p", "MainPID", "--value", "firebreak") }
	for _, way := range []string{
		another + " && firebreak install",
		"systemctl stop firebreak && " + another + " && systemctl start firebreak",
		another + " && systemctl restart firebreak",
	} {
		before := main()
		h.Run(t, "sh", "-ec", "PATH=/usr/local/bin:$PATH; "+way)
		if main() == before {
			t.Errorf("%s: the old agent goes on", way)
		}
		if s := h.Status(t); !s.Isolated {
			t.Errorf("%s: the new agent does not know that the host is isolated", way)
		}
		if got := strings.TrimSpace(h.Run(t, "sh", "-c", flushes)); got != "3" {
			t.Errorf("%s: the flush said %q; want 3 tables of the agent left", way, got)
		}
		if got := h.Run(t, "systemctl", "show", "-p", "NFileDescriptorStore", "--value", "firebreak"); got != "1" {
			t.Errorf("%s: systemd keeps %s sockets; want 1", way, got)
		}
		if err := n.Management.Connect(h.IPv4, 22); err != nil {
			t.Errorf("%s: management: %v", way, err)
		}
		shut(t, w, since, way)
	}
	h.Firebreak(t, "release")
	if err := n.Attacker.Connect(h.IPv4, 22); err != nil {
		t.Errorf("released: %v", err)
	}
}
