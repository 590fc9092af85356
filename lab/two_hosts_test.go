//go:build linux

package lab_test

import (
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

// TestNeighbour runs an agent beside a second host on the same kernel, which has
// what policy forbids: its agent sees only its own host, and touches only that.
func TestNeighbour(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	hosts := n.Boot(t, "alpha", "beta")
	alpha, beta := hosts[0], hosts[1]
	openRedis(t, alpha)
	openRedis(t, beta)
	alpha.InstallAgent(t, shutPolicy)
	beta.Run(t, "systemctl", "start", "redis-server")

	alpha.Firebreak(t, "recheck")
	for _, th := range alpha.Threats(t) {
		if th.IsPort(6379) {
			t.Errorf("the agent of alpha sees a port of beta: %+v", th)
		}
	}
	alpha.Run(t, "systemctl", "start", "redis-server")
	resolved(t, alpha, 15*time.Second, 6379)
	if err := n.Attacker.Connect(beta.IPv4, 6379); err != nil {
		t.Errorf("the agent of alpha shut a port of beta: %v", err)
	}
	if state := beta.Run(t, "systemctl", "is-active", "redis-server"); state != "active" {
		t.Errorf("redis-server of beta is %s; want active", state)
	}
	if rules := beta.Run(t, "nft", "list", "ruleset"); rules != "" {
		t.Errorf("beta has rules, and no agent: %s", rules)
	}
	if out, _, code := beta.Try("pidof", "firebreak"); code == 0 {
		t.Errorf("beta runs the agent, as process %s", strings.TrimSpace(out))
	}
}
