//go:build linux

package lab_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

const bootPolicy = `version: firebreak/v1
name: lab
mode: enforce
isolation:
  keep: ["10.77.0.2:22 in", "[fd77::2]:22 in"]
  lease: 5m
  max: 2h
`

// bootKeep is the same for the judge.
var bootKeep = lab.Keep{Peers: []lab.Peer{
	{Network: netip.MustParsePrefix("10.77.0.2/32"), Port: 22, Inbound: true},
	{Network: netip.MustParsePrefix("fd77::2/128"), Port: 22, Inbound: true},
}}

// chatter sends to the attacker from the instant that the network is up on.
const chatter = `[Unit]
After=lab-network.service
DefaultDependencies=no
[Service]
ExecStart=bash -c 'while :; do echo chatter >/dev/udp/10.77.0.66/999; echo chatter >/dev/udp/fd77::66/999; done 2>/dev/null'
[Install]
WantedBy=multi-user.target
`

// TestBootIsolated reboots an isolated host that brings up its network itself and
// talks at once, and looks at its wire from before the first process on. Released,
// the same host talks, and nothing of the isolation is left.
func TestBootIsolated(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	h.InstallAgent(t, bootPolicy)
	for _, unit := range []string{"firebreak", "firebreak-restore"} {
		if out, errs, code := h.Try("systemd-analyze", "verify", "/etc/systemd/system/"+unit+".service"); code != 0 {
			t.Errorf("systemd finds fault with %s: %s%s", unit, out, errs)
		}
	}
	t.Cleanup(func() { tellStory(t, h) })
	w := lab.NewWatch(t)
	h.BringsUpNetwork(t, w)
	h.Put(t, "/etc/systemd/system/chatter.service", 0o644, []byte(chatter))
	h.Run(t, "systemctl", "enable", "--now", "chatter")
	h.Firebreak(t, "isolate", "--reason", "test", "--for", "1h")

	w.Wire(t, h)
	begin := time.Now()
	stop := keepKnocking(n, h)
	h.Reboot(t)
	if err := n.Management.Connect(h.IPv4, 22); err != nil {
		t.Errorf("rebooted: management does not reach the host: %v", err)
	}
	if err := n.Attacker.Connect(h.IPv4, 22); err == nil {
		t.Error("rebooted: the attacker reaches the host")
	}
	stop()
	packets := w.Since(begin)
	if leaks := bootKeep.Forbids(packets); len(leaks) > 0 {
		t.Errorf("rebooted: %d of %d packets may not pass, the first after %s: %s", len(leaks), len(packets), leaks[0].At.Sub(begin), leaks[0])
	}
	said := h.Run(t, "journalctl", "-b", "--no-pager", "-o", "cat", "-u", "firebreak-restore")
	if !strings.Contains(said, "isolated as before") {
		t.Errorf("restore said %q", said)
	}
	times := h.Run(t, "systemctl", "show", "firebreak-restore", "-p", "ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic", "--value")
	var started, ended int64
	if _, err := fmt.Sscan(times, &started, &ended); err != nil || ended <= started {
		t.Errorf("restore took from %q: %v", times, err)
	}
	t.Logf("restore took %s; %d packets were allowed", time.Duration(ended-started)*time.Microsecond, len(packets))
	lab.Eventually(t, 10*time.Second, func() error {
		if s := h.Status(t); !s.Isolated || s.State != "isolated" {
			return fmt.Errorf("rebooted: status says %q, isolated %v", s.State, s.Isolated)
		}
		return nil
	})

	h.Firebreak(t, "release")
	h.Reboot(t)
	begin = time.Now()
	lab.Eventually(t, 5*time.Second, func() error {
		for _, p := range w.Since(begin) {
			if p.Holds([]byte("chatter")) {
				return nil
			}
		}
		return fmt.Errorf("released: the host does not talk; the first part shows nothing")
	})
	if rules := h.Run(t, "nft", "list", "ruleset"); strings.Contains(rules, "firebreak") {
		t.Errorf("released and rebooted: something is left: %s", rules)
	}
	said = h.Run(t, "journalctl", "-b", "--no-pager", "-o", "cat", "-u", "firebreak-restore")
	if !strings.Contains(said, "Nothing was in force") {
		t.Errorf("released and rebooted: restore said %q", said)
	}
}

// keepKnocking has the attacker try to connect all the while.
func keepKnocking(n *lab.Network, h *lab.Host) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			_ = n.Attacker.Connect(h.IPv4, 22)
			select {
			case <-end:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() { close(end); <-ended }
}

// tellStory logs what the agent wrote down, if the test failed.
func tellStory(t *testing.T, h *lab.Host) {
	t.Helper()
	if t.Failed() {
		out, errs, _ := h.TryFirebreak("history")
		t.Logf("history: %s%s", out, errs)
	}
}
