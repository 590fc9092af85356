//go:build linux

package lab_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

const hungPolicy = `version: firebreak/v1
name: lab
mode: enforce
isolation:
  keep: ["10.77.0.2:22 in", "[fd77::2]:22 in"]
  lease: 30s
  max: 2h
  onLeaseEnd: %s
`

// chatters installs the agent on a host that talks to the attacker all the while,
// isolates it, and watches its wire.
func chatters(t *testing.T, h *lab.Host, onLeaseEnd string) (w *lab.Watch, since time.Time) {
	t.Helper()
	t.Cleanup(func() { tellStory(t, h) })
	h.InstallAgent(t, fmt.Sprintf(hungPolicy, onLeaseEnd))
	h.Put(t, "/etc/systemd/system/chatter.service", 0o644, []byte(chatter))
	h.Run(t, "systemctl", "start", "chatter")
	w = lab.NewWatch(t)
	w.Wire(t, h)
	begin := time.Now()
	lab.Eventually(t, 5*time.Second, func() error {
		if len(bootKeep.Forbids(w.Since(begin))) == 0 {
			return fmt.Errorf("%s does not talk: the watch would show nothing", h.Name)
		}
		return nil
	})
	h.Firebreak(t, "isolate", "--reason", "test", "--for", "1h")
	return w, time.Now()
}

// shut fails the test if anything passed that may not.
func shut(t *testing.T, w *lab.Watch, since time.Time, when string) {
	t.Helper()
	packets := w.Since(since)
	if leaks := bootKeep.Forbids(packets); len(leaks) > 0 {
		t.Errorf("%s: %d of %d packets may not pass, the first after %s: %s", when, len(leaks), len(packets), leaks[0].At.Sub(since), leaks[0])
	}
}

// flushes is what an attacker, or another firewall, does to all tables. It says
// which of the agent's are left.
const flushes = `
nft flush ruleset
for family in inet bridge netdev; do nft delete table $family firebreak 2>/dev/null && echo deleted $family; done
nft list tables | grep -c firebreak
true
`

// killAndFlush ends the agent, and has the tables flushed while there is none.
const killAndFlush = `
pid=$(systemctl show -p MainPID --value firebreak)
kill -KILL $pid
while kill -0 $pid 2>/dev/null; do sleep 0.01; done
systemctl is-active --quiet firebreak && echo already back
` + flushes

// TestKilledAgentOwnsItsTables killAndFlush the agent again and again: somebody else's
// flush is skipped all the while, and what systemd keeps for it does not grow.
func TestKilledAgentOwnsItsTables(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	w, since := chatters(t, h, "open")
	for i := range 3 {
		if got := strings.TrimSpace(h.Run(t, "sh", "-c", killAndFlush)); got != "3" {
			t.Errorf("kill %d: the flush said %q; want 3 tables of the agent left", i, got)
		}
		lab.Eventually(t, 15*time.Second, func() error {
			if _, errs, code := h.TryFirebreak("status"); code > 1 {
				return fmt.Errorf("kill %d: %s", i, errs)
			}
			return nil
		})
	}
	if got := h.Run(t, "systemctl", "show", "-p", "NFileDescriptorStore", "--value", "firebreak"); got != "1" {
		t.Errorf("systemd keeps %s sockets; want 1", got)
	}
	if got := strings.TrimSpace(h.Run(t, "sh", "-c", flushes)); got != "3" {
		t.Errorf("restarted: the flush said %q; want 3 tables of the agent left", got)
	}
	if s := h.Status(t); !s.Isolated {
		t.Error("restarted: the agent does not know that the host is isolated")
	}
	h.Firebreak(t, "recheck")
	if err := n.Management.Connect(h.IPv4, 22); err != nil {
		t.Errorf("management: %v", err)
	}
	shut(t, w, since, "killed")
	h.Firebreak(t, "release")
	if err := n.Attacker.Connect(h.IPv4, 22); err != nil {
		t.Errorf("released by the agent that took over: %v", err)
	}
}

// TestHungAgent stops the agent of two isolated hosts. The kernel releases the one
// whose lease is open; the other stays shut until somebody releases it by force.
func TestHungAgent(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	hosts := n.Boot(t, "alpha", "beta")
	open, closed := hosts[0], hosts[1]
	_, _ = chatters(t, open, "open")
	w, since := chatters(t, closed, "closed")
	hang := func(h *lab.Host) { h.Run(t, "systemctl", "kill", "-s", "STOP", "--kill-who=main", "firebreak") }
	hang(closed)
	hung := time.Now() // a renewal may have come right before
	hang(open)

	const lease = 30 * time.Second
	for n.Attacker.Connect(open.IPv4, 22) != nil {
		if time.Since(hung) > lease+5*time.Second {
			t.Fatal("the kernel did not release the host")
		}
		for _, h := range hosts {
			if err := n.Management.Connect(h.IPv4, 22); err != nil {
				t.Errorf("management does not reach %s: %v", h.Name, err)
			}
		}
	}
	took := time.Since(hung)
	t.Logf("released %s after the agent hung", took)
	if took > lease+2*time.Second { // one second of it is the attacker's own patience
		t.Errorf("released after %s; want the lease of %s and 1 s", took, lease)
	}
	if out, _, code := open.TryFirebreak("release", "--force"); code != 0 {
		t.Errorf("release by force of a host that the kernel has released: %s", out)
	}

	time.Sleep(time.Until(hung.Add(lease + 3*time.Second)))
	if err := n.Attacker.Connect(closed.IPv4, 22); err == nil {
		t.Error("the host whose lease is closed was released")
	}
	shut(t, w, since, "hung, closed")
	begin := time.Now()
	said := closed.Firebreak(t, "release", "--force")
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("the release by force took %s", took)
	}
	for _, want := range []string{"does not answer", "killed", "is normal again", "started again"} {
		if !strings.Contains(strings.Join(strings.Fields(said), " "), want) {
			t.Errorf("the release by force does not say %q: %s", want, said)
		}
	}
	for range 3 {
		if err := n.Attacker.Connect(closed.IPv4, 22); err != nil {
			t.Errorf("released by force: %v", err)
		}
		if s := closed.Status(t); s.Isolated {
			t.Error("released by force: the agent that was started again has isolated again")
		}
		time.Sleep(time.Second)
	}
}

// TestUninstallPastAHungAgent releases at once what nobody renews or releases.
func TestUninstallPastAHungAgent(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	w, since := chatters(t, h, "closed")
	h.Run(t, "systemctl", "kill", "-s", "STOP", "--kill-who=main", "firebreak")
	shut(t, w, since, "hung")
	begin := time.Now()
	said := h.Firebreak(t, "uninstall", "--purge")
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("uninstall took %s", took)
	}
	if err := n.Attacker.Connect(h.IPv4, 22); err != nil {
		t.Errorf("uninstalled: %v", err)
	}
	for _, want := range []string{"released: the isolation", "service firebreak was removed", "service firebreak-restore was removed", "login banner"} {
		if !strings.Contains(strings.Join(strings.Fields(said), " "), want) {
			t.Errorf("uninstall does not say %q: %s", want, said)
		}
	}
	if got := h.Run(t, "nft", "list", "ruleset"); got != "" {
		t.Errorf("uninstalled: left over: %s", got)
	}
	if left := h.Run(t, "sh", "-c", "find /etc/systemd /run /var/lib -name '*firebreak*' | grep -v '/run/systemd/transient' || true"); left != "" {
		t.Errorf("uninstalled: left over: %s", left)
	}
	if units := h.Run(t, "systemctl", "list-units", "--all", "--no-legend", "firebreak*"); strings.TrimSpace(units) != "" {
		t.Errorf("uninstalled: systemd still knows %s", units)
	}
}
