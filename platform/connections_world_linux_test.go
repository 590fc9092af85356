package platform

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// worldRole is set in the processes that TestCutWholeWorld makes of itself.
const worldRole = "FIREBREAK_TEST_WORLD"

// TestCutWholeWorld ends connections in every network namespace of a world of
// processes that this one is not part of: its first process is the test itself,
// so that nothing else can be hit.
func TestCutWholeWorld(t *testing.T) {
	switch os.Getenv(worldRole) {
	case "thread":
		holdInThread(t)
		return
	case "world":
		cutWholeWorld(t)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("makes namespaces: needs root")
	}
	needTools(t, "ip", "unshare")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Not even the names of the namespaces of this machine are seen there. The
	// shell stays the first process, since one of Go's threads may be anywhere.
	cmd := exec.Command("sh", "-ec", `mount --make-rprivate /
		while read -r _ _ _ root at _; do case "$root" in net:*) umount -l "$at" || :;; esac; done < /proc/self/mountinfo
		mount -t proc none /proc; mount -t tmpfs none /run; ip link set lo up
		"$0" -test.run='^TestCutWholeWorld$' || exit 1; :`, exe)
	cmd.Env = append(os.Environ(), worldRole+"=world")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func cutWholeWorld(t *testing.T) {
	mounts, err := os.ReadFile(mountsFile)
	if err != nil || os.Getppid() != 1 || strings.Contains(string(mounts), "net:[") {
		t.Fatalf("not in a world of its own: %v\n%s", err, mounts)
	}
	const call = `ip link set lo up; ip link add d0 type veth peer name d1; ip addr add 192.0.2.1/24 dev d0; ip link set d0 up; `
	shell(t, call)
	own := dialUDP(t, "192.0.2.9:9999")
	// One with a process, one with only a name, and one with only a thread.
	process := exec.Command("unshare", "-n", "bash", "-ec", call+"exec 3<>/dev/udp/192.0.2.9/9999; echo holding; read x <&3 || true; echo gone; read x")
	in, _ := process.StdinPipe()
	defer in.Close()
	inProcess := startHolding(t, process)
	shell(t, "ip netns add named; ip netns exec named sh -ec '"+call+"'")
	var inNamed net.Conn
	world{"named"}.fromOutside(t, func() { inNamed = dialUDP(t, "192.0.2.9:9999") })
	thread := exec.Command("/proc/self/exe", "-test.run=^TestCutWholeWorld$")
	thread.Env = append(os.Environ(), worldRole+"=thread")
	inThread := startHolding(t, thread)

	done, err := newConnections().Cut(context.Background(), Isolation{})
	if err != nil || done.Ended != 4 || len(done.Left) > 0 || len(done.Lacks) > 0 {
		t.Fatalf("got %+v, error %v; want 4 ended", done, err)
	}
	for name, c := range map[string]net.Conn{"its own": own, "the named": inNamed} {
		if err := errorOf(c); !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("in %s namespace: got error %v; want %v", name, err, unix.ECONNABORTED)
		}
	}
	for name, lines := range map[string]*bufio.Scanner{"a process's": inProcess, "a thread's": inThread} {
		if !lines.Scan() || lines.Text() != "gone" {
			t.Errorf("in %s namespace: got %q; want its end", name, lines.Text())
		}
	}
	confinedPart(t)
}

// confinedPart is about a program in another namespace than the first process:
// it leaves all others alone.
func confinedPart(t *testing.T) {
	inNewNetns(t, func(t *testing.T) {
		others, _, err := reachable()
		if err != nil || len(others) > 0 {
			t.Errorf("from a part: got %v, %v; want none", others, err)
		}
	})
}

// startHolding waits until the process says that it holds its connection.
func startHolding(t *testing.T, cmd *exec.Cmd) *bufio.Scanner {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "holding") {
			return lines
		}
	}
	t.Fatal("a process that should hold a connection ended")
	return nil
}

// holdInThread has a thread in a namespace in which the process is not.
func holdInThread(t *testing.T) {
	runtime.LockOSThread()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		shell(t, "ip link set lo up; ip link add d0 type veth peer name d1; ip addr add 192.0.2.1/24 dev d0; ip link set d0 up")
		c, err := net.Dial("udp", "192.0.2.9:9999")
		if err != nil {
			done <- err
			return
		}
		fmt.Println("holding")
		_, err = c.Read(make([]byte, 1))
		if errors.Is(err, unix.ECONNABORTED) {
			fmt.Println("gone")
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
