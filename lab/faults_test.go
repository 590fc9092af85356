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
		// Programs are started on the host over D-Bus too, so this one is left to
		// itself meanwhile.
		h.Put(t, "/root/alone", 0o755, []byte(`#!/bin/sh
sleep 1
systemctl stop dbus.socket dbus.service
firebreak check >/root/said 2>&1
code=$?
systemctl start dbus.socket dbus.service
echo $code >/root/code
`))
		h.Run(t, "systemd-run", "--no-block", "/root/alone")
		lab.Eventually(t, 20*time.Second, func() error {
			code, errs, failed := h.Try("cat", "/root/code")
			if failed != 0 {
				return fmt.Errorf("check has not ended: %s", errs)
			}
			if said := h.Run(t, "cat", "/root/said"); code > "1\n" || strings.Contains(said, "goroutine ") {
				t.Errorf("firebreak check without D-Bus: exit code %s: %s", code, said)
			}
			return nil
		})
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
