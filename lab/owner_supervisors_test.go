//go:build linux

package lab_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

// supervised is one way in which something else than a service manager can keep
// a port open.
type supervised struct {
	name  string
	port  uint16
	files map[string]string
	start string // a shell's command line
	// session is what lena runs in a session of hers.
	session string
	state   string // one that prints what undo must bring back
	// atBoot says that after undo it is open again at the next boot alone.
	atBoot bool
	// final says that it is ended, and cannot be undone.
	final bool
}

func supervisedPrograms() []supervised {
	xinetdService := func(name string, port int) string {
		return fmt.Sprintf("service %s\n{\n\ttype = UNLISTED\n\tport = %d\n\tdisable = no\n\tsocket_type = stream\n\tprotocol = tcp\n\twait = no\n\tuser = root\n\tserver = /bin/cat\n}\n", name, port)
	}
	return []supervised{
		{
			name: "program of supervisord", port: 7021,
			files: map[string]string{"/etc/supervisor/conf.d/own.conf": "[program:own]\ncommand=/usr/local/bin/serve 7021\nautostart=true\n\n[program:other]\ncommand=/usr/local/bin/serve 8021\n"},
			start: "systemctl enable --now supervisor",
			state: "supervisorctl status | sed 's/ pid .*//'; sha256sum /etc/supervisor/conf.d/*; stat -c '%n %a %U %G' /etc/supervisor/conf.d/*",
		},
		{
			name: "service of runit", port: 7022,
			files: map[string]string{"/etc/sv/own/run!": "#!/bin/sh\nexec /usr/local/bin/serve 7022\n"},
			start: "ln -s /etc/sv/own /etc/service/own; systemctl enable --now runit",
			state: "sv status own | sed 's/(pid .*//'; find /etc/sv/own -not -path '*/supervise*' -printf '%p %M %u %g\\n' | sort; sha256sum /etc/sv/own/run",
		},
		{
			name: "service of xinetd", port: 7023,
			files: map[string]string{"/etc/xinetd.d/own": xinetdService("own", 7023) + xinetdService("neighbour", 8023)},
			start: "systemctl enable xinetd; systemctl restart xinetd",
			state: "sha256sum /etc/xinetd.d/*; stat -c '%n %a %U %G' /etc/xinetd.d/*",
		},
		{
			name: "cron job that looks whether it runs", port: 7024,
			files: map[string]string{"/etc/cron.d/own": "@reboot root /usr/local/bin/serve 7024\n" +
				"* * * * * root pgrep -fx '.*perl /usr/local/bin/serve 7024' >/dev/null || /usr/local/bin/serve 7024 >/dev/null 2>&1\n"},
			state: "sha256sum /etc/cron.d/*; stat -c '%n %a %U %G' /etc/cron.d/*",
		},
		{
			name: "cron job at boot", port: 7025, atBoot: true,
			files: map[string]string{"/tmp/crontab": "# lena's\n@reboot /usr/local/bin/serve 7025\n@reboot /usr/local/bin/serve 8025\n"},
			start: "crontab -u lena /tmp/crontab; rm /tmp/crontab; systemctl enable --now cron",
			state: "cd /var/spool/cron/crontabs && sha256sum * && stat -c '%n %a %U %G' *",
		},
		{
			name: "script that starts it again", port: 7026, final: true,
			files:   map[string]string{"/usr/local/bin/again!": "#!/bin/sh\nwhile true; do nc -l 7026; done\n"},
			session: "/usr/local/bin/again",
		},
	}
}

// runitUnit starts runit's services, as Debian's package runit-run would.
const runitUnit = "[Service]\nExecStart=/usr/bin/runsvdir -P /etc/service\nKillMode=control-group\n[Install]\nWantedBy=multi-user.target\n"

func (s supervised) begin(t *testing.T, h *lab.Host) {
	t.Helper()
	for path, text := range s.files {
		mode := os.FileMode(0o644)
		if bare, ok := strings.CutSuffix(path, "!"); ok {
			path, mode = bare, 0o755
		}
		h.Put(t, path, mode, []byte(text))
	}
	if s.session != "" {
		h.SSH(t, "lena", s.session)
		return
	}
	h.Run(t, "sh", "-c", s.start)
}

// TestOwnerSupervisors closes ports where supervisors beside the service manager
// keep them open, and puts everything back.
func TestOwnerSupervisors(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.BootWith(t, "alpha", "supervisor", "runit", "xinetd", "cron")
	h.Put(t, "/usr/local/bin/serve", 0o755, []byte(serve))
	h.Put(t, "/etc/systemd/system/runit.service", 0o644, []byte(runitUnit))
	owners := supervisedPrograms()
	before := map[string]string{}
	for _, o := range owners {
		o.begin(t, h)
	}
	state := func(o supervised) string { return h.Run(t, "sh", "-c", o.state) }
	for _, o := range owners {
		lab.Eventually(t, 20*time.Second, func() error { return n.Attacker.Connect(h.IPv4, o.port) })
	}
	for _, o := range owners {
		lab.Eventually(t, 10*time.Second, func() error {
			if before[o.name] = state(o); strings.Contains(before[o.name], "STARTING") {
				return fmt.Errorf("%s: still starting", o.name)
			}
			return nil
		})
	}
	defer func() {
		if t.Failed() {
			t.Log(h.Run(t, "sh", "-c", "firebreak history; ss -ltnpe; ps -ef --forest"))
		}
	}()
	h.InstallAgent(t, ownerPolicy)
	shut := func(o supervised, when string) {
		t.Helper()
		if found := listening(t, h, o.port); found != "" {
			t.Errorf("%s: %s it listens: %s", o.name, when, found)
		}
		if err := n.Attacker.Connect(h.IPv4, o.port); err == nil {
			t.Errorf("%s: %s the attacker connects", o.name, when)
		}
	}
	var closed []uint16
	for _, o := range owners {
		proved(t, resolved(t, h, 60*time.Second, o.port))
		closed = append(closed, o.port)
	}
	stayClosed(t, n, h, closed...)
	for _, port := range []uint16{8021, 8023} {
		if err := n.Attacker.Connect(h.IPv4, port); err != nil {
			t.Errorf("port %d of a neighbour closed too: %v", port, err)
		}
	}
	h.Reboot(t)
	h.WaitForAgent(t)
	h.Reaches(n.Attacker.IPv4, 9) // whose table of neighbours has the address of the old cable
	lab.Eventually(t, 20*time.Second, func() error { return n.Attacker.Connect(h.IPv4, 8025) })
	time.Sleep(3 * time.Second)
	for _, o := range owners {
		shut(o, "after a reboot")
	}
	for _, o := range owners {
		o.undone(t, n, h, before[o.name])
	}
}

func (s supervised) undone(t *testing.T, n *lab.Network, h *lab.Host, before string) {
	t.Helper()
	th := resolved(t, h, 20*time.Second, s.port)
	out, errs, code := h.TryFirebreak("undo", th.ID)
	if s.final {
		if !strings.Contains(out+errs, "start it by hand") {
			t.Errorf("%s: undo: exit code %d, %q; want it to say that it cannot", s.name, code, out+errs)
		}
		return
	}
	if code != 0 {
		t.Errorf("%s: undo: exit code %d: %s%s", s.name, code, out, errs)
		return
	}
	if !s.atBoot {
		lab.Eventually(t, 70*time.Second, func() error { return n.Attacker.Connect(h.IPv4, s.port) })
	}
	lab.Eventually(t, 10*time.Second, func() error {
		if after := h.Run(t, "sh", "-c", s.state); after != before {
			return fmt.Errorf("%s: undo brought back:\n%s\nwant:\n%s", s.name, after, before)
		}
		return nil
	})
}
