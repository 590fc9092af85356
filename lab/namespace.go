//go:build linux

package lab

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace with a name that `ip netns` knows.
type Namespace struct {
	Name string
}

// Namespace makes a network namespace of the site.
func (s *Site) Namespace(name string) (Namespace, error) {
	n := Namespace{Name: s.namespacePrefix() + name}
	if err := run("ip", "netns", "add", n.Name); err != nil {
		return Namespace{}, err
	}
	return n, run("ip", "-n", n.Name, "link", "set", "lo", "up")
}

func (s *Site) namespacePrefix() string { return "fblab-" + s.ID + "-" }

func (s *Site) deleteNamespaces() error {
	names, err := filepath.Glob("/run/netns/" + s.namespacePrefix() + "*")
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, Namespace{Name: filepath.Base(name)}.Delete())
	}
	return errors.Join(errs...)
}

// Delete takes the namespace's name away; it ends with its last process.
func (n Namespace) Delete() error { return run("ip", "netns", "delete", n.Name) }

// Path is the file that stands for the namespace.
func (n Namespace) Path() string { return "/run/netns/" + n.Name }

// Do calls f on a thread that is in the namespace. Sockets that f opens stay in
// it; goroutines that f starts are not in it.
func (n Namespace) Do(f func() error) error { return doIn(n.Path(), f) }

func doIn(path string, f func() error) error {
	done := make(chan error)
	go func() {
		// The thread is never unlocked, so it ends with this goroutine and no
		// other one runs in the wrong namespace.
		runtime.LockOSThread()
		done <- enterAnd(path, f)
	}()
	return <-done
}

func enterAnd(path string, f func() error) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open namespace: %w", err)
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter namespace: %w", err)
	}
	return f()
}

// Switch makes the namespace a switch that Plug connects others to.
func (n Namespace) Switch() error {
	return errors.Join(
		run("ip", "-n", n.Name, "link", "add", "switch", "type", "bridge"),
		run("ip", "-n", n.Name, "link", "set", "switch", "up"),
	)
}

// hardwareAddress is the address of the interface behind a port of a switch: the
// same one whenever a host is started, as a network card has. Others would look for
// the old one for seconds.
func hardwareAddress(port string) string {
	sum := fnv.New32a()
	sum.Write([]byte(port))
	h := sum.Sum32()
	return fmt.Sprintf("02:fb:%02x:%02x:%02x:%02x", byte(h>>24), byte(h>>16), byte(h>>8), byte(h))
}

// Plug connects the namespace to a switch by an interface of the given name
// with these addresses.
func (n Namespace) Plug(to Namespace, name, port string, addrs ...netip.Prefix) error {
	steps := []string{
		"-n " + to.Name + " link add " + port + " type veth peer name " + name + " netns " + n.Name,
		"-n " + n.Name + " link set " + name + " address " + hardwareAddress(port),
		"-n " + to.Name + " link set " + port + " master switch up",
		"-n " + n.Name + " link set " + name + " up",
	}
	for _, a := range addrs {
		step := "-n " + n.Name + " addr add " + a.String() + " dev " + name
		if a.Addr().Is6() {
			step += " nodad" // usable at once
		}
		steps = append(steps, step)
	}
	for _, s := range steps {
		if err := run("ip", strings.Fields(s)...); err != nil {
			return err
		}
	}
	return nil
}
