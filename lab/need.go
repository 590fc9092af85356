//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// programs are what the lab runs on this machine.
var programs = []string{
	"apt-get", "chroot", "debootstrap", "go", "ip", "losetup", "mke2fs", "mount", "nmap",
	"nsenter", "ssh", "ssh-keygen", "systemd-nspawn", "umount", "unshare",
}

// Need skips the test where hosts cannot be booted, and says why.
func Need(t testing.TB) {
	t.Helper()
	wish := os.Getenv("FIREBREAK_LAB")
	err := able()
	switch {
	case wish == "off":
		t.Skip("the lab is switched off by FIREBREAK_LAB=off")
	case err != nil && wish == "required":
		t.Fatalf("the lab is required (FIREBREAK_LAB) and cannot work: %v", err)
	case err != nil:
		t.Skipf("the lab boots real hosts, which it cannot here: %v", err)
	}
}

func able() error {
	if os.Geteuid() != 0 {
		return errors.New("it needs root")
	}
	var missing []string
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not installed: %s", strings.Join(missing, ", "))
	}
	return nil
}

// run runs a program of this machine; its output is part of the error.
func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
