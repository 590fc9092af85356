//go:build linux

package lab_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

// TestTwoHosts is the lab's own test: hosts run side by side, are real, and are
// seen from outside.
func TestTwoHosts(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	hosts := n.Boot(t, "alpha", "beta")
	alpha, beta := hosts[0], hosts[1]

	for _, h := range hosts {
		for _, addr := range []netip.Addr{h.IPv4, h.IPv6} {
			if err := n.Attacker.Connect(addr, 22); err != nil {
				t.Errorf("the attacker does not reach sshd of %s: %v", h.Name, err)
			}
			if got := n.Attacker.Nmap(t, addr, 22, 6379); got[22] != "open" || got[6379] != "closed" {
				t.Errorf("nmap sees %v of %s; want 22 open, 6379 closed", got, h.Name)
			}
		}
	}
	if !alpha.Reaches(beta.IPv6, 22) {
		t.Error("alpha does not reach beta")
	}
	if beta.Reaches(n.Management.IPv4, 22) {
		t.Error("beta reaches a port of the management computer where nobody listens")
	}
	if a, b := alpha.Run(t, "readlink", "/proc/self/ns/cgroup"), beta.Run(t, "readlink", "/proc/self/ns/cgroup"); a == b {
		t.Errorf("both hosts are in the cgroup namespace %s", a)
	}
	if a, b := alpha.BootID(t), beta.BootID(t); a == b {
		t.Errorf("both hosts have boot ID %s", a)
	}
	for unit, port := range map[string]uint16{"nginx": 80, "smbd": 445, "redis-server": 6379} {
		beta.Run(t, "sed", "-i", "s/^bind .*/bind 0.0.0.0 ::/; s/^protected-mode .*/protected-mode no/", "/etc/redis/redis.conf")
		beta.Run(t, "systemctl", "start", unit)
		// smbd says that it is up a moment before it listens.
		lab.Eventually(t, 5*time.Second, func() error { return n.Attacker.Connect(beta.IPv4, port) })
		if err := n.Attacker.Connect(alpha.IPv4, port); err == nil {
			t.Errorf("port %d of alpha answers; %s was started on beta only", port, unit)
		}
	}
}

// TestReboot shows that a boot is a new one: its ID, and its network.
func TestReboot(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	before := h.BootID(t)
	h.Run(t, "nft", "add", "table", "inet", "old")
	h.Put(t, "/etc/kept", 0o644, []byte("kept"))
	h.Reboot(t)
	if after := h.BootID(t); after == before {
		t.Errorf("boot ID is %s before and after", after)
	}
	if rules := h.Run(t, "nft", "list", "ruleset"); rules != "" {
		t.Errorf("the firewall outlived the boot: %s", rules)
	}
	if kept := h.Run(t, "cat", "/etc/kept"); kept != "kept" {
		t.Errorf("the disk did not outlive the boot: %q", kept)
	}
	if err := n.Attacker.Connect(h.IPv6, 22); err != nil {
		t.Errorf("after the reboot: %v", err)
	}
}
