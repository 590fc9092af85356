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

// shutPolicy closes SMB and Redis, and only blocks the web.
const shutPolicy = `version: firebreak/v1
name: lab
revision: 1
mode: enforce
ports:
  allow:
    - {port: 22, protocol: tcp}
  deny:
    - {port: [445, 6379, "7001-7009"], protocol: tcp, severity: critical, plan: shut}
    - {port: 80, protocol: tcp, severity: high, plan: block}
plans:
  shut:  {mitigate: [block-port], remediate: [close-port], evidence: true}
  block: {mitigate: [block-port]}
limits: {disruptivePerHour: 50}
`

// openRedis lets Redis, which as Debian sets it up answers nobody else, answer
// everybody.
func openRedis(t *testing.T, h *lab.Host) {
	t.Helper()
	h.Run(t, "sed", "-i", "s/^bind .*/bind 0.0.0.0 ::/; s/^protected-mode .*/protected-mode no/", "/etc/redis/redis.conf")
}

// unitState is what an undo must bring back: the state of units, and every link
// that enables, aliases or masks one.
func unitState(t *testing.T, h *lab.Host, units ...string) string {
	t.Helper()
	show := h.Run(t, append([]string{"systemctl", "show", "-p", "Id,ActiveState,UnitFileState"}, units...)...)
	links := strings.Split(h.Run(t, "find", "/etc/systemd/system", "/run/systemd/system", "-type", "l", "-printf", "%p -> %l\n"), "\n")
	slices.Sort(links)
	return show + "\n" + strings.Join(links, "\n")
}

// listening returns the lines of ss about TCP listeners on these ports.
func listening(t *testing.T, h *lab.Host, ports ...uint16) string {
	t.Helper()
	var terms []string
	for _, p := range ports {
		terms = append(terms, fmt.Sprintf("sport = :%d", p))
	}
	return h.Run(t, "ss", "-Hltn", strings.Join(terms, " or "))
}

// resolved waits until the threat of a port is proved gone.
func resolved(t *testing.T, h *lab.Host, within time.Duration, port uint16) lab.Threat {
	t.Helper()
	return h.WaitThreat(t, within, fmt.Sprintf("port %d, resolved and cleared", port), func(th lab.Threat) bool {
		return th.IsPort(port) && th.Stage == "resolved" && th.Verdict == "cleared"
	})
}
