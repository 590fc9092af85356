package platform

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// people returns desktops in a new folder, in which users have folders of their
// own.
func people(t *testing.T, uids ...uint32) *desktops {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to become other users")
	}
	run, err := os.MkdirTemp("/tmp", "fb") // paths of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	if err := os.Chmod(run, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, uid := range uids {
		dir := filepath.Join(run, strconv.Itoa(int(uid)))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, int(uid), int(uid)); err != nil {
			t.Fatal(err)
		}
	}
	return &desktops{run: run, sessions: t.TempDir(), busy: map[uint32]bool{}}
}

// Users that every system has, and the bus insists on.
const lena, omar = 1, 2

// notifications is a program that shows notifications.
type notifications struct{ shown chan string }

func (n notifications) Notify(app string, _ uint32, _, summary, body string, _ []string, hints map[string]godbus.Variant, _ int32) (uint32, *godbus.Error) {
	n.shown <- fmt.Sprintf("%s|%s|%s|%v", app, summary, body, hints["urgency"].Value())
	return 1, nil
}

// sessionBus runs a real bus for the user, with a program that shows
// notifications on it.
func sessionBus(t *testing.T, d *desktops, uid uint32) chan string {
	t.Helper()
	needTools(t, "dbus-daemon")
	u := desktop{uid: uid, bus: filepath.Join(d.run, strconv.Itoa(int(uid)), "bus")}
	cmd := exec.Command("dbus-daemon", "--session", "--nofork", "--nopidfile", "--nosyslog", "--address=unix:path="+u.bus)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 200 {
		if _, err := os.Stat(u.bus); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	line, err := u.connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	bus, err := godbus.NewConn(line)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	server := notifications{shown: make(chan string, 10)}
	if err := bus.Auth([]godbus.Auth{godbus.AuthExternal(strconv.Itoa(int(uid)))}); err != nil {
		t.Fatal(err)
	}
	if err := bus.Hello(); err != nil {
		t.Fatal(err)
	}
	if err := bus.Export(server, "/org/freedesktop/Notifications", "org.freedesktop.Notifications"); err != nil {
		t.Fatal(err)
	}
	if _, err := bus.RequestName("org.freedesktop.Notifications", 0); err != nil {
		t.Fatal(err)
	}
	return server.shown
}

func TestDesktopsAreTold(t *testing.T) {
	d := people(t, lena, omar, 4244)
	hers, his := sessionBus(t, d, lena), sessionBus(t, d, omar)
	begun := time.Now()
	told := d.show(t.Context(), "This computer is isolated.\nCall <b>4357</b> & wait.\x1b[2J\n")
	took := time.Since(begun)
	slices.Sort(told)
	if !slices.Equal(told, []uint32{lena, omar}) {
		t.Errorf("told %v; want two users: the third has no bus", told)
	}
	want := "Firebreak|This computer is isolated.|Call &lt;b&gt;4357&lt;/b&gt; &amp; wait. [2J|2"
	for user, shown := range map[string]chan string{"lena": hers, "omar": his} {
		select {
		case got := <-shown:
			if got != want {
				t.Errorf("%s: got %q; want %q", user, got, want)
			}
		default:
			t.Errorf("%s: nothing was shown", user)
		}
	}
	t.Logf("took %v", took)
	if got, _ := os.ReadFile("/proc/thread-self/status"); !strings.Contains(string(got), "Uid:\t0\t0\t0\t0") {
		t.Errorf("the caller's thread is not root's any more:\n%s", got)
	}
	threads, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range threads {
		if got, err := os.ReadFile(name); err == nil && strings.Contains(string(got), "Uid:\t0\t1\t") {
			t.Errorf("a thread still is the user's:\n%s", got)
		}
	}
}

// TestBusTakesNobodyElse shows why the agent has to become the user.
func TestBusTakesNobodyElse(t *testing.T) {
	d := people(t, lena)
	sessionBus(t, d, lena)
	line, err := dialUnix(filepath.Join(d.run, "1", "bus"))
	if err != nil {
		t.Fatal(err)
	}
	bus, err := godbus.NewConn(line)
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if bus.Auth([]godbus.Auth{godbus.AuthExternal("1")}) == nil && bus.Hello() == nil {
		t.Error("the bus of a user took root")
	}
}

// TestDesktopsCannotHoldUpTheAgent has users with something else in the place of
// their bus: one that never answers, one that answers too much, a link to a
// socket of root's alone, and nothing.
func TestDesktopsCannotHoldUpTheAgent(t *testing.T) {
	d := people(t, 4242, 4243, 4244, 4245)
	at := func(uid, name string) string { return filepath.Join(d.run, uid, name) }
	listen := func(path string, answer func(net.Conn)) *atomic.Int32 {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		count := new(atomic.Int32)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				count.Add(1)
				go answer(c)
			}
		}()
		return count
	}
	quiet := listen(at("4242", "bus"), func(net.Conn) {})
	listen(at("4243", "bus"), func(c net.Conn) {
		for {
			if _, err := c.Write([]byte(strings.Repeat("x", 4096))); err != nil {
				return
			}
		}
	})
	secret := filepath.Join(d.run, "secret")
	if err := os.Mkdir(secret, 0o700); err != nil {
		t.Fatal(err)
	}
	reached := listen(filepath.Join(secret, "socket"), func(net.Conn) {})
	if err := os.Symlink(filepath.Join(secret, "socket"), at("4244", "bus")); err != nil {
		t.Fatal(err)
	}
	for _, uid := range []string{"4242", "4243"} {
		if err := os.Chmod(at(uid, "bus"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	begun := time.Now()
	told := d.show(t.Context(), "This computer is isolated.")
	if took := time.Since(begun); len(told) > 0 || took > desktopTimeout+500*time.Millisecond {
		t.Errorf("told %v in %v; want nobody, in a second", told, took)
	}
	if quiet.Load() == 0 {
		t.Error("the first user's socket was not tried")
	}
	if reached.Load() > 0 {
		t.Error("a user's link led the agent to a socket that the user cannot reach")
	}
}

func TestBusyDesktopsAreLeftOut(t *testing.T) {
	d := people(t, 4242)
	if !d.begin(4242) || d.begin(4242) {
		t.Error("a user can be kept waiting for more than one text")
	}
	d.end(4242)
	if !d.begin(4242) {
		t.Error("a user who is done is left out")
	}
}

func TestScreens(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"1": "UID=1000\nUSER=lena\nTYPE=wayland\nCLASS=user\n",
		"2": "UID=1001\nUSER=omar\nTYPE=tty\nCLASS=user\n",
		"3": "UID=120\nUSER=gdm\nTYPE=wayland\nCLASS=greeter\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "1.ref"), 0o600); err != nil {
		t.Fatal(err)
	}
	graphical, greeters := screens(dir)
	if fmt.Sprint(graphical, greeters) != "map[1000:true] map[120:true]" {
		t.Errorf("got %v, %v", graphical, greeters)
	}
}
