//go:build linux

package lab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Disk is a small disk of its own for one folder of a host. When the power is
// cut, what the host had not synced to it is lost, as with a real one.
type Disk struct {
	image  string
	at     string // where it is mounted
	device string // the loop device, "loop3"
}

// newDisk makes an empty disk.
func newDisk(image string) (*Disk, error) {
	if err := run("mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0", image, "16M"); err != nil {
		return nil, err
	}
	return &Disk{image: image}, nil
}

// mount mounts the disk. Only what a program syncs is written: the file system
// would write by itself after five minutes.
func (d *Disk) mount(at string) error {
	if err := os.MkdirAll(at, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if err := run("mount", "-o", "loop,commit=300", d.image, at); err != nil {
		return err
	}
	out, err := exec.Command("losetup", "--noheadings", "--output", "NAME", "--associated", d.image).Output()
	if err != nil {
		return fmt.Errorf("find loop device: %w", err)
	}
	d.at, d.device = at, filepath.Base(strings.TrimSpace(string(out)))
	return nil
}

// content is what is on the disk at one instant: it is read again if something
// was written meanwhile.
func (d *Disk) content() ([]byte, error) {
	for {
		before, busy, err := d.written()
		if err != nil {
			return nil, err
		}
		data, err := os.ReadFile(d.image)
		if err != nil {
			return nil, fmt.Errorf("copy disk: %w", err)
		}
		after, still, err := d.written()
		if err != nil {
			return nil, err
		}
		if !busy && !still && before == after {
			return data, nil
		}
	}
}

// written tells how often the disk was written to, and whether it is just now;
// see the kernel's Documentation/block/stat.rst.
func (d *Disk) written() (count string, busy bool, err error) {
	text, err := os.ReadFile("/sys/block/" + d.device + "/stat")
	if err != nil {
		return "", false, fmt.Errorf("read disk statistics: %w", err)
	}
	f := bytes.Fields(text)
	if len(f) < 9 {
		return "", false, fmt.Errorf("read disk statistics: %q", text)
	}
	return string(f[4]), string(f[8]) != "0", nil
}

// replace takes the disk out of the host that lost its power, and puts one with
// this content in its place.
func (d *Disk) replace(content []byte) error {
	if err := unix.Unmount(d.at, 0); err != nil {
		return fmt.Errorf("unmount disk: %w", err)
	}
	if err := os.WriteFile(d.image+".new", content, 0o600); err != nil {
		return fmt.Errorf("write disk: %w", err)
	}
	if err := os.Rename(d.image+".new", d.image); err != nil {
		return fmt.Errorf("write disk: %w", err)
	}
	return d.mount(d.at)
}

// addDisk gives a folder of the host a disk of its own. The host is not
// running yet.
func (h *Host) addDisk(folder string) (err error) {
	if h.disk, err = newDisk(filepath.Join(h.dir(), "disk")); err != nil {
		return err
	}
	return h.disk.mount(filepath.Join(h.root(), folder))
}

// BootWithDisk boots one host on which a folder has a disk of its own, so that
// its power can be cut.
func (n *Network) BootWithDisk(t testing.TB, name, folder string) *Host {
	t.Helper()
	h := n.host(name, 0)
	err := h.create()
	if err == nil {
		err = h.addDisk(folder)
	}
	if err == nil {
		err = h.boot()
	}
	if err != nil {
		t.Fatalf("boot %s: %v", name, err)
	}
	return h
}

// CutPower ends the host from one instant to the next. What its disk does not
// have is lost. Look is called right before and right after that instant.
func (h *Host) CutPower(t testing.TB, look func()) {
	t.Helper()
	look()
	content, err := h.disk.content()
	look()
	if err != nil {
		t.Fatalf("%s: %v", h.Name, err)
	}
	if err := unix.Kill(h.init, unix.SIGKILL); err != nil {
		t.Fatalf("%s: end its PID 1: %v", h.Name, err)
	}
	<-h.ended
	if err := h.ns.Delete(); err != nil {
		t.Fatalf("%s: %v", h.Name, err)
	}
	if err := h.disk.replace(content); err != nil {
		t.Fatalf("%s: %v", h.Name, err)
	}
}

// BootAgain boots a host whose power was cut.
func (h *Host) BootAgain(t testing.TB) {
	t.Helper()
	if err := h.boot(); err != nil {
		t.Fatalf("%s: boot again: %v", h.Name, err)
	}
}
