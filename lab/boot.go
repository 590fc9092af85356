//go:build linux

package lab

import (
	"fmt"
	"testing"
)

// bringsUp is the unit by which a host brings its network up itself, when it is
// time to, as any computer does.
const bringsUp = `[Unit]
Wants=network-pre.target
After=network-pre.target
Before=network.target
DefaultDependencies=no
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip link set host0 up
ExecStart=-ip addr add %s/24 dev host0
ExecStart=-ip addr add %s/64 dev host0 nodad
[Install]
WantedBy=multi-user.target
`

// BringsUpNetwork lets the host's network be down at its next boots until the
// host itself brings it up. The watch sees each boot's wire from before the first
// process.
func (h *Host) BringsUpNetwork(t testing.TB, w *Watch) {
	t.Helper()
	h.Put(t, "/etc/systemd/system/lab-network.service", 0o644, fmt.Appendf(nil, bringsUp, h.IPv4, h.IPv6))
	h.Run(t, "systemctl", "enable", "lab-network.service")
	h.plugged = func() error {
		w.Wire(t, h)
		return ip("-n " + h.ns.Name + " link set host0 down")
	}
}
