package platform

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// inNewNetns runs test in a network namespace of its own, with lo up. The thread
// is thrown away afterwards, and the namespace with it.
func inNewNetns(t *testing.T, test func(t *testing.T)) {
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
		shell(t, "ip link set lo up")
		test(t)
	}()
	<-done
	if t.Failed() {
		t.FailNow()
	}
}

// shell runs commands in the namespace of the calling thread.
func shell(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", script, err, out)
		runtime.Goexit()
	}
	return string(out)
}

// needTools skips a test for which a program is missing.
func needTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs the program %s", name)
		}
	}
}

// world is a host and an outside, joined by a wire. The test runs in the host's
// namespace: 192.0.2.1 and 2001:db8::1; the outside is .2 and ::2.
type world struct{ outside string }

func inWorld(t *testing.T, test func(t *testing.T, w world)) {
	t.Helper()
	needTools(t, "ip", "nft")
	inNewNetns(t, func(t *testing.T) {
		w := world{outside: fmt.Sprintf("fb-%d-%d", os.Getpid(), unix.Gettid())}
		shell(t, "ip netns add "+w.outside)
		defer exec.Command("ip", "netns", "del", w.outside).Run()
		// Two ends of one index would be up for IPv6 only after a second.
		shell(t, `ip link add eth0 index 77 type veth peer name eth0 index 78 netns `+w.outside+`
			ip addr add 192.0.2.1/24 dev eth0; ip -6 addr add 2001:db8::1/64 dev eth0 nodad; ip -6 addr add fe80::1/64 dev eth0 nodad
			ip link set eth0 up
			ip -n `+w.outside+` addr add 192.0.2.2/24 dev eth0; ip -n `+w.outside+` -6 addr add 2001:db8::2/64 dev eth0 nodad; ip -n `+w.outside+` -6 addr add fe80::2/64 dev eth0 nodad
			ip -n `+w.outside+` link set lo up; ip -n `+w.outside+` link set eth0 up`)
		test(t, w)
	})
}

// fromOutside runs f on a thread in the outside's namespace.
func (w world) fromOutside(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		ns, err := os.Open("/run/netns/" + w.outside)
		if err != nil {
			t.Error(err)
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}
