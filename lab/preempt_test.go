//go:build linux

package lab_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

// bindPolicy lets nobody open 445, and redis alone 6379.
const bindPolicy = `version: firebreak/v1
name: binds
revision: 1
mode: enforce
ports:
  default: {severity: low}
  allow:
    - {port: 22, protocol: tcp}
    - {port: 6379, protocol: tcp, process: %s}
    - {port: 6380, protocol: tcp, unit: opens}
  deny:
    - {port: [445, 6379, 6380], protocol: tcp, severity: critical, plan: shut, preempt: bind}
plans:
  shut: {mitigate: [block-port], remediate: [close-port]}
isolation: {keep: [dhcp], lease: 15m, max: 4h, onLeaseEnd: open}
limits: {disruptivePerHour: 100}
`

const opens = "import socket,sys; s=socket.socket(); s.bind(('0.0.0.0', int(sys.argv[1]))); s.listen(); print('listens')"

// TestNobodyOpensADeniedPort shows that a bind itself fails, for root too, whatever
// becomes of the agent, and on this host alone.
func TestNobodyOpensADeniedPort(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	hosts := n.Boot(t, "alpha", "beta")
	h, other := hosts[0], hosts[1]
	python := h.Run(t, "readlink", "-f", "/usr/bin/python3")
	h.Run(t, "cp", python, "/usr/local/bin/snake")
	h.InstallAgent(t, fmt.Sprintf(bindPolicy, "/usr/local/bin/snake"))
	try := func(h *lab.Host, args ...string) string {
		out, errs, _ := h.Try(args...)
		switch {
		case strings.Contains(out, "listens"):
			return "listens"
		case strings.Contains(errs, "PermissionError"):
			return "refused"
		}
		return out + errs
	}
	want := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s; want %s", what, got, want)
		}
	}
	lab.Eventually(t, 10*time.Second, func() error {
		if got := try(h, python, "-c", opens, "445"); got != "refused" {
			return fmt.Errorf("root opens 445: %s", got)
		}
		return nil
	})
	want("python on 6379", try(h, python, "-c", opens, "6379"), "refused")
	want("the exception on 6379", try(h, "/usr/local/bin/snake", "-c", opens, "6379"), "listens")
	want("the exception on 445", try(h, "/usr/local/bin/snake", "-c", opens, "445"), "refused")
	want("another unit on 6380", try(h, python, "-c", opens, "6380"), "refused")
	h.Put(t, "/etc/systemd/system/opens.service", 0o644, fmt.Appendf(nil, "[Service]\nType=oneshot\nExecStart=%s -c \"%s\" 6380\n", python, opens))
	h.Run(t, "systemctl", "daemon-reload")
	h.Run(t, "systemctl", "start", "opens.service")
	want("another host", try(other, python, "-c", opens, "445"), "listens")
	// One that listens on a port of any number is as good as before.
	want("another port", try(h, python, "-c", opens, "446"), "listens")

	told := "refused: " + python
	lab.Eventually(t, 5*time.Second, func() error {
		if text := h.Firebreak(t, "history"); !strings.Contains(strings.Join(strings.Fields(text), " "), told) {
			return fmt.Errorf("no %q in the history:\n%s", told, text)
		}
		return nil
	})

	h.Run(t, "systemctl", "kill", "-s", "KILL", "firebreak.service")
	h.Run(t, "systemctl", "stop", "firebreak.service")
	want("while no agent runs", try(h, python, "-c", opens, "445"), "refused")
	h.Run(t, "rm", "/sys/fs/bpf/firebreak/bind4")
	want("a pin was taken away", try(h, python, "-c", opens, "445"), "listens")
	h.Run(t, "systemctl", "start", "firebreak.service")
	h.WaitForAgent(t)
	lab.Eventually(t, 10*time.Second, func() error {
		if got := try(h, python, "-c", opens, "445"); got != "refused" {
			return fmt.Errorf("the agent is back, and root opens 445: %s", got)
		}
		return nil
	})

	var check struct {
		Preempts []string `json:"preempts"`
	}
	h.Put(t, "/root/policy.yaml", 0o600, fmt.Appendf(nil, bindPolicy, "/usr/local/bin/snake"))
	if err := json.Unmarshal([]byte(h.Firebreak(t, "policy", "check", "--json", "/root/policy.yaml")), &check); err != nil {
		t.Error(err)
	}
	if len(check.Preempts) != 3 || !strings.Contains(check.Preempts[1], "tcp 6379 (but /usr/local/bin/snake): no program may open it") {
		t.Errorf("policy check: %q", check.Preempts)
	}

	if out := h.Firebreak(t, "uninstall"); !strings.Contains(strings.Join(strings.Fields(out), " "), "programs may open tcp 445, tcp 6379, tcp 6380 again") {
		t.Errorf("uninstall said %s", out)
	}
	want("after uninstalling", try(h, python, "-c", opens, "445"), "listens")
	if left, _, code := h.Try("ls", "/sys/fs/bpf/firebreak"); code == 0 {
		t.Errorf("left in /sys/fs/bpf: %s", left)
	}
}
