package agent

import (
	"strings"
	"testing"

	"github.com/firebreak-sec/firebreak/platform"
	"github.com/firebreak-sec/firebreak/platform/platformtest"
)

func TestOwnerLines(t *testing.T) {
	m := platformtest.New()
	m.AddService("cockpit.service", "/usr/libexec/cockpit-ws", platformtest.Listen(platform.TCP, "0.0.0.0:9090"))
	l := m.Snapshot().Listeners[0]
	l.Reach, l.Through, l.Forward = platform.ReachLAN, `rule "tcp dport 9090 accept" of table inet filter`, "10.88.0.2:80"
	port := platform.PortSubject{
		PID: l.Owner.PID, Unit: l.Owner.Unit, Package: "cockpit-ws 287", Sockets: []platform.Listener{l, l},
	}
	got := strings.Join(OwnerLines(t.Context(), m.Host(), port), "\n")
	want := `held by cockpit-ws (process 1003, user root), started by systemd (process 1, user root)
unit cockpit.service
package cockpit-ws 287
0.0.0.0: the networks that this computer is on can reach it, through rule "tcp dport 9090 accept" of table inet filter, passed on to 10.88.0.2:80`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	port.Sockets[0].Owner.Start++
	port.Sockets[1].Owner.Start++
	if lines := OwnerLines(t.Context(), m.Host(), port); strings.Contains(lines[0], "held by") {
		t.Errorf("of a process that has its pid from another: %q", lines[0])
	}
}
