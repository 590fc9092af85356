//go:build linux

package platform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// These tests change real units. They run on a host that was booted for the
// purpose; the lab carries this package's compiled tests there.

// needSystemd skips unless the test may change this host's units.
func needSystemd(t *testing.T) {
	t.Helper()
	comm, err := os.ReadFile("/proc/1/comm")
	if err != nil || strings.TrimSpace(string(comm)) != "systemd" {
		t.Skip("PID 1 is not systemd: the lab runs this test on a booted host")
	}
	if os.Geteuid() != 0 {
		t.Skip("changing units needs root")
	}
	if os.Getenv("FIREBREAK_CHANGE_THIS_HOST") == "" {
		t.Skip("changes this host's units: set FIREBREAK_CHANGE_THIS_HOST=1 on a host made for that")
	}
}

// TestHelperListens is the server behind the test units, not a test: it listens
// on FIREBREAK_TEST_LISTEN, or serves the sockets that systemd hands over.
func TestHelperListens(t *testing.T) {
	addr := os.Getenv("FIREBREAK_TEST_LISTEN")
	if addr == "" {
		t.Skip("the server of the test units, started by them")
	}
	if addr != "inherited" {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	time.Sleep(time.Hour)
}

// realUnit is one way in which a unit can be there.
type realUnit struct {
	name   string            // the unit that is closed
	files  map[string]string // unit files to write
	setup  []string          // command lines, then
	units  []string          // all units that are closed with it
	port   string            // "" if it opens none
	dial   bool              // keep a connection open meanwhile
	unmask bool              // stays unmasked: a transient unit
}

func realUnits() map[string]realUnit {
	self, _ := os.Executable()
	service := func(listen, more string) string {
		return fmt.Sprintf("[Service]\nEnvironment=FIREBREAK_TEST_LISTEN=%s\nExecStart=%s -test.run=^TestHelperListens$\n%s\n[Install]\nWantedBy=multi-user.target\n", listen, self, more)
	}
	const vendor, local = "/usr/local/lib/systemd/system/", "/etc/systemd/system/"
	return map[string]realUnit{
		"packaged": {
			name: "fbt-packaged.service", port: "18101",
			files: map[string]string{vendor + "fbt-packaged.service": service(":18101", "")},
			setup: []string{"systemctl enable --now fbt-packaged.service"},
		},
		"local file that respawns": {
			name: "fbt-local.service", port: "18102",
			files: map[string]string{local + "fbt-local.service": service(":18102", "Restart=always\nRestartSec=50ms\n")},
			setup: []string{"systemctl enable --now fbt-local.service"},
		},
		"with aliases": {
			name: "fbt-nickname.service", port: "18103", units: []string{"fbt-full.service"},
			files: map[string]string{vendor + "fbt-full.service": service(":18103", "") + "Alias=fbt-nickname.service fbt-other.service\n"},
			setup: []string{"systemctl enable --now fbt-full.service"},
		},
		"socket with one service": {
			name: "fbt-sock.service", port: "18104", units: []string{"fbt-sock.socket", "fbt-sock.service"}, dial: true,
			files: map[string]string{
				vendor + "fbt-sock.socket":  "[Socket]\nListenStream=18104\n[Install]\nWantedBy=sockets.target\n",
				vendor + "fbt-sock.service": service("inherited", "Restart=always\n"),
			},
			setup: []string{"systemctl enable --now fbt-sock.socket"},
		},
		"socket that was not used yet": {
			name: "fbt-idle.socket", port: "18105",
			files: map[string]string{
				local + "fbt-idle.socket":  "[Socket]\nListenStream=0.0.0.0:18105\n[Install]\nWantedBy=sockets.target\n",
				local + "fbt-idle.service": service("inherited", ""),
			},
			setup: []string{"systemctl enable --now fbt-idle.socket"},
		},
		"socket with a service for each connection": {
			name: "fbt-each.socket", port: "18106", dial: true,
			files: map[string]string{
				vendor + "fbt-each.socket":   "[Socket]\nListenStream=18106\nAccept=yes\n[Install]\nWantedBy=sockets.target\n",
				vendor + "fbt-each@.service": service("inherited", ""),
			},
			setup: []string{"systemctl enable --now fbt-each.socket"},
		},
		"instance of a template": {
			name: "fbt-tmpl@18107.service", port: "18107",
			files: map[string]string{vendor + "fbt-tmpl@.service": service(":%i", "")},
			setup: []string{"systemctl enable --now fbt-tmpl@18107.service"},
		},
		"started by hand, not enabled": {
			name: "fbt-hand.service", port: "18108",
			files: map[string]string{vendor + "fbt-hand.service": service(":18108", "")},
			setup: []string{"systemctl start fbt-hand.service"},
		},
		"enabled until the next boot": {
			name: "fbt-runtime.service", port: "18109",
			files: map[string]string{vendor + "fbt-runtime.service": service(":18109", "")},
			setup: []string{"systemctl enable --runtime --now fbt-runtime.service"},
		},
		"linked from elsewhere": {
			name: "fbt-linked.service", port: "18111",
			files: map[string]string{"/opt/fbt/fbt-linked.service": service(":18111", "")},
			setup: []string{"systemctl link /opt/fbt/fbt-linked.service", "systemctl enable --now fbt-linked.service"},
		},
		"transient": {
			name: "fbt-run.service", port: "18112", unmask: true,
			setup: []string{"systemd-run --unit=fbt-run --property=Restart=always --setenv=FIREBREAK_TEST_LISTEN=:18112 " + self + " -test.run=^TestHelperListens$"},
		},
		"init script": {
			name: "fbt-sysv.service", port: "18113",
			files: map[string]string{"/etc/init.d/fbt-sysv": "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: fbt-sysv\n# Default-Start: 2 3 4 5\n# Default-Stop: 0 1 6\n### END INIT INFO\n" +
				"[ \"$1\" = start ] && FIREBREAK_TEST_LISTEN=:18113 " + self + " -test.run=^TestHelperListens$ >/dev/null 2>&1 &\nexit 0\n"},
			setup: []string{"chmod 755 /etc/init.d/fbt-sysv", "ln -sf ../init.d/fbt-sysv /etc/rc3.d/S01fbt-sysv", "systemctl daemon-reload", "systemctl start fbt-sysv.service"},
		},
		"pulled in by a path unit": {
			name: "fbt-path.service", port: "18114", units: []string{"fbt-path.path", "fbt-path.service"},
			files: map[string]string{
				vendor + "fbt-path.path":    "[Path]\nPathExists=/etc/passwd\n[Install]\nWantedBy=multi-user.target\n",
				vendor + "fbt-path.service": service(":18114", ""),
			},
			setup: []string{"systemctl enable --now fbt-path.path", "systemctl start fbt-path.service"},
		},
		"samba":   {name: "smbd.service", port: "445", setup: []string{"systemctl enable --now smbd.service"}},
		"redis":   {name: "redis-server.service", port: "6379", setup: []string{"systemctl enable --now redis-server.service"}},
		"openssh": {name: "sshd.service", port: "22", units: []string{"ssh.service"}, setup: []string{"systemctl enable --now ssh.service"}},
	}
}

func TestRealUnitsComeBackExactly(t *testing.T) {
	needSystemd(t)
	for name, r := range realUnits() {
		t.Run(name, func(t *testing.T) {
			r.prepare(t)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			s := systemd{}
			units, err := s.Inspect(ctx, r.name)
			if err != nil {
				t.Fatal(err)
			}
			if got := namesOf(units); !slices.Equal(got, r.closed()) {
				t.Fatalf("inspect found %v, want %v", got, r.closed())
			}
			before := r.state(t)

			for range 2 { // the second time changes nothing
				if err := s.Close(ctx, units); err != nil {
					t.Fatal(err)
				}
				r.mustBeClosed(t)
			}
			for range 2 {
				if err := s.Restore(ctx, units); err != nil {
					t.Fatal(err)
				}
				if after := r.state(t); after != before {
					t.Fatalf("undo did not put back what was there\nbefore:\n%s\nafter:\n%s", before, after)
				}
			}
			if r.port != "" {
				mustListen(t, r.port)
			}
		})
	}
}

func TestRealDependentsComeBackToo(t *testing.T) {
	needSystemd(t)
	const dependent = "/usr/local/lib/systemd/system/fbt-shop.service"
	r := realUnits()["packaged"]
	r.files[dependent] = "[Unit]\nRequires=fbt-packaged.service\nAfter=fbt-packaged.service\n[Service]\nExecStart=/bin/sleep 3600\n"
	r.setup = append(r.setup, "systemctl start fbt-shop.service")
	r.units = []string{"fbt-packaged.service", "fbt-shop.service"}
	r.prepare(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	before := r.state(t)
	units, err := systemd{}.Inspect(ctx, "fbt-packaged.service")
	if err != nil || len(units) != 1 || !slices.Equal(units[0].RequiredBy, []string{"fbt-shop.service"}) {
		t.Fatalf("%+v %v", units, err)
	}
	dependents, err := systemd{}.Inspect(ctx, units[0].RequiredBy...)
	if err != nil {
		t.Fatal(err)
	}
	if err := (systemd{}).Close(ctx, units); err != nil {
		t.Fatal(err)
	}
	if now := run(t, "systemctl is-active fbt-shop.service"); now != "inactive\n" {
		t.Fatalf("the dependent is %s", now)
	}
	if err := errors.Join(systemd{}.Restore(ctx, units), systemd{}.Restore(ctx, dependents)); err != nil {
		t.Fatal(err)
	}
	if after := r.state(t); after != before {
		t.Fatalf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestRealUnitThatRanMaskedStaysMasked(t *testing.T) {
	needSystemd(t)
	r := realUnits()["packaged"]
	r.setup = append(r.setup, "systemctl mask fbt-packaged.service")
	r.prepare(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	units, err := systemd{}.Inspect(ctx, r.name)
	if err != nil {
		t.Fatal(err)
	}
	before := r.state(t)
	if err := (systemd{}).Close(ctx, units); err != nil {
		t.Fatal(err)
	}
	if err := (systemd{}).Restore(ctx, units); err == nil || !strings.Contains(err.Error(), "by hand") {
		t.Fatalf("claims to have started a masked unit: %v", err)
	}
	if got, want := r.state(t), strings.Replace(before, "ActiveState=active", "ActiveState=inactive", 1); got != want {
		t.Fatalf("before:\n%s\nafter:\n%s", want, got)
	}
}

// A crash can cut Close and Restore short after any of their steps.
func TestRealUnitsSurviveCrashInTheMiddle(t *testing.T) {
	needSystemd(t)
	for _, name := range []string{"with aliases", "local file that respawns", "socket with one service"} {
		for cut := range 4 {
			t.Run(fmt.Sprintf("%s/%d", name, cut), func(t *testing.T) {
				r := realUnits()[name]
				r.prepare(t)
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				s := systemd{}
				units, err := s.Inspect(ctx, r.name)
				if err != nil {
					t.Fatal(err)
				}
				before := r.state(t)
				partly(t, s, units, cut)
				if err := s.Restore(ctx, units); err != nil {
					t.Fatal(err)
				}
				if after := r.state(t); after != before {
					t.Fatalf("before:\n%s\nafter:\n%s", before, after)
				}
				partly(t, s, units, cut)
				if err := s.Close(ctx, units); err != nil {
					t.Fatal(err)
				}
				r.mustBeClosed(t)
				for _, u := range units { // Restore, cut short before it started anything
					if err := s.relink(u); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.Restore(ctx, units); err != nil {
					t.Fatal(err)
				}
				if after := r.state(t); after != before {
					t.Fatalf("before:\n%s\nafter:\n%s", before, after)
				}
			})
		}
	}
}

// partly does the first steps of Close.
func partly(t *testing.T, s systemd, units []Unit, steps int) {
	t.Helper()
	ctx := context.Background()
	conn, err := s.connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if steps > 0 {
		err = errors.Join(s.maskAll(units), reload(ctx, conn))
	}
	if steps > 1 {
		err = errors.Join(err, stopUnit(ctx, conn, units[0].Name))
	}
	if steps > 2 {
		err = errors.Join(err, s.disableAll(ctx, conn, units[:1]))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestRealUnitThatSomebodyChangedIsLeftAlone(t *testing.T) {
	needSystemd(t)
	r := realUnits()["packaged"]
	for name, c := range map[string]struct {
		change string
		refuse error
	}{
		"unmasked":                 {"systemctl unmask fbt-packaged.service", ErrChanged},
		"enabled for another":      {"ln -s /usr/local/lib/systemd/system/fbt-packaged.service /etc/systemd/system/timers.target.wants/", ErrChanged},
		"removed":                  {"rm /usr/local/lib/systemd/system/fbt-packaged.service", ErrGone},
		"put back by somebody":     {"systemctl unmask fbt-packaged.service; systemctl enable --now fbt-packaged.service", nil},
		"nothing but the sameness": {"true", nil},
	} {
		t.Run(name, func(t *testing.T) {
			r.prepare(t)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			s := systemd{}
			units, err := s.Inspect(ctx, r.name)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(ctx, units); err != nil {
				t.Fatal(err)
			}
			run(t, c.change)
			run(t, "systemctl daemon-reload")
			changed := r.state(t)
			if err := s.Restore(ctx, units); !errors.Is(err, c.refuse) {
				t.Fatalf("got %v, want %v", err, c.refuse)
			} else if err != nil {
				t.Log(err)
				if after := r.state(t); after != changed {
					t.Fatalf("overwrote what somebody did\nbefore:\n%s\nafter:\n%s", changed, after)
				}
			}
			run(t, "systemctl unmask fbt-packaged.service")
			run(t, "systemctl disable --now fbt-packaged.service")
			run(t, "rm -f /etc/systemd/system/timers.target.wants/fbt-packaged.service")
		})
	}
}

func (r realUnit) closed() []string {
	if r.units == nil {
		return []string{r.name}
	}
	return r.units
}

// prepare installs and starts the unit, and removes it when the test ends.
func (r realUnit) prepare(t *testing.T) {
	t.Helper()
	if r.files == nil && strings.HasPrefix(r.setup[0], "systemctl") {
		if err := exec.Command("systemctl", "cat", r.name).Run(); err != nil {
			t.Skipf("%s is not installed here", r.name)
		}
	}
	for path, text := range r.files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "systemctl daemon-reload")
	for _, line := range r.setup {
		run(t, line)
	}
	t.Cleanup(func() {
		for path := range r.files {
			name := filepath.Base(path)
			run(t, "systemctl unmask "+name)
			run(t, "systemctl disable --now "+name)
			os.Remove(path)
		}
		run(t, "systemctl stop "+strings.Join(r.closed(), " "))
		os.Remove(filepath.Join(transientDir, r.name))
		run(t, "systemctl reset-failed")
		os.RemoveAll("/etc/systemd/system.control")
		run(t, "systemctl daemon-reload")
	})
	mustListen(t, r.port)
	if r.dial {
		conn, err := net.Dial("tcp", "127.0.0.1:"+r.port)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		time.Sleep(300 * time.Millisecond)
	}
}

// state is what must be the same before and after: what systemd says of the
// units, and every link on disk.
func (r realUnit) state(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, u := range r.closed() {
		active := ""
		for range 50 { // a service passes through activating
			active = run(t, "systemctl show -p ActiveState,UnitFileState,LoadState "+u)
			if !strings.Contains(active, "activating") {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		fmt.Fprintf(&b, "%s\n%s", u, active)
	}
	for _, dir := range unitDirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			target := ""
			if d.Type() == fs.ModeSymlink {
				target, _ = os.Readlink(path)
			}
			fmt.Fprintf(&b, "%s -> %s\n", path, target)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func (r realUnit) mustBeClosed(t *testing.T) {
	t.Helper()
	for _, u := range r.closed() {
		run(t, "systemctl start "+u) // fails, and must
		show := run(t, "systemctl show -p ActiveState,UnitFileState "+u)
		if strings.Contains(show, "ActiveState=active") || !r.unmask && !strings.Contains(show, "UnitFileState=masked\n") {
			t.Fatalf("%s is not stopped and masked: %s", u, show)
		}
		links, err := unitTree{}.links(u)
		if err != nil || slices.ContainsFunc(links, func(l Link) bool { return l.Target != maskTarget }) {
			t.Fatalf("%s is still enabled: %v %v", u, links, err)
		}
	}
	if c, err := net.Dial("tcp", "127.0.0.1:"+r.port); err == nil {
		c.Close()
		t.Fatalf("port %s still answers", r.port)
	}
}

func mustListen(t *testing.T, port string) {
	t.Helper()
	data := ""
	for range 100 {
		data = ""
		for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
			text, _ := os.ReadFile(table)
			data += string(text)
		}
		n, _ := net.LookupPort("tcp", port)
		if strings.Contains(data, fmt.Sprintf(":%04X 0", n)) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("nothing listens on %s", port)
}

func run(t *testing.T, line string) string {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

func namesOf(units []Unit) []string {
	var names []string
	for _, u := range units {
		names = append(names, u.Name)
	}
	return names
}
