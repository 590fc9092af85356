//go:build linux

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Wine runs programs for Windows. It is that of Debian 13, whose version 10 tells
// the process of a listener and lacks less than the 8 of Debian 12, in a root file
// system of its own.
type Wine struct{ root string }

const (
	wineSuite    = "trixie"
	winePackages = "wine,wine64"
	// wineRecipe makes the first C: drive. wineboot says nothing when it fails.
	wineRecipe = `
export WINEPREFIX=/prefix WINEDEBUG=-all WINEDLLOVERRIDES=mscoree,mshtml=
wineboot -i >/dev/null 2>&1 </dev/null
wineserver -w
test -f /prefix/drive_c/windows/system32/kernel32.dll
rm -rf /var/cache/apt/archives/*.deb
`
)

// NewWine returns a Wine with nothing installed on its C: drive. A computer that
// cannot have one skips the test, or fails it if FIREBREAK_LAB is required.
func NewWine(t *testing.T) *Wine {
	t.Helper()
	Need(t)
	from, err := cached(wineSuite+winePackages+wineRecipe, func(dir string) error {
		root, err := debian(dir, wineSuite, winePackages)
		if err != nil {
			return err
		}
		return inside(root, "sh", "-ec", wineRecipe).Run()
	})
	if err != nil {
		t.Fatalf("make Wine: %v", err)
	}
	w := &Wine{root: filepath.Join(from, "root")}
	return w
}

// inside runs a command with another root, in which this computer's file system is
// at /host, with processes of its own that all end with the command.
func inside(root string, command ...string) *exec.Cmd {
	const enter = `mkdir -p "$0/host" && mount --rbind / "$0/host" && mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" &&
		root=$0 && dir=$PWD && exec chroot "$root" sh -c 'cd "/host$0" 2>/dev/null || cd /; exec "$@"' "$dir" "$@"`
	cmd := exec.Command("unshare", append([]string{"--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", enter, root}, command...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"}
	return cmd
}

// Test runs the tests of a package of this module in Wine, and returns what they
// print. The error says that one failed.
func (w *Wine) Test(t *testing.T, pkg string) (string, error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "firebreak-wine-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	exe := filepath.Join(dir, "test.exe")
	build := exec.Command("go", "test", "-c", "-o", exe, pkg)
	build.Env = append(os.Environ(), "GOOS=windows", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return string(out), fmt.Errorf("build tests: %w", err)
	}
	if _, err := os.Stat(exe); err != nil {
		return "", nil // it has no tests
	}
	folder, err := exec.Command("go", "list", "-f", "{{.Dir}}", pkg).Output()
	if err != nil {
		t.Fatal(err)
	}
	run := w.command(dir, exe, "-test.v", "-test.timeout=5m")
	run.Dir = strings.TrimSpace(string(folder))
	out, err := run.CombinedOutput()
	return string(out), err
}

// command runs a program for Windows on a C: drive of its own, which is made anew
// in dir.
func (w *Wine) command(dir, exe string, args ...string) *exec.Cmd {
	const start = `cp -a /prefix "/host$0/prefix" && export WINEPREFIX="/host$0/prefix" WINEDEBUG=-all &&
		trap 'wineserver -k' EXIT && wine "$@" </dev/null`
	return inside(w.root, append([]string{"sh", "-c", start, dir, "/host" + exe}, args...)...)
}
