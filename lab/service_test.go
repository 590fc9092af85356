//go:build linux

package lab_test

import (
	"strings"
	"testing"

	"github.com/firebreak-sec/firebreak/lab"
)

// TestService installs the agent from a copied program, asks it as each of its
// users, and uninstalls it without a trace.
func TestService(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	rules := h.Run(t, "nft", "list", "ruleset")
	h.InstallAgent(t, "version: firebreak/v1\nname: lab\nmode: enforce\nisolation: {keep: [dhcp]}\n")

	if got := h.Firebreak(t, "install"); !strings.Contains(got, "was there already") {
		t.Errorf("installing twice: got %q; want the policy left as it is", got)
	}
	for _, unit := range []string{"firebreak", "firebreak-restore"} {
		if got := h.Run(t, "systemctl", "is-enabled", unit); strings.TrimSpace(got) != "enabled" {
			t.Errorf("service %s is %s; want enabled", unit, got)
		}
		out, errs, code := h.Try("systemd-analyze", "verify", "/etc/systemd/system/"+unit+".service")
		if code != 0 || strings.Contains(out+errs, "firebreak") {
			t.Errorf("systemd finds fault with unit %s: %s%s", unit, out, errs)
		}
	}

	h.Run(t, "groupadd", "-f", "-r", "firebreak-helpdesk")
	h.Run(t, "useradd", "-m", "plain")
	h.Run(t, "useradd", "-m", "-G", "firebreak-helpdesk", "desk")
	as := func(user string, args ...string) (string, int) {
		out, errs, code := h.Try(append([]string{"runuser", "-u", user, "--", "/usr/local/bin/firebreak"}, args...)...)
		return out + errs, code
	}
	for _, c := range []struct {
		user string
		args []string
		code int
		want string
	}{
		{"plain", []string{"status", "--fail-on", "critical"}, 0, "Details  are hidden"},
		{"plain", []string{"history"}, 3, "needs group firebreak-helpdesk"},
		{"plain", []string{"recheck"}, 3, "you are plain"},
		{"desk", []string{"recheck"}, 0, ""},
		{"desk", []string{"history"}, 0, "policy lab r"},
		{"desk", []string{"isolate", "--reason", "test"}, 3, "this needs root"},
		{"desk", []string{"stop"}, 3, "not permitted"},
	} {
		if out, code := as(c.user, c.args...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: firebreak %s: exit code %d, %q; want %d, %q", c.user, strings.Join(c.args, " "), code, out, c.code, c.want)
		}
	}

	h.Firebreak(t, "isolate", "--reason", "test", "--for", "1h")
	h.Firebreak(t, "stop")
	if err := n.Attacker.Connect(h.IPv4, 22); err == nil {
		t.Error("stopping the service opened an isolated host")
	}
	h.Firebreak(t, "start")
	if !h.Status(t).Isolated {
		t.Error("the restarted agent does not know that the host is isolated")
	}
	if got := h.Firebreak(t, "uninstall", "--purge"); !strings.Contains(got, "nothing of Firebreak is left in the firewall") ||
		!strings.Contains(got, "released: the isolation") || !strings.Contains(got, "service firebreak-restore was removed") {
		t.Errorf("uninstall: got %q", got)
	}
	if err := n.Attacker.Connect(h.IPv4, 22); err != nil {
		t.Errorf("an uninstalled agent still isolates: %v", err)
	}
	if got := h.Run(t, "nft", "list", "ruleset"); got != rules {
		t.Errorf("the ruleset is not as before: got %q; want %q", got, rules)
	}
	for _, path := range []string{"/etc/systemd/system/firebreak.service", "/etc/systemd/system/firebreak-restore.service", "/var/lib/firebreak", "/run/firebreak"} {
		if _, _, code := h.Try("test", "-e", path); code == 0 {
			t.Errorf("%s is left over", path)
		}
	}
	h.Run(t, "test", "-f", "/etc/firebreak/policy.yaml")
}
