//go:build linux

package lab_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

// TestPortIsClosed starts services that policy denies and watches them from
// outside: shut to the attacker at once, then gone, proved, and put back by undo.
func TestPortIsClosed(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	openRedis(t, h)
	h.InstallAgent(t, shutPolicy)
	for _, c := range []struct {
		unit string
		port uint16
	}{
		{"smbd.service", 445},
		{"redis-server.service", 6379},
	} {
		t.Run(c.unit, func(t *testing.T) {
			// Undo must bring back what the first start makes.
			h.Run(t, "systemctl", "enable", c.unit)
			before := strings.Replace(unitState(t, h, c.unit), "ActiveState=inactive", "ActiveState=active", 1)
			h.Run(t, "systemctl", "start", c.unit)
			started := time.Now()
			lab.Eventually(t, 3*time.Second, func() error {
				if state := n.Attacker.Nmap(t, h.IPv4, c.port)[c.port]; state == "open" {
					return fmt.Errorf("nmap sees port %d %s", c.port, state)
				}
				return nil
			})
			t.Logf("not open to the attacker %s after its start", time.Since(started).Round(10*time.Millisecond))
			lab.Eventually(t, 10*time.Second-time.Since(started), func() error {
				if found := listening(t, h, c.port); found != "" {
					return fmt.Errorf("still listening: %s", found)
				}
				return nil
			})
			t.Logf("no longer listening after %s", time.Since(started).Round(10*time.Millisecond))
			th := resolved(t, h, 10*time.Second, c.port)
			closed := h.Run(t, "systemctl", "show", "-p", "ActiveState,UnitFileState,LoadState", c.unit)
			if !strings.Contains(closed, "ActiveState=inactive") || !strings.Contains(closed, "=masked") {
				t.Errorf("got %q; want it stopped and masked", closed)
			}
			if links := unitState(t, h, c.unit); strings.Contains(links, ".wants/"+c.unit) {
				t.Errorf("still enabled: %s", links)
			}
			proved(t, th)

			h.Firebreak(t, "undo", th.ID)
			if after := unitState(t, h, c.unit); after != before {
				t.Errorf("undo brought back:\n%s\nwant:\n%s", after, before)
			}
			if got := n.Attacker.Nmap(t, h.IPv6, c.port)[c.port]; got != "open" {
				t.Errorf("after undo nmap sees port %d %s; want open", c.port, got)
			}
			time.Sleep(3 * time.Second)
			if err := n.Attacker.Connect(h.IPv4, c.port); err != nil {
				t.Errorf("the undo was undone within 3 s: %v", err)
			}
		})
	}
}

// proved checks that a resolved threat says what was done, and by what two looks
// it was proved.
func proved(t *testing.T, th lab.Threat) {
	t.Helper()
	kinds := map[string]string{}
	for _, a := range th.Actions {
		kinds[a.Name] = a.Kind + " " + a.Result
	}
	if kinds["block-port"] != "mitigation lifted" || kinds["close-port"] != "remediation done" {
		t.Errorf("%s: actions are %v; want block-port, a mitigation, lifted, and close-port, a remediation, done", th.ID, kinds)
	}
	looks := map[string]bool{}
	for _, p := range th.Proofs {
		looks[p.How] = looks[p.How] || p.Verdict == "cleared"
	}
	if !looks["snapshot"] || !looks["probe"] {
		t.Errorf("%s: proofs are %+v; want a snapshot and a probe that say cleared", th.ID, th.Proofs)
	}
	if len(th.Evidence) == 0 {
		t.Errorf("%s: no evidence was kept", th.ID)
	}
	if len(th.InForce) > 0 {
		t.Errorf("%s: resolved, and yet %v is in force", th.ID, th.InForce)
	}
}

// TestBlockFallsAway shows that a mitigation belongs to its threat: a port that
// is only to be blocked is shut from outside while its service runs, and the
// firewall is empty again once the service is gone.
func TestBlockFallsAway(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	h.InstallAgent(t, shutPolicy)
	h.Run(t, "systemctl", "start", "nginx")
	defer func() {
		if t.Failed() {
			t.Log(h.Run(t, "sh", "-c", "ss -Hltnp; firebreak status; firebreak history; journalctl -q --no-pager -n 20 -u firebreak -u nginx"))
		}
	}()
	th := h.WaitThreat(t, 5*time.Second, "port 80, mitigated", func(th lab.Threat) bool {
		return th.IsPort(80) && th.Stage == "mitigated"
	})
	if got := n.Attacker.Nmap(t, h.IPv4, 80)[80]; got == "open" {
		t.Errorf("blocked, and nmap sees port 80 %s", got)
	}
	if err := n.Attacker.Connect(h.IPv6, 80); err == nil {
		t.Error("blocked, and the attacker connects over IPv6")
	}
	if state := h.Run(t, "systemctl", "is-active", "nginx"); state != "active" {
		t.Errorf("nginx is %s; a plan that only blocks leaves it alone", state)
	}
	h.Run(t, "systemctl", "stop", "nginx")
	if gone := resolved(t, h, 15*time.Second, 80); gone.ID != th.ID {
		t.Errorf("the threat changed its ID from %s to %s: %s", th.ID, gone.ID, h.Firebreak(t, "threats", "--all", "--json"))
	}
	lab.Eventually(t, 5*time.Second, func() error {
		if rules := h.Run(t, "nft", "list", "ruleset"); rules != "" {
			return fmt.Errorf("no threat is open, and there are rules: %s", rules)
		}
		return nil
	})
}
