//go:build linux

package lab

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Computer is a host without systemd: a process tree with its own network,
// processes, mounts and disk, that boots in a moment. Its power can be cut often.
type Computer struct {
	host   *Host // its root, its disk and its network
	cgroup Cgroup
	cmd    *exec.Cmd
}

// pid1 is the first program of a computer.
const pid1 = `
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
cat /proc/sys/kernel/random/uuid >/run/boot_id
mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
exec sleep infinity`

// NewComputer makes a computer, whose agent has this program, this policy, and a
// disk for its state.
func (n *Network) NewComputer(t testing.TB, name string, place int, program []byte, policy string) *Computer {
	t.Helper()
	c := &Computer{host: n.host(name, place)}
	err := c.host.create()
	if err == nil {
		err = c.host.addDisk("/var/lib/firebreak")
	}
	if err == nil {
		c.cgroup, err = n.site.Cgroup(name)
	}
	if err != nil {
		t.Fatalf("make %s: %v", name, err)
	}
	c.host.put(t, c.host.root(), agentPath, 0o755, program)
	c.host.put(t, c.host.root(), "/etc/firebreak/policy.yaml", 0o644, []byte(policy))
	return c
}

// Boot starts the computer, in a network namespace of this boot alone.
func (c *Computer) Boot(t testing.TB) {
	t.Helper()
	h := c.host
	err := h.plug()
	if err != nil {
		t.Fatalf("boot %s: %v", h.Name, err)
	}
	args := c.cgroup.Command("nsenter", "--net="+h.ns.Path(), "unshare", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child",
		"chroot", h.root(), "sh", "-ec", pid1)
	c.cmd = exec.Command(args[0], args[1:]...)
	if err := c.cmd.Start(); err != nil {
		t.Fatalf("boot %s: %v", h.Name, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = poll(ctx, 5*time.Millisecond, func() (err error) {
		if h.init, err = firstChild(c.cmd.Process.Pid); err != nil {
			return err
		}
		out, err := c.enter(ctx, "sh", "-c", "grep -q boot_id /proc/self/mountinfo && echo up").Output()
		if strings.TrimSpace(string(out)) != "up" {
			return fmt.Errorf("not up yet: %w", err)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("boot %s: %v", h.Name, err)
	}
}

func (c *Computer) enter(ctx context.Context, args ...string) *exec.Cmd {
	enter := []string{"--target", fmt.Sprint(c.host.init), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd=/", "--"}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root"}
	return cmd
}

// Try runs a program there and returns what it said.
func (c *Computer) Try(args ...string) (said string, code int) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := c.enter(ctx, args...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Start starts a program there, which runs until the power is cut. What it said
// can be asked for then.
func (c *Computer) Start(t testing.TB, args ...string) (said func() string) {
	t.Helper()
	var screen bytes.Buffer
	cmd := c.enter(context.Background(), args...)
	cmd.Stdout, cmd.Stderr = &screen, &screen
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: start %s: %v", c.host.Name, args[0], err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	return func() string { <-done; return screen.String() }
}

// CutPower ends the computer from one instant to the next; see Host.CutPower.
func (c *Computer) CutPower(t testing.TB, look func()) {
	t.Helper()
	h := c.host
	ended := make(chan struct{})
	cmd := c.cmd
	h.ended = ended
	go func() { _ = cmd.Wait(); close(ended) }()
	h.CutPower(t, look)
}

// Do calls f on a thread in the computer's network namespace; see Namespace.Do.
func (c *Computer) Do(f func() error) error { return c.host.ns.Do(f) }
