//go:build linux

package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Host is a Debian computer with systemd.
type Host struct {
	Name string
	IPv4 netip.Addr
	IPv6 netip.Addr

	lower   string // the file systems below its own changes
	disk    *Disk  // nil: all is in memory
	number  int
	network *Network
	boots   int
	ns      Namespace
	nspawn  *exec.Cmd
	ended   chan struct{} // closed when nspawn has ended
	init    int           // its PID 1, as this machine sees it
	plugged func() error  // nil, or done at boot when its cable is in and it has no process yet
}

func (h *Host) dir() string  { return filepath.Join(h.network.site.Dir(), h.Name) }
func (h *Host) root() string { return filepath.Join(h.dir(), "root") }

// create gives the host a disk: the base, and its own changes in memory above.
func (h *Host) create() error {
	if err := os.Mkdir(h.dir(), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if err := unix.Mount("tmpfs", h.dir(), "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	upper, work := filepath.Join(h.dir(), "changes"), filepath.Join(h.dir(), "work")
	for _, dir := range []string{upper, work, h.root()} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	options := "lowerdir=" + h.lower + ",upperdir=" + upper + ",workdir=" + work
	if err := unix.Mount("overlay", h.root(), "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // it never fails
	// Without a machine ID systemd takes this for the first boot, and enables
	// every service.
	if err := os.WriteFile(filepath.Join(h.root(), "etc/machine-id"), []byte(hex.EncodeToString(id)+"\n"), 0o444); err != nil {
		return fmt.Errorf("write machine ID: %w", err)
	}
	return os.WriteFile(filepath.Join(h.root(), "etc/hostname"), []byte(h.Name+"\n"), 0o644)
}

// boot starts the host in a new network namespace: with the old one, a firewall
// would outlive the boot.
func (h *Host) boot() (err error) {
	h.boots++
	name := fmt.Sprintf("%s-%d", h.Name, h.boots)
	if h.ns, err = h.network.site.Namespace(name); err != nil {
		return err
	}
	if err := h.ns.Plug(h.network.hub, "host0", h.port(), prefixes(h.number)...); err != nil {
		return err
	}
	if h.plugged != nil {
		if err := h.plugged(); err != nil {
			return err
		}
	}
	cgroup, err := h.network.site.Cgroup(name)
	if err != nil {
		return err
	}
	console, err := os.Create(filepath.Join(h.dir(), "console"))
	if err != nil {
		return fmt.Errorf("open console: %w", err)
	}
	defer console.Close()
	args := cgroup.Command(h.nspawnArgs()...)
	h.nspawn = exec.Command(args[0], args[1:]...)
	h.nspawn.Stdout, h.nspawn.Stderr = console, console
	if err := h.nspawn.Start(); err != nil {
		return fmt.Errorf("start systemd-nspawn: %w", err)
	}
	ended, cmd := make(chan struct{}), h.nspawn
	h.ended = ended
	go func() { _ = cmd.Wait(); close(ended) }()
	if err := h.waitUntilUp(); err != nil {
		said, _ := os.ReadFile(console.Name())
		return fmt.Errorf("%w; its console: %s", err, lastLines(string(said), 15))
	}
	return nil
}

// plug makes the network namespace of the next boot.
func (h *Host) plug() (err error) {
	h.boots++
	if h.ns, err = h.network.site.Namespace(fmt.Sprintf("%s-%d", h.Name, h.boots)); err != nil {
		return err
	}
	return h.ns.Plug(h.network.hub, "host0", h.port(), prefixes(h.number)...)
}

// port is the far end of the host's cable, at the switch.
func (h *Host) port() string { return fmt.Sprintf("port%d-%d", h.number, h.boots) }

func (h *Host) nspawnArgs() []string {
	args := []string{
		"systemd-nspawn", "--quiet", "--directory=" + h.root(), "--boot",
		// Two networks may have a host of the same name; nspawn's own name is
		// for the machine, the host's is in /etc/hostname.
		"--machine=" + h.Name + "-" + h.network.site.ID, "--hostname=" + h.Name,
		"--network-namespace-path=" + h.ns.Path(), "--capability=all", "--register=no", "--keep-unit",
		"--system-call-filter=bpf perf_event_open @keyring",
		"--console=pipe", "--link-journal=no", "--resolv-conf=off", "--timezone=off",
	}
	if _, err := os.Stat("/sys/kernel/tracing/events"); err == nil {
		args = append(args, "--bind=/sys/kernel/tracing")
	}
	return args
}

func (h *Host) waitUntilUp() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	ended := h.ended
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := poll(ctx, 50*time.Millisecond, func() (err error) {
		if h.init, err = firstChild(h.nspawn.Process.Pid); err != nil {
			return err
		}
		_, err = os.Stat(h.path("/run/systemd/private"))
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for systemd: %w", err)
	}
	return poll(ctx, 100*time.Millisecond, func() error {
		out, _ := h.enter(ctx, "systemctl", "is-system-running").Output()
		switch state := strings.TrimSpace(string(out)); state {
		case "running":
			return nil
		case "degraded":
			failed, _ := h.enter(ctx, "systemctl", "--failed", "--plain", "--no-legend").Output()
			return fmt.Errorf("units failed at boot: %s", failed)
		default:
			return fmt.Errorf("systemd says: %s", state)
		}
	})
}

// firstChild returns the child of nspawn that is PID 1 of the host.
func firstChild(nspawn int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", nspawn, nspawn))
	if err != nil {
		return 0, err
	}
	for _, word := range strings.Fields(string(text)) {
		status, _ := os.ReadFile("/proc/" + word + "/status")
		for line := range strings.Lines(string(status)) {
			f := strings.Fields(line)
			if len(f) == 3 && f[0] == "NSpid:" && f[2] == "1" {
				return strconv.Atoi(word)
			}
		}
	}
	return 0, errors.New("find PID 1 of the host: not there yet")
}

// path is a file of the running host as this machine sees it, /run included.
func (h *Host) path(name string) string {
	return filepath.Join("/proc", strconv.Itoa(h.init), "root", name)
}

// enter runs a program that talks to the host's systemd. It is in the host's
// namespaces but not in its cgroup, so it is no way to start anything there.
func (h *Host) enter(ctx context.Context, args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(h.init), "--mount", "--uts", "--ipc", "--net", "--pid", "--"}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	cmd.WaitDelay = 5 * time.Second // for a child that outlives nsenter and holds its output
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
	return cmd
}

// Try runs a program on the host, started by the host's systemd in a unit of its
// own, and returns what it printed and its exit code.
func (h *Host) Try(args ...string) (stdout, stderr string, code int) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	start := []string{"systemd-run", "--pipe", "--wait", "--quiet", "--collect", "--setenv=HOME=/root", "--setenv=LC_ALL=C.UTF-8", "--"}
	cmd := h.enter(ctx, append(start, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		return "", err.Error(), -1
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Run is Try for what must succeed; it returns what the program printed, without
// the last newline.
func (h *Host) Run(t testing.TB, args ...string) string {
	t.Helper()
	out, errs, code := h.Try(args...)
	if code != 0 {
		t.Fatalf("%s: %s: exit code %d: %s%s", h.Name, strings.Join(args, " "), code, out, errs)
	}
	return strings.TrimSuffix(out, "\n")
}

// Put writes a file on the host, and the folders it is in.
func (h *Host) Put(t testing.TB, name string, mode os.FileMode, content []byte) {
	t.Helper()
	h.put(t, h.path("/"), name, mode, content)
}

func (h *Host) put(t testing.TB, root, name string, mode os.FileMode, content []byte) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatalf("%s: make folder: %v", h.Name, err)
	}
	// Written beside and renamed: a program that is running cannot be written.
	if err := os.WriteFile(path+".new", content, mode); err != nil {
		t.Fatalf("%s: write file: %v", h.Name, err)
	}
	if err := errors.Join(os.Chmod(path+".new", mode), os.Rename(path+".new", path)); err != nil {
		t.Fatalf("%s: write file: %v", h.Name, err)
	}
}

// Reboot restarts the host, and with it its network namespace.
func (h *Host) Reboot(t testing.TB) {
	t.Helper()
	old := h.ns
	h.Try("systemctl", "reboot")
	select {
	case <-h.ended: // with --keep-unit, systemd-nspawn leaves the second boot to us
	case <-time.After(time.Minute):
		t.Fatalf("%s: did not go down within a minute", h.Name)
	}
	if err := old.Delete(); err != nil {
		t.Fatalf("%s: %v", h.Name, err)
	}
	if err := h.boot(); err != nil {
		t.Fatalf("%s: boot again: %v", h.Name, err)
	}
}

// BootID is the kernel's name for this boot, as the host sees it.
func (h *Host) BootID(t testing.TB) string {
	t.Helper()
	return h.Run(t, "cat", "/proc/sys/kernel/random/boot_id")
}

// Reaches tells whether a program on the host can open a TCP connection.
func (h *Host) Reaches(to netip.Addr, port uint16) bool {
	_, _, code := h.Try("timeout", "2", "nc", "-z", to.String(), strconv.Itoa(int(port)))
	return code == 0
}
