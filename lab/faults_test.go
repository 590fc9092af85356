//go:build linux

package lab_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

// TestFaults takes from the agent what it relies on, one thing at a time. Each
// time it must say so in a sentence, do nothing rash, and carry on.
func TestFaults(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	h.CopyAgent(t)

	t.Run("check without an agent", func(t *testing.T) {
		h.SetPolicy(t, shutPolicy)
		noPanic(t, h, "check")
		asUser(t, h, "check", 0)
		_, _, code := h.TryFirebreak("status")
		if code != 4 {
			t.Errorf("status without an agent exits with %d; want 4", code)
		}
	})
	t.Run("check without D-Bus", func(t *testing.T) {
		if code, said := withoutDBus(t, h, "firebreak check"); code > "1\n" || strings.Contains(said, "goroutine ") {
			t.Errorf("firebreak check without D-Bus: exit code %s: %s", code, said)
		}
	})

	h.InstallAgent(t, shutPolicy)
	t.Run("not root", func(t *testing.T) {
		asUser(t, h, "status", 0)
		asUser(t, h, "isolate --reason test", 3)
	})
	t.Run("a second agent", func(t *testing.T) {
		out, errs, code := h.Try("timeout", "10", "firebreak", "run")
		if code == 0 || code == 124 || !strings.Contains(out+errs, "running") {
			t.Errorf("a second agent: exit code %d, %q; want it refused because one is running", code, out+errs)
		}
	})
	t.Run("killed", func(t *testing.T) {
		h.Run(t, "systemctl", "start", "nginx")
		blocked := func(th lab.Threat) bool { return th.IsPort(80) && th.Stage == "mitigated" }
		first := h.WaitThreat(t, 10*time.Second, "port 80, mitigated", blocked)
		h.Run(t, "systemctl", "kill", "--signal=KILL", "firebreak")
		if n.Attacker.Connect(h.IPv4, 80) == nil {
			t.Error("the block fell with the agent")
		}
		lab.Eventually(t, 30*time.Second, func() error {
			if _, errs, code := h.TryFirebreak("status"); code > 1 {
				return fmt.Errorf("status exits with %d: %s", code, errs)
			}
			return nil
		})
		if again := h.WaitThreat(t, 10*time.Second, "port 80, mitigated", blocked); again.ID != first.ID {
			t.Errorf("the threat was %s and is %s", first.ID, again.ID)
		}
		h.Run(t, "systemctl", "stop", "nginx")
		resolved(t, h, 15*time.Second, 80)
	})
	t.Run("D-Bus goes while a service is found and closed", func(t *testing.T) {
		code, said := withoutDBus(t, h, "systemctl start smbd; sleep 0.3; for i in $(seq 100); do ss -Hltn 'sport = :445' | grep -q . || break; sleep 0.1; done; firebreak threats --all")
		if strings.Contains(said, "not permitted") || code != "0\n" {
			t.Errorf("threats without D-Bus: exit code %s: %s", code, said)
		}
		resolved(t, h, 60*time.Second, 445)
	})
	t.Run("a bad policy", func(t *testing.T) {
		h.SetPolicy(t, strings.Replace(shutPolicy, "deny:", "dney:", 1))
		lab.Eventually(t, 3*time.Second, func() error {
			if s := h.Status(t); s.Policy.Valid || !strings.Contains(s.Policy.Version, "lab") {
				return fmt.Errorf("status says of the policy: %+v", s.Policy)
			}
			return nil
		})
		h.SetPolicy(t, shutPolicy)
		lab.Eventually(t, 3*time.Second, func() error {
			if s := h.Status(t); !s.Policy.Valid {
				return fmt.Errorf("the good policy is back; status says: %+v", s.Policy)
			}
			return nil
		})
	})
}

// withoutDBus runs a script on a host that has no D-Bus meanwhile. Programs are
// started there over D-Bus too, so this one is left to itself.
func withoutDBus(t *testing.T, h *lab.Host, script string) (code, said string) {
	t.Helper()
	h.Run(t, "rm", "-f", "/root/code")
	h.Put(t, "/root/alone", 0o755, []byte(`#!/bin/sh
sleep 1
systemctl stop dbus.socket dbus.service
sh -c "$0.sh" >/root/said 2>&1
code=$?
systemctl start dbus.socket dbus.service
sleep 2 # until the service manager is back on it
echo $code >/root/code
`))
	h.Put(t, "/root/alone.sh", 0o755, []byte("#!/bin/sh\n"+script+"\n"))
	h.Run(t, "systemd-run", "--no-block", "/root/alone")
	lab.Eventually(t, 40*time.Second, func() error {
		out, errs, failed := h.Try("cat", "/root/code")
		if failed != 0 {
			return fmt.Errorf("it has not ended: %s", errs)
		}
		code = out
		return nil
	})
	return code, h.Run(t, "cat", "/root/said")
}

// TestFullDisk shows that no remediation starts that could not be journaled.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	h.Run(t, "mkdir", "-p", "/var/lib/firebreak")
	h.Run(t, "mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", "/var/lib/firebreak")
	h.InstallAgent(t, shutPolicy)
	h.Try("dd", "if=/dev/zero", "of=/var/lib/firebreak/filler", "bs=4k")
	h.Run(t, "systemctl", "start", "smbd")
	lab.Eventually(t, 15*time.Second, func() error {
		if s := h.Status(t); len(s.Troubles) == 0 {
			return fmt.Errorf("the disk is full, and status says %+v", s)
		}
		return nil
	})
	if state := h.Run(t, "systemctl", "is-active", "smbd"); state != "active" {
		t.Errorf("smbd is %s: it was stopped without a record", state)
	}
	h.Run(t, "rm", "/var/lib/firebreak/filler")
	h.Firebreak(t, "recheck")
	lab.Eventually(t, 10*time.Second, func() error {
		if s := h.Status(t); len(s.Troubles) > 0 {
			return fmt.Errorf("there is space again, and status says: %q", s.Troubles)
		}
		return nil
	})
	resolved(t, h, 90*time.Second, 445)
}

// noPanic runs a command and fails if it could not look.
func noPanic(t *testing.T, h *lab.Host, args ...string) {
	t.Helper()
	out, errs, code := h.TryFirebreak(args...)
	if code < 0 || code > 1 || strings.Contains(errs, "goroutine ") {
		t.Errorf("firebreak %s: exit code %d: %s%s", strings.Join(args, " "), code, out, errs)
	}
}

// asUser runs a command as lena, who is nobody special. A wanted code of 0 takes
// 1 as well: something is open.
func asUser(t *testing.T, h *lab.Host, command string, want int) {
	t.Helper()
	out, errs, code := h.Try("su", "lena", "-c", "firebreak "+command)
	good := code == want || want == 0 && code == 1
	if !good || strings.Contains(errs, "goroutine ") {
		t.Errorf("as a user: firebreak %s: exit code %d, want %d: %s%s", command, code, want, out, errs)
	}
}
