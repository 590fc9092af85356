package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/lab"
)

// roles are the parts this program plays inside the throw-away computer.
var roles = map[string]func(args []string) error{
	"place":    place,
	"computer": computer,
	"listen":   listen,
}

// The folders of the throw-away computer; /run is its own, in memory.
const (
	programs = "/run/demo/bin"
	config   = "/run/demo/etc"
	state    = "/run/demo/state"
	socket   = "/run/demo/agent.sock"
)

// Computer is the throw-away computer: one process tree with its own network,
// processes, mounts, name and cgroup.
type Computer struct {
	place  *exec.Cmd
	pid1   string         // as the real computer counts
	orders io.WriteCloser // one program to start a line, as JSON
}

// start makes the computer. Its PID 1 ends when orders is closed, which happens
// at the latest when this program ends, and everything in it ends with it.
func start(site *lab.Site, network lab.Namespace, firebreak, policy string, log *os.File) (*Computer, error) {
	cgroup, err := site.Cgroup("computer")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	args := append([]string{"place", network.Path(), firebreak, policy}, cgroup.Dirs...)
	c := &Computer{place: exec.Command(self, args...)}
	c.place.Stderr = log
	// A terminal's Ctrl-C is for the story, which then takes all this away.
	c.place.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if c.orders, err = c.place.StdinPipe(); err != nil {
		return nil, fmt.Errorf("open pipe: %w", err)
	}
	ready, err := c.place.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("open pipe: %w", err)
	}
	if err := c.place.Start(); err != nil {
		return nil, fmt.Errorf("start the computer: %w", err)
	}
	var word string
	if _, err := fmt.Fscan(ready, &c.pid1, &word); err != nil || word != "ready" {
		return nil, fmt.Errorf("start the computer: it did not come up (%q)", word)
	}
	return c, nil
}

// run starts a program on the computer and does not wait for it.
func (c *Computer) run(args ...string) error {
	return json.NewEncoder(c.orders).Encode(args)
}

// command runs a program that talks to the agent there. It sees what the computer
// sees, and is not part of it.
func (c *Computer) command(ctx context.Context, args ...string) *exec.Cmd {
	enter := []string{"--target", c.pid1, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"}
	return exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
}

// stop ends the computer and everything on it.
func (c *Computer) stop() {
	c.orders.Close()
	_ = c.place.Wait() // killed or not, it is gone
}

// place goes to the cgroups and the network the computer will live in, and then
// makes it: the namespaces of a process are inherited, so they come first.
func place(args []string) error {
	network, firebreak, policy, cgroups := args[0], args[1], args[2], args[3:]
	for _, dir := range cgroups {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("enter cgroup: %w", err)
		}
	}
	runtime.LockOSThread() // the child is born on this thread, in its network
	ns, err := os.Open(network)
	if err != nil {
		return fmt.Errorf("open network: %w", err)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	pid1 := exec.Command(self, "computer", firebreak, policy)
	pid1.Stdin, pid1.Stdout, pid1.Stderr = os.Stdin, os.Stdout, os.Stderr
	pid1.SysProcAttr = &unix.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP,
		Pdeathsig:  unix.SIGKILL,
	}
	if err := pid1.Start(); err != nil {
		return fmt.Errorf("start PID 1: %w", err)
	}
	fmt.Println(pid1.Process.Pid)
	return pid1.Wait()
}

// computer is PID 1. It makes the file system its own, starts what it is told to
// start, and takes in the children nobody else waits for.
func computer(args []string) error {
	if err := furnish(args[0], args[1]); err != nil {
		return err
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	go func() {
		for range ended {
			for pid := 1; pid > 0; {
				pid, _ = unix.Wait4(-1, nil, unix.WNOHANG, nil)
			}
		}
	}()
	fmt.Println("ready")
	for orders := json.NewDecoder(os.Stdin); ; {
		var order []string
		err := orders.Decode(&order)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read order: %w", err)
		}
		_, err = os.StartProcess(order[0], order, &os.ProcAttr{
			Dir: "/", Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, Files: []*os.File{nil, os.Stderr, os.Stderr},
		})
		if err != nil {
			return fmt.Errorf("start %s: %w", order[0], err)
		}
	}
}

// furnish gives the computer its own view of processes and devices, puts memory
// where it may write, and makes the real computer's files read-only.
func furnish(firebreak, policy string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	agent, err := os.ReadFile(firebreak)
	if err != nil {
		return fmt.Errorf("read the agent: %w", err)
	}
	server, err := os.ReadFile(self)
	if err != nil {
		return fmt.Errorf("read this program: %w", err)
	}
	for _, m := range []struct {
		source, target, fstype string
		flags                  uintptr
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE}, // what is mounted here stays here
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"sysfs", "/sys", "sysfs", unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV},
		{"tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV},
		{"", "/", "", unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY},
	} {
		if err := unix.Mount(m.source, m.target, m.fstype, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	for _, dir := range []string{programs, config, state} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	return errors.Join(
		unix.Sethostname([]byte("throw-away")),
		os.WriteFile(filepath.Join(programs, "firebreak"), agent, 0o755),
		os.WriteFile(filepath.Join(programs, "redis-server"), server, 0o755),
		os.WriteFile(filepath.Join(programs, "web-server"), server, 0o755),
		os.WriteFile(filepath.Join(config, "policy.yaml"), []byte(policy), 0o644),
	)
}

// listen is a server that says one line to everybody who connects, as a database
// without a password does.
func listen(args []string) error {
	address, line := args[0], args[1]
	server, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	for {
		conn, err := server.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		_, _ = io.WriteString(conn, line+"\n") // whoever hangs up early misses it
		conn.Close()
	}
}
