//go:build linux

package lab_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

// TestAfterReboot shows that what was closed stays closed, that what was blocked
// is blocked again, and that a threat is looked at once more.
func TestAfterReboot(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	h.InstallAgent(t, shutPolicy)
	h.Run(t, "systemctl", "enable", "--now", "smbd", "nginx")
	resolved(t, h, 15*time.Second, 445)
	h.WaitThreat(t, 10*time.Second, "port 80, mitigated", func(th lab.Threat) bool {
		return th.IsPort(80) && th.Stage == "mitigated"
	})
	before := h.BootID(t)

	h.Reboot(t)
	if h.BootID(t) == before {
		t.Fatal("the host was not rebooted")
	}
	// The look waits until the host has been up for a minute.
	h.WaitThreat(t, 90*time.Second, "port 445, looked at after the reboot", func(th lab.Threat) bool {
		for _, p := range th.Proofs {
			if th.IsPort(445) && th.Stage == "resolved" && strings.Contains(p.Look, "reboot") && p.Verdict == "cleared" {
				return true
			}
		}
		return false
	})
	if closed := h.Run(t, "systemctl", "show", "-p", "ActiveState,UnitFileState", "smbd"); !strings.Contains(closed, "=inactive") || !strings.Contains(closed, "=masked") {
		t.Errorf("after the reboot smbd is %q; want inactive, masked", closed)
	}
	if state := h.Run(t, "systemctl", "is-active", "nginx"); state != "active" {
		t.Errorf("after the reboot nginx is %s; want active", state)
	}
	lab.Eventually(t, 10*time.Second, func() error {
		if state := n.Attacker.Nmap(t, h.IPv4, 80)[80]; state == "open" {
			return fmt.Errorf("after the reboot nmap sees port 80 %s", state)
		}
		return nil
	})
}
