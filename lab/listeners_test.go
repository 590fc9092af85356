//go:build linux

package lab_test

import (
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

// TestListenersStayClosed opens ports in the four ways ports are opened, and
// looks again after a minute: a process that is killed comes back, an owner that
// is closed does not.
func TestListenersStayClosed(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	unit := func(name, text string) {
		h.Put(t, "/etc/systemd/system/"+name, 0o644, []byte(text))
	}
	unit("activated.socket", "[Socket]\nListenStream=7003\n[Install]\nWantedBy=sockets.target\n")
	unit("activated.service", "[Service]\nExecStart=/lib/systemd/systemd-socket-proxyd 127.0.0.1:22\n")
	unit("stubborn.service", "[Service]\nExecStart=/bin/nc -lkd 0.0.0.0 7004\nRestart=always\nRestartSec=100ms\n[Install]\nWantedBy=multi-user.target\n")
	h.Run(t, "systemctl", "daemon-reload")
	h.InstallAgent(t, shutPolicy)

	h.SSH(t, "lena", "nc -lkd 0.0.0.0 7001")
	h.SSH(t, "lena", "nc -6 -lkd :: 7002")
	h.Run(t, "systemctl", "enable", "--now", "activated.socket", "stubborn.service")

	ports := []uint16{7001, 7002, 7003, 7004}
	for _, port := range ports {
		proved(t, resolved(t, h, 30*time.Second, port))
	}
	if found := listening(t, h, ports...); found != "" {
		t.Errorf("resolved, and still listening: %s", found)
	}
	// Somebody knocks, as somebody would: it must not wake the socket's service.
	for _, port := range ports {
		if err := n.Attacker.Connect(h.IPv4, port); err == nil {
			t.Errorf("port %d answers the attacker", port)
		}
	}
	time.Sleep(time.Minute)
	if found := listening(t, h, ports...); found != "" {
		t.Errorf("back after a minute: %s", found)
	}
	for _, port := range ports {
		if th := resolved(t, h, 0, port); th.Recurrences != 0 {
			t.Errorf("port %d came back %d times", port, th.Recurrences)
		}
	}
	if states := h.Run(t, "systemctl", "show", "-p", "UnitFileState", "--value", "activated.socket", "stubborn.service"); strings.Contains(states, "enabled") {
		t.Errorf("unit files are %q; want none enabled", states)
	}
}
