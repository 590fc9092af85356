//go:build linux

package lab_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-sec/firebreak/lab"
)

// ownedUnit is one way in which a unit can own a port.
type ownedUnit struct {
	name  string
	port  uint16
	user  bool              // of lena's own service manager
	files map[string]string // by name, below the folder of units
	start []string          // arguments of systemctl, one call each
	run   []string          // or a command line that starts it
	units []string          // what must come back as it was
}

const (
	unitFolder     = "/etc/systemd/system/"
	userUnitFolder = "/home/lena/.config/systemd/user/"
)

func ownedUnits() []ownedUnit {
	serves := func(port int) string {
		return fmt.Sprintf("[Service]\nExecStart=/usr/local/bin/serve %d\n", port)
	}
	const each = "[Service]\nExecStart=/usr/bin/cat\nStandardInput=socket\n"
	const boot, session = "[Install]\nWantedBy=multi-user.target\n", "[Install]\nWantedBy=default.target\n"
	return []ownedUnit{
		{
			name: "service that restarts", port: 7001, units: []string{"own-restart.service"},
			files: map[string]string{"own-restart.service": serves(7001) + "Restart=always\nRestartSec=50ms\n" + boot},
			start: []string{"enable --now own-restart.service"},
		},
		{
			name: "socket unit", port: 7002, units: []string{"own-socket.socket"},
			files: map[string]string{
				"own-socket.socket":   "[Socket]\nListenStream=7002\nAccept=yes\n[Install]\nWantedBy=sockets.target\n",
				"own-socket@.service": each,
			},
			start: []string{"enable --now own-socket.socket"},
		},
		{
			name: "timer", port: 7003, units: []string{"own-timer.timer", "own-timer.service"},
			files: map[string]string{
				"own-timer.timer":   "[Timer]\nOnActiveSec=0\nOnUnitInactiveSec=1s\nAccuracySec=50ms\n[Install]\nWantedBy=timers.target\n",
				"own-timer.service": serves(7003),
			},
			start: []string{"enable --now own-timer.timer"},
		},
		{
			name: "path unit", port: 7004, units: []string{"own-path.path", "own-path.service"},
			files: map[string]string{
				"own-path.path":    "[Path]\nPathExists=/etc/passwd\n" + boot,
				"own-path.service": serves(7004),
			},
			start: []string{"enable --now own-path.path"},
		},
		{
			name: "instance of a template", port: 7005, units: []string{"own-template@7005.service"},
			files: map[string]string{"own-template@.service": "[Service]\nExecStart=/usr/local/bin/serve %i\n" + boot},
			start: []string{"enable --now own-template@7005.service"},
		},
		{
			name: "service of a user", port: 7006, user: true, units: []string{"own-user.service"},
			files: map[string]string{"own-user.service": serves(7006) + "Restart=always\nRestartSec=50ms\n" + session},
			start: []string{"enable --now own-user.service"},
		},
		{
			name: "socket unit of a user", port: 7007, user: true, units: []string{"own-usersocket.socket"},
			files: map[string]string{
				"own-usersocket.socket":   "[Socket]\nListenStream=7007\nAccept=yes\n[Install]\nWantedBy=sockets.target\n",
				"own-usersocket@.service": each,
			},
			start: []string{"enable --now own-usersocket.socket"},
		},
		{
			name: "timer of a user", port: 7008, user: true, units: []string{"own-usertimer.timer", "own-usertimer.service"},
			files: map[string]string{
				"own-usertimer.timer":   "[Timer]\nOnActiveSec=0\nOnUnitInactiveSec=1s\nAccuracySec=50ms\n" + session,
				"own-usertimer.service": serves(7008),
			},
			start: []string{"enable --now own-usertimer.timer"},
		},
		{
			name: "transient service of a user", port: 7009, user: true, units: []string{"own-userrun.service"},
			run: []string{"systemd-run", "--user", "--quiet", "--unit=own-userrun", "--property=Restart=always", "/usr/local/bin/serve", "7009"},
		},
		{
			name: "service that refuses to stop", port: 7010, units: []string{"own-stubborn.service"},
			files: map[string]string{"own-stubborn.service": serves(7010) + "Environment=STUBBORN=1\nTimeoutStopSec=2\nExecStop=/usr/bin/touch /run/asked\n" + boot},
			start: []string{"enable --now own-stubborn.service"},
		},
		{
			name: "service that opens another port when it stops", port: 7011, units: []string{"own-twice.service"},
			files: map[string]string{"own-twice.service": serves(7011) +
				"ExecStopPost=/usr/bin/systemd-run --quiet --unit=twice /usr/local/bin/serve 7012\n" + boot},
			start: []string{"enable --now own-twice.service"},
		},
	}
}

// serve is a server for tests, "serve PORT ...": it takes connections and closes
// them. Asked to end, it does not with STUBBORN set, and with REEXEC set it leaves
// a copy of itself behind.
const serve = `#!/usr/bin/perl
use strict; use IO::Socket::INET; use IO::Select;
my @ports = @ARGV;
$SIG{TERM} = "IGNORE" if $ENV{STUBBORN};
$SIG{TERM} = sub { exit 0 if fork; setpgrp; exec $0, @ports } if $ENV{REEXEC};
my $all = IO::Select->new(map {
	IO::Socket::INET->new(LocalPort => $_, Listen => 64, ReuseAddr => 1, ReusePort => 1) or die "$_: $!"
} @ports);
while (1) { close($_->accept) for $all->can_read }
`

const ownerPolicy = `version: firebreak/v1
name: lab
revision: 1
mode: enforce
ports:
  allow:
    - {port: [22, "8000-8099"], protocol: tcp}
  deny:
    - {port: 7016, protocol: tcp, severity: critical, plan: anyway}
    - {port: 7017, protocol: tcp, severity: critical, plan: shut, namespaces: all}
    - {port: "7001-7099", protocol: tcp, severity: critical, plan: shut}
plans:
  shut: {mitigate: [block-port], remediate: [close-port], evidence: true}
  anyway: {remediate: [close-port], shared: stop}
limits: {disruptivePerHour: 100}
`

// asLena runs a program as lena, who stays logged in by lingering.
func asLena(t *testing.T, h *lab.Host, args ...string) string {
	t.Helper()
	return h.Run(t, append([]string{"runuser", "-u", "lena", "--", "env", "HOME=/home/lena", "XDG_RUNTIME_DIR=/run/user/1000"}, args...)...)
}

func (o ownedUnit) systemctl(t *testing.T, h *lab.Host, args ...string) string {
	t.Helper()
	if o.user {
		return asLena(t, h, append([]string{"systemctl", "--user"}, args...)...)
	}
	return h.Run(t, append([]string{"systemctl"}, args...)...)
}

func (o ownedUnit) begin(t *testing.T, h *lab.Host) {
	t.Helper()
	folder := unitFolder
	if o.user {
		folder = userUnitFolder
	}
	for name, text := range o.files {
		h.Put(t, folder+name, 0o644, []byte(text))
	}
	if o.user {
		h.Run(t, "chown", "-R", "lena:", "/home/lena")
	}
	o.systemctl(t, h, "daemon-reload")
	for _, line := range o.start {
		o.systemctl(t, h, strings.Fields(line)...)
	}
	if o.run != nil {
		asLena(t, h, o.run...)
	}
}

// state is what undo must bring back: what the service manager says, and every
// file and link that it goes by.
func (o ownedUnit) state(t *testing.T, h *lab.Host) string {
	t.Helper()
	show := o.systemctl(t, h, append([]string{"show", "-p", "Id,ActiveState,UnitFileState,LoadState,FragmentPath,DropInPaths"}, o.units...)...)
	places := "/etc/systemd /run/systemd/system /run/systemd/system.control /run/systemd/transient"
	if o.user {
		places = "/home/lena /run/user/1000/systemd/user /run/user/1000/systemd/user.control /run/user/1000/systemd/transient"
	}
	return show + "\n" + h.Run(t, "sh", "-c",
		"{ find "+places+" -name 'own-*' -printf '%p %M %u %l\\n' -o -path '*/systemd/*' -type d -printf '%p\\n'; "+
			"find "+places+" -type f -name 'own-*' -exec sha256sum {} +; } 2>/dev/null | sort")
}

// inNetworkNamespace opens ports in a namespace that is made while the agent runs:
// one that a rule denies there as well, and one of which the rule is about the host.
func inNetworkNamespace(t *testing.T, h *lab.Host) {
	t.Helper()
	h.Run(t, "ip", "netns", "add", "blue")
	for _, port := range []string{"7017", "7018"} {
		h.Run(t, "systemd-run", "--quiet", "--unit=blue"+port, "-p", "NetworkNamespacePath=/run/netns/blue", "/usr/local/bin/serve", port)
	}
	th := resolved(t, h, 30*time.Second, 7017)
	h.WaitThreat(t, 20*time.Second, "port 7018 in the namespace, reported", func(th lab.Threat) bool {
		return th.IsPort(7018) && th.Stage == "identified" && th.Subject.Port.NetNS == "blue"
	})
	if found := h.Run(t, "ip", "netns", "exec", "blue", "ss", "-Hltn"); strings.Contains(found, ":7017") || !strings.Contains(found, ":7018") {
		t.Errorf("in the namespace there listens %s; want 7018 alone", found)
	}
	h.Firebreak(t, "undo", th.ID)
	lab.Eventually(t, 5*time.Second, func() error {
		if found := h.Run(t, "ip", "netns", "exec", "blue", "ss", "-Hltn"); !strings.Contains(found, ":7017") {
			return fmt.Errorf("undone, and in the namespace there listens %s", found)
		}
		return nil
	})
	h.Run(t, "systemctl", "stop", "blue7017", "blue7018")
	h.Run(t, "ip", "netns", "del", "blue")
}

// stayClosed watches ports that are said to be closed, from the host and from
// outside, for the minute that a supervisor may take to start its program again.
func stayClosed(t *testing.T, n *lab.Network, h *lab.Host, ports ...uint16) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Second) {
		if found := listening(t, h, ports...); found != "" {
			t.Errorf("said to be closed, and listens: %s", found)
			return
		}
		for _, port := range ports {
			if n.Attacker.Connect(h.IPv4, port) == nil {
				t.Errorf("port %d: said to be closed, and the attacker connects", port)
				return
			}
		}
	}
}

// TestOwnerUnits closes ports where a service manager, the system's or a user's,
// keeps them open, and puts everything back.
func TestOwnerUnits(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.Boot(t, "alpha")[0]
	h.Run(t, "loginctl", "enable-linger", "lena")
	lab.Eventually(t, 20*time.Second, func() error {
		if _, errs, code := h.Try("test", "-S", "/run/user/1000/systemd/private"); code != 0 {
			return fmt.Errorf("lena's service manager does not run: %s", errs)
		}
		return nil
	})
	h.Put(t, "/usr/local/bin/serve", 0o755, []byte(serve))
	owners := ownedUnits()
	before := map[string]string{}
	for _, o := range owners {
		o.begin(t, h)
	}
	for _, o := range owners {
		lab.Eventually(t, 10*time.Second, func() error { return n.Attacker.Connect(h.IPv4, o.port) })
		before[o.name] = o.state(t, h)
	}
	// One of its two ports is allowed: it is not stopped for the other.
	h.Put(t, unitFolder+"shared.service", 0o644, []byte("[Service]\nExecStart=/usr/local/bin/serve 7013 8013\n"))
	h.Run(t, "systemctl", "start", "shared.service")
	h.Put(t, unitFolder+"anyway.service", 0o644, []byte("[Service]\nExecStart=/usr/local/bin/serve 7016 8016\n"))
	h.Run(t, "systemctl", "start", "anyway.service")
	h.SSH(t, "lena", "exec /usr/local/bin/serve 7014")
	h.SSH(t, "lena", "REEXEC=1 exec /usr/local/bin/serve 7015")
	for _, port := range []uint16{7013, 7014, 7015, 7016, 8016} {
		lab.Eventually(t, 20*time.Second, func() error { return n.Attacker.Connect(h.IPv4, port) })
	}
	h.InstallAgent(t, ownerPolicy)
	defer func() {
		if t.Failed() {
			t.Log(h.Run(t, "sh", "-c", "ss -Hltnp; loginctl --no-legend list-sessions; journalctl -q --no-pager -n 30 -u ssh"))
		}
	}()
	for _, o := range owners {
		th := resolved(t, h, 60*time.Second, o.port)
		proved(t, th)
	}
	inNetworkNamespace(t, h)
	for _, port := range []uint16{7012, 7014, 7015, 7016} { // opened by stopping; plain processes; a plan that says so
		resolved(t, h, 30*time.Second, port)
	}
	h.WaitThreat(t, 10*time.Second, "port 7013, mitigated, waiting for a person", func(th lab.Threat) bool {
		return th.IsPort(7013) && th.Stage == "waiting" && slices.Equal(th.InForce, []string{"block-port"})
	})
	if err := n.Attacker.Connect(h.IPv4, 7013); err == nil {
		t.Error("the port of a shared owner is said to be blocked, and the attacker connects")
	}
	if err := n.Attacker.Connect(h.IPv4, 8013); err != nil {
		t.Errorf("the other port of a shared owner: %v", err)
	}
	closed := []uint16{7012, 7014, 7015, 7016, 8016}
	for _, o := range owners {
		closed = append(closed, o.port)
	}
	stayClosed(t, n, h, closed...)
	h.Run(t, "test", "-e", "/run/asked") // stopped as its own file says
	h.Reboot(t)
	time.Sleep(3 * time.Second)
	for _, o := range owners {
		if found := listening(t, h, o.port); found != "" {
			t.Errorf("%s: open again after a reboot: %s", o.name, found)
		}
	}
	h.WaitForAgent(t)
	h.Reaches(n.Attacker.IPv4, 9) // whose table of neighbours has the address of the old cable
	for _, o := range owners {
		th := resolved(t, h, 20*time.Second, o.port)
		if out, errs, code := h.TryFirebreak("undo", th.ID); code != 0 {
			t.Errorf("%s: undo: exit code %d: %s%s", o.name, code, out, errs)
			continue
		}
		lab.Eventually(t, 10*time.Second, func() error {
			if err := n.Attacker.Connect(h.IPv4, o.port); err != nil {
				return fmt.Errorf("%s: undone, and: %w: %s", o.name, err, o.state(t, h))
			}
			return nil
		})
	}
	h.Firebreak(t, "undo", resolved(t, h, 0, 7016).ID)
	for _, o := range owners {
		if after := o.state(t, h); after != before[o.name] {
			t.Errorf("%s: undo brought back what is not as it was (-want +got):\n%s", o.name, cmp.Diff(before[o.name], after))
		}
	}
}
