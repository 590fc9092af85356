//go:build linux

package lab_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

// stubborn puts a service back whenever it is closed, as a tool does that manages
// settings and knows nothing of Firebreak.
const stubborn = `#!/bin/sh
while :; do
	if ! systemctl -q is-active back.service; then
		rm -f /etc/systemd/system.control/back.service
		systemctl daemon-reload
		systemctl -q enable back.service
		systemctl start back.service
	fi
	sleep 2
done
`

// TestComesAndGoes closes what another tool opens again and again: not for ever, and
// never open to anybody.
func TestComesAndGoes(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	h.Put(t, "/usr/local/bin/serve", 0o755, []byte(serve))
	h.Put(t, "/usr/local/bin/stubborn", 0o755, []byte(stubborn))
	h.Put(t, unitFolder+"back.service", 0o644, []byte("[Service]\nExecStart=/usr/local/bin/serve 7001\n[Install]\nWantedBy=multi-user.target\n"))
	h.Run(t, "systemctl", "daemon-reload")
	h.InstallAgent(t, shutPolicy)
	h.Run(t, "systemd-run", "--quiet", "--unit=stubborn", "/usr/local/bin/stubborn")
	waits := h.WaitThreat(t, 120*time.Second, "port 7001, left to a person", func(th lab.Threat) bool {
		return th.IsPort(7001) && th.Stage == "waiting" && th.WaitingFor == "person"
	})
	closed := 0
	for _, a := range waits.Actions {
		if a.Name == "close-port" && a.Result == "done" {
			closed++
		}
	}
	if closed < 1 || closed > 4 {
		t.Errorf("closed %d times before it was left to a person; want 1 to 4: %+v", closed, waits.Actions)
	}
	if !slices.Equal(waits.InForce, []string{"block-port"}) || !strings.Contains(waits.Next, "something starts it again") {
		t.Errorf("in force %v, next %q", waits.InForce, waits.Next)
	}
	entries := func() int { return strings.Count(h.Firebreak(t, "history", "--json"), waits.ID) }
	before := entries()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
		if n.Attacker.Connect(h.IPv4, 7001) == nil {
			t.Fatal("the attacker connects to a port that is said to be blocked")
		}
	}
	if more := entries() - before; more > 4 {
		t.Errorf("%d more lines of history in 20 s for one threat", more)
	}
	if state := h.Run(t, "systemctl", "is-active", "back.service"); !strings.Contains(state, "active") {
		t.Errorf("the service is %s: it is closed for ever", state)
	}
	for command, now := range map[string]string{"status": "BLOCKED, NOT FIXED", "threats": "waits for a person"} {
		out, _, _ := h.TryFirebreak(command)
		if !strings.Contains(out, "comes and goes: ") || !strings.Contains(out, now) {
			t.Errorf("%s says:\n%s", command, out)
		}
	}
	if out := h.Firebreak(t, "explain", waits.ID); !strings.Contains(out, "opened and closed") {
		t.Errorf("explain says:\n%s", out)
	}
	h.Run(t, "systemctl", "stop", "stubborn.service", "back.service")
	lab.Eventually(t, 10*time.Second, func() error {
		if out, _, _ := h.TryFirebreak("explain", waits.ID); strings.Contains(out, "back.service") && strings.Contains(out, "held by") {
			return fmt.Errorf("nobody holds the port any more, and explain says:\n%s", out)
		}
		return nil
	})
}
