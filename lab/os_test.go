//go:build linux

package lab_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

const upgradePolicy = `version: firebreak/v1
name: lab
revision: 1
mode: enforce
os: {extended: none, warnBefore: 3000d, plan: upgrade}
plans:
  upgrade: {remediate: [flag-os-upgrade]}
`

// TestOutdatedOS runs the agent on a release of Debian whose support has ended,
// or ends within the very long warning that the policy asks for: the upgrade is
// flagged for a person, and whoever is logged in is told on the terminal.
func TestOutdatedOS(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	hangUp := h.SSH(t, "lena", "echo logged in; exec sleep 300")
	lab.Eventually(t, 20*time.Second, func() error {
		if who := h.Run(t, "who"); !strings.Contains(who, "lena") {
			return fmt.Errorf("lena is not logged in: %q", who)
		}
		return nil
	})
	h.InstallAgent(t, upgradePolicy)

	th := h.WaitThreat(t, 20*time.Second, "an outdated OS that waits for a person", func(th lab.Threat) bool {
		return th.Detector == "outdated-os" && th.Stage == "waiting" && th.WaitingFor == "person"
	})
	os := th.Subject.OS
	if os == nil || os.ID != "debian" || os.DataDate == "" || os.Verdict == "supported" {
		t.Errorf("got the subject %+v; want Debian, a verdict and the date of its data", os)
	}
	var flagged bool
	for _, f := range h.Status(t).Flags {
		flagged = flagged || f.Name == "os-upgrade" && strings.Contains(strings.Join(f.Told, " "), "lena")
	}
	if !flagged {
		t.Errorf("status has the flags %+v; want os-upgrade, and lena told", h.Status(t).Flags)
	}
	if screen, _, _ := h.TryFirebreak("status"); !strings.Contains(screen, th.ID) || !strings.Contains(screen, "Debian") {
		t.Errorf("status does not show the threat:\n%s", screen)
	}
	if h.Firebreak(t, "recheck", th.ID); h.Threats(t)[0].Stage == "resolved" {
		t.Error("nobody upgraded, and the threat is resolved")
	}
	if terminal := hangUp(); !strings.Contains(strings.ToLower(terminal), "upgrade") && !strings.Contains(terminal, "Debian") {
		t.Errorf("lena's terminal shows nothing of it: %q", terminal)
	}
}
