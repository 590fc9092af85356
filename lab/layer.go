//go:build linux

package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// with returns what an overlay needs to be the base with more Debian packages,
// from the cache or newly made, which takes a few seconds. Services among them
// are disabled: a test starts what it wants. apt is the machine's own, because
// it knows the way to Debian from here; only what it downloads goes into the
// base.
func (b base) with(packages []string) (lower string, err error) {
	dir := filepath.Dir(b.root)
	unlock, err := lock(filepath.Join(filepath.Dir(dir), "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	sum := sha256.Sum256([]byte(strings.Join(packages, " ")))
	layer := dir + "-" + hex.EncodeToString(sum[:6])
	lower = filepath.Join(layer, "changes") + ":" + b.root
	if _, err := os.Stat(layer); err == nil {
		return lower, nil
	}
	unfinished := layer + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", fmt.Errorf("remove an unfinished layer: %w", err)
	}
	if err := b.install(packages, unfinished); err != nil {
		return "", err
	}
	return lower, os.Rename(unfinished, layer)
}

// install makes the folder changes in dir, with the packages.
func (b base) install(packages []string, dir string) (err error) {
	from, err := aptSource()
	if err != nil {
		return err
	}
	debs := filepath.Join(dir, "debs")
	for _, name := range []string{"changes", "work", "root", "debs/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	download := exec.Command("apt-get", append([]string{
		"install", "--yes", "--no-install-recommends", "--download-only",
		"-o", "Dir::State::status=" + filepath.Join(b.root, "var/lib/dpkg/status"), "-o", "Dir::Cache::archives=" + debs,
		"-o", "APT::Default-Release=" + from.suite, "-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1",
	}, packages...)...)
	if out, err := download.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get: %w: %s", err, lastLines(string(out), 10))
	}
	root := filepath.Join(dir, "root")
	options := "lowerdir=" + b.root + ",upperdir=" + filepath.Join(dir, "changes") + ",workdir=" + filepath.Join(dir, "work")
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Unmount(root, 0), os.RemoveAll(debs)) }()
	if err := run("cp", "-r", debs, filepath.Join(root, "debs")); err != nil {
		return err
	}
	// No systemd runs in there, so no service is started.
	return run("chroot", append([]string{root, "sh", "-ec", `
		export DEBIAN_FRONTEND=noninteractive
		# A package that another one must be configured before is refused at first.
		dpkg --unpack /debs/*.deb || { dpkg --configure --pending || true; dpkg --unpack --skip-same-version /debs/*.deb; }
		dpkg --configure --pending
		for package in "$@"; do
			systemctl disable --quiet "$package.service" 2>/dev/null || true
		done
		rm -rf /debs`, "sh"}, packages...)...)
}
