package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the test be the program that binds as well: in another control
// group, as another user, or as another executable.
func TestMain(m *testing.M) {
	if want := os.Getenv("FIREBREAK_TEST_BIND"); want != "" {
		var network, address string
		var port int
		fmt.Sscan(want, &network, &address, &port)
		fmt.Print(bind(network, address, port))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// bind says what became of binding: "bound", or the name of the error.
func bind(network, address string, port int) string {
	family, kind := unix.AF_INET, unix.SOCK_STREAM
	if strings.HasSuffix(network, "6") {
		family = unix.AF_INET6
	}
	if strings.HasPrefix(network, "udp") {
		kind = unix.SOCK_DGRAM
	}
	proto := 0
	if strings.HasPrefix(network, "mptcp") {
		proto = unix.IPPROTO_MPTCP
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return err.Error()
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, sockaddr(family, address, port)); err != nil {
		return unix.ErrnoName(err.(unix.Errno))
	}
	return "bound"
}

func sockaddr(family int, address string, port int) unix.Sockaddr {
	if family == unix.AF_INET {
		a := &unix.SockaddrInet4{Port: port}
		fmt.Sscanf(address, "%d.%d.%d.%d", &a.Addr[0], &a.Addr[1], &a.Addr[2], &a.Addr[3])
		return a
	}
	a := &unix.SockaddrInet6{Port: port}
	switch address {
	case "::1":
		a.Addr[15] = 1
	case "::ffff:127.0.0.1":
		a.Addr = [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}
	case "::ffff:0.0.0.0":
		a.Addr = [16]byte{10: 0xff, 11: 0xff}
	}
	return a
}

// place is where a test keeps programs from binding: a network namespace and a
// mount namespace of its own. The control group is that of the whole machine, of
// which only what is in the namespace is touched.
type place struct {
	*Denier
	deny Deny
	ns   int
}

func inPlace(t testing.TB, test func(p place)) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to load programs into the kernel")
	}
	dir, group := t.TempDir(), ""
	for _, at := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		var s unix.Statfs_t
		if unix.Statfs(at, &s) == nil && s.Type == unix.CGROUP2_SUPER_MAGIC {
			group = at
			break
		}
	}
	if group == "" {
		t.Skip("needs control groups of version 2")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
			t.Errorf("make namespaces: %v", err)
			return
		}
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
			return
		}
		if err := errors.Join(
			unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""),
			unix.Mount("bpf", dir, "bpf", 0, ""),
		); err != nil {
			t.Errorf("mount: %v", err)
			return
		}
		defer unix.Unmount(dir, unix.MNT_DETACH)
		root, err := groupID(group)
		if err != nil {
			t.Error(err)
			return
		}
		var space unix.Stat_t
		if err := unix.Stat("/proc/self/ns/pid", &space); err != nil {
			t.Error(err)
			return
		}
		p := place{&Denier{Group: group, Pins: filepath.Join(dir, "firebreak")}, Deny{Cookie: cookie(t), Root: root, PIDNamespace: uint32(space.Ino)}, 0}
		if p.ns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(p.ns)
		defer func() {
			if err := p.Clear(); err != nil {
				t.Errorf("clear: %v", err)
			}
		}()
		test(p)
	}()
	<-done
}

func cookie(t testing.TB) uint64 {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	defer unix.Close(fd)
	c, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	return c
}

// set puts spans in force, or ends the test.
func (p *place) set(t testing.TB, spans ...DeniedSpan) *Events {
	t.Helper()
	p.deny.Ports = spans
	e, err := p.Set(p.deny, []byte("label"))
	if err != nil {
		t.Errorf("set: %v", err)
		runtime.Goexit()
	}
	t.Cleanup(e.Close)
	return e
}

func tcp(first, last uint16, except ...Pass) DeniedSpan {
	return DeniedSpan{unix.IPPROTO_TCP, first, last, except}
}

func udp(first, last uint16, except ...Pass) DeniedSpan {
	return DeniedSpan{unix.IPPROTO_UDP, first, last, except}
}

func TestDeny(t *testing.T) {
	inPlace(t, func(p place) {
		p.set(t, tcp(445, 445), tcp(5900, 5999), udp(161, 161))
		for _, c := range []struct {
			network, address string
			port             int
			want             string
		}{
			{"tcp4", "0.0.0.0", 445, "EPERM"},
			{"tcp6", "::", 445, "EPERM"},
			{"tcp6", "::ffff:0.0.0.0", 445, "EPERM"},
			{"mptcp4", "0.0.0.0", 445, "EPERM"},
			{"tcp4", "0.0.0.0", 5900, "EPERM"},
			{"tcp4", "0.0.0.0", 5950, "EPERM"},
			{"tcp6", "::", 5999, "EPERM"},
			{"udp4", "0.0.0.0", 161, "EPERM"},
			{"udp6", "::", 161, "EPERM"},

			{"tcp4", "127.0.0.1", 445, "bound"},
			{"tcp4", "127.9.9.9", 445, "bound"},
			{"tcp6", "::1", 445, "bound"},
			{"tcp6", "::ffff:127.0.0.1", 445, "bound"},
			{"udp4", "127.0.0.1", 161, "bound"},

			{"tcp4", "0.0.0.0", 444, "bound"},
			{"tcp4", "0.0.0.0", 48385, "bound"}, // 445 the other way round
			{"udp4", "0.0.0.0", 445, "bound"},
			{"tcp4", "0.0.0.0", 161, "bound"},
			{"tcp4", "0.0.0.0", 5899, "bound"},
			{"tcp4", "0.0.0.0", 6000, "bound"},
			{"tcp4", "0.0.0.0", 0, "bound"},
		} {
			if got := bind(c.network, c.address, c.port); got != c.want {
				t.Errorf("%s %s %d: %s; want %s", c.network, c.address, c.port, got, c.want)
			}
		}
	})
}

// TestDenyEveryTime is the bar: 10,000 of 10,000.
func TestDenyEveryTime(t *testing.T) {
	inPlace(t, func(p place) {
		e := p.set(t, tcp(445, 445))
		refused := 0
		for range 10_000 {
			if bind("tcp4", "0.0.0.0", 445) == "EPERM" {
				refused++
			}
		}
		if refused != 10_000 {
			t.Errorf("%d of 10000 binds failed", refused)
		}
		if err := e.Open(); err != nil {
			t.Fatal(err)
		}
		told := 0
		for {
			got, err := e.Next(time.Now().Add(50 * time.Millisecond))
			if err != nil {
				t.Error(err)
			}
			if len(got) == 0 {
				break
			}
			told++
		}
		if told > 5 {
			t.Errorf("told %d times of one program", told)
		}
		t.Logf("%d of 10000 binds failed, told of in %d events", refused, told)
	})
}

// TestDenyTells compares what is told with who it was.
func TestDenyTells(t *testing.T) {
	inPlace(t, func(p place) {
		e := p.set(t, tcp(445, 445))
		if err := e.Open(); err != nil {
			t.Fatal(err)
		}
		self, _ := os.Executable()
		if got := p.program(t, self, "tcp4 0.0.0.0 445", 0); got != "EPERM" {
			t.Errorf("got %s", got)
		}
		got, err := e.Next(time.Now().Add(time.Second))
		if err != nil || len(got) != 1 {
			t.Errorf("got %v, %v; want one", got, err)
			return
		}
		r := got[0]
		if r.Port != 445 || r.Protocol != unix.IPPROTO_TCP || r.UID != 0 || r.Times != 1 || r.Comm != filepath.Base(self)[:min(15, len(filepath.Base(self)))] {
			t.Errorf("got %+v", r)
		}
		if !strings.HasSuffix(self, r.Exe.Path) || r.Exe.Path == "" || r.PID == 0 {
			t.Errorf("got %+v; want %s", r, self)
		}
		for range 5 {
			bind("tcp4", "0.0.0.0", 445)
		}
		sum := uint64(0)
		for range 3 {
			got, _ := e.Next(time.Now().Add(100 * time.Millisecond))
			for _, r := range got {
				sum += r.Times
				if r.PID != uint32(os.Getpid()) {
					t.Errorf("process %d; want %d", r.PID, os.Getpid())
				}
			}
		}
		for _, r := range e.Rest() {
			sum += r.Times
		}
		if sum != 5 {
			t.Errorf("told of %d; want 5", sum)
		}
	})
}

// program binds in a process of its own.
func (p place) program(t testing.TB, exe, what string, uid uint32, group ...string) string {
	t.Helper()
	script := `exec "$0"`
	if len(group) > 0 {
		script = `echo $$ >` + group[0] + `/cgroup.procs && exec "$0"`
	}
	cmd := exec.Command("sh", "-c", script, exe)
	cmd.Env = append(os.Environ(), "FIREBREAK_TEST_BIND="+what)
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s: %v", exe, err)
	}
	return string(out)
}

func TestDenyExceptions(t *testing.T) {
	inPlace(t, func(p place) {
		self, _ := os.Executable()
		text, _ := os.ReadFile(self)
		dir, err := os.MkdirTemp("/var/tmp", "firebreak-deny-") // not in the bpffs
		if err != nil {
			t.Error(err)
			return
		}
		defer os.RemoveAll(dir)
		os.Chmod(dir, 0o755)
		copyTo := func(name string) string {
			path := filepath.Join(dir, name)
			os.MkdirAll(filepath.Dir(path), 0o755)
			if err := os.WriteFile(path+".new", text, 0o755); err != nil {
				t.Error(err)
			}
			os.Rename(path+".new", path)
			return path
		}
		good, bad, deep := copyTo("good"), copyTo("bad"), copyTo("other/good")
		device, below := exePath(t, good)
		user := uint32(12345)
		exe := func(name string) *Exe { return &Exe{Device: device, Path: filepath.Join(filepath.Dir(below), name)} }

		slice := filepath.Join(p.Group, "fbdeny"+filepath.Base(dir)[len("firebreak-deny-"):]+".slice")
		unit, inside := filepath.Join(slice, "a.service"), filepath.Join(slice, "a.service/more.slice")
		forged := filepath.Join(slice, "session.scope/a.service")
		for _, g := range []string{inside, forged, filepath.Join(slice, "b.service")} {
			if err := os.MkdirAll(g, 0o755); err != nil {
				t.Error(err)
			}
			defer func() {
				for ; g != p.Group; g = filepath.Dir(g) {
					os.Remove(g)
				}
			}()
		}
		p.set(t,
			tcp(1001, 1001, Pass{Exe: exe("good")}),
			tcp(1002, 1002, Pass{UID: &user}),
			tcp(1003, 1003, Pass{Unit: "a.service"}),
			tcp(1004, 1004, Pass{Exe: exe("good"), UID: &user}),
			tcp(1005, 1005, Pass{Unit: "a.service", Exe: exe("good")}, Pass{UID: &user}),
			tcp(1006, 1006),
			tcp(1007, 1007, Pass{Exe: &Exe{Device: device + 1, Path: below}}),
		)
		for _, c := range []struct {
			exe   string
			port  int
			uid   uint32
			group string
			want  string
		}{
			{good, 1001, 0, "", "bound"},
			{bad, 1001, 0, "", "EPERM"},
			{deep, 1001, 0, "", "EPERM"},
			{bad, 1002, 0, "", "EPERM"},
			{bad, 1002, user, "", "EACCES"}, // let through: the port is a low one
			{bad, 1003, 0, "", "EPERM"},
			{bad, 1003, 0, unit, "bound"},
			{bad, 1003, 0, inside, "bound"},
			{bad, 1003, 0, filepath.Join(slice, "b.service"), "EPERM"},
			{bad, 1003, 0, forged, "EPERM"},
			{good, 1004, 0, "", "EPERM"},
			{bad, 1004, user, "", "EPERM"},
			{good, 1004, user, "", "EACCES"},
			{good, 1005, 0, "", "EPERM"},
			{bad, 1005, 0, unit, "EPERM"},
			{good, 1005, 0, unit, "bound"},
			{bad, 1005, user, "", "EACCES"},
			{good, 1006, 0, unit, "EPERM"},
			{good, 1007, 0, "", "EPERM"},
		} {
			var group []string
			if c.group != "" {
				group = []string{c.group}
			}
			if got := p.program(t, c.exe, fmt.Sprint("tcp4 0.0.0.0 ", c.port), c.uid, group...); got != c.want {
				t.Errorf("%s as %d in %q: port %d: %s; want %s", c.exe, c.uid, c.group, c.port, got, c.want)
			}
		}
		// The next version of an executable is another inode.
		copyTo("good")
		if got := p.program(t, good, "tcp4 0.0.0.0 1001", 0); got != "bound" {
			t.Errorf("after an upgrade: %s", got)
		}
	})
}

// TestDenyStays shows that what is in force outlives who put it there, changes
// without a gap, is read back, and leaves nothing.
func TestDenyStays(t *testing.T) {
	inPlace(t, func(p place) {
		p.set(t, tcp(445, 445))
		again := Denier{Group: p.Group, Pins: p.Pins} // as after a restart
		got, label, e, err := again.Get()
		if err != nil || string(label) != "label" || len(got.Ports) != 1 || got.Ports[0].First != 445 {
			t.Errorf("got %+v, %q, %v", got, label, err)
			return
		}
		before := e.ID
		stop, open := make(chan struct{}), make(chan int)
		go func() {
			runtime.LockOSThread()
			_ = unix.Setns(p.ns, unix.CLONE_NEWNET)
			n := 0
			for {
				select {
				case <-stop:
					open <- n
					return
				default:
				}
				if bind("tcp4", "0.0.0.0", 445) != "EPERM" {
					n++
				}
			}
		}()
		for i := range 50 {
			e := p.set(t, tcp(445, 445), tcp(1000+uint16(i), 2000))
			if e.ID != before {
				t.Error("what tells of refused binds was replaced")
			}
		}
		close(stop)
		if n := <-open; n != 0 {
			t.Errorf("%d binds went through while the rules were changed", n)
		}
		if err := p.Clear(); err != nil {
			t.Error(err)
		}
		if got := bind("tcp4", "0.0.0.0", 445); got != "bound" {
			t.Errorf("after clearing: %s", got)
		}
		if _, _, _, err := again.Get(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after clearing: %v", err)
		}
		if _, err := os.Stat(p.Pins); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the folder of the pins is left: %v", err)
		}
	})
}
