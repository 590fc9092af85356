package bpf

import (
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unified is the root of the machine's control groups of version 2.
func unified(t testing.TB) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		before, after, _ := strings.Cut(line, " - ")
		if f := strings.Fields(before); strings.HasPrefix(after, "cgroup2 ") && f[3] == "/" && !strings.HasPrefix(f[4], "/run/") {
			return f[4]
		}
	}
	t.Skip("needs a mounted tree of control groups of version 2")
	return ""
}

// inNetns runs f in a network namespace of its own, with lo up, whose thread is
// thrown away.
func inNetns(t testing.TB, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to make a network namespace")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("make network namespace: %v", err)
			return
		}
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Errorf("set lo up: %v: %s", err, out)
			return
		}
		f()
	}()
	<-done
	if t.Failed() {
		t.FailNow()
	}
}

func here(t testing.TB) Place {
	t.Helper()
	at, err := Here()
	check(t, err)
	return at
}

// portsHere watches the namespace of the calling thread. Whoever else uses the
// machine listens elsewhere, and is left out.
type portsHere struct {
	*Ports
	t     testing.TB
	queue []PortEvent
}

func watchHere(t testing.TB, k Kernel) *portsHere {
	t.Helper()
	p, err := OpenPorts(k, here(t), unified(t))
	if err != nil {
		t.Errorf("OpenPorts: %v", err)
		runtime.Goexit()
	}
	t.Cleanup(func() { _ = p.Close() })
	return &portsHere{Ports: p, t: t}
}

// next returns the next change of one of the given sockets.
func (p *portsHere) next(cookies ...uint64) PortEvent {
	p.t.Helper()
	until := time.Now().Add(3 * time.Second)
	for {
		for len(p.queue) > 0 {
			e := p.queue[0]
			p.queue = p.queue[1:]
			if slices.Contains(cookies, e.Cookie) {
				return e
			}
		}
		var err error
		p.queue, _, err = p.Next(until, p.queue)
		if err != nil || len(p.queue) == 0 {
			p.t.Errorf("nothing was told: %v", err)
			runtime.Goexit()
		}
	}
}

// open makes a socket and returns its cookie.
func open(t testing.TB, family, kind int) (int, uint64) {
	t.Helper()
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Errorf("make socket: %v", err)
		runtime.Goexit()
	}
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		t.Errorf("read cookie: %v", err)
		runtime.Goexit()
	}
	return fd, cookie
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
}

// address is ::1 or an IPv4 address, or the wildcard.
func address(family int, text string, port int) unix.Sockaddr {
	a := netip.MustParseAddr(text)
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Port: port, Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Port: port, Addr: a.As16()}
}

// descriptors counts the open files that have to do with programs of the kernel.
func descriptors(t *testing.T) (n int) {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.Contains(to, "bpf") {
			n++
		}
	}
	return n
}
