package platform

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// rootOnly makes a folder that is root's from the top on.
func rootOnly(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, whose files these are")
	}
	dir, err := os.MkdirTemp("/var/lib", "firebreak-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReadStateRefuses(t *testing.T) {
	dir := rootOnly(t)
	for name, c := range map[string]struct {
		prepare func(path string) error
		want    error
	}{
		"plain":            {func(string) error { return nil }, nil},
		"writable by all":  {func(p string) error { return os.Chmod(p, 0o666) }, ErrUnsupported},
		"of its user":      {func(p string) error { return os.Chown(p, 1234, 1234) }, nil},
		"of another user":  {func(p string) error { return os.Chown(p, 1235, 1235) }, ErrUnsupported},
		"a second name":    {func(p string) error { return os.Link(p, p+"2") }, ErrUnsupported},
		"a link":           {func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/etc/passwd", p)) }, ErrUnsupported},
		"a pipe":           {func(p string) error { return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o600)) }, ErrUnsupported},
		"folder of a user": {func(p string) error { return os.Chown(filepath.Dir(p), 1234, 0) }, ErrUnsupported},
		"folder of all":    {func(p string) error { return os.Chmod(filepath.Dir(p), 0o777) }, ErrUnsupported},
		"folder like tmp":  {func(p string) error { return os.Chmod(filepath.Dir(p), 0o777|os.ModeSticky) }, nil},
		"folder is a link": {func(p string) error {
			d := filepath.Dir(p)
			return errors.Join(os.Rename(d, d+"2"), os.Symlink(d+"2", d))
		}, nil},
		"larger than large": {func(p string) error { return os.Truncate(p, maxSupervisorFile+1) }, ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if err := os.Mkdir(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(folder, "x")
			put(t, path, "text")
			if err := c.prepare(path); err != nil {
				t.Fatal(err)
			}
			f, err := readState(path, 1234)
			if !errors.Is(err, c.want) || err == nil && f.Absent {
				t.Errorf("got %+v, %v; want %v", f, err, c.want)
			}
		})
	}
}

func TestFileEdit(t *testing.T) {
	path := filepath.Join(rootOnly(t), "x")
	put(t, path, "a\nb\n")
	if err := errors.Join(os.Chown(path, 1234, 1235), os.Chmod(path, 0o640)); err != nil {
		t.Fatal(err)
	}
	before, err := readState(path, 1234)
	if err != nil {
		t.Fatal(err)
	}
	m := markOf("cron", "a")
	off := func(text string) (string, error) { return strings.Replace(text, "a\n", m.off("a\n"), 1), nil }
	on := func(text string) (string, error) { return m.takeBack(text), nil }
	is := func(want string) {
		t.Helper()
		now, err := readState(path, 1234)
		if err != nil || string(now.Data) != want || now.Mode != before.Mode || now.UID != 1234 || now.GID != 1235 {
			t.Errorf("got %q %o %d %d, %v; want %q %o 1234 1235", now.Data, now.Mode, now.UID, now.GID, err, want, before.Mode)
		}
	}
	if err := before.edit(off); err != nil {
		t.Fatal(err)
	}
	is(m.off("a\n") + "b\n")
	if err := before.edit(on); err != nil {
		t.Fatal(err)
	}
	is("a\nb\n")

	if err := before.edit(off); err != nil {
		t.Fatal(err)
	}
	changed := m.off("a\n") + "b\nsomebody's\n"
	put(t, path, changed)
	if err := before.edit(on); !errors.Is(err, ErrChanged) {
		t.Errorf("put back over a change: got %v; want ErrChanged", err)
	}
	is(changed)
	put(t, path, m.off("a\n")+"b\n")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := before.edit(on); !errors.Is(err, ErrChanged) {
		t.Errorf("put back over another mode: got %v; want ErrChanged", err)
	}
	if names, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(names) > 0 {
		t.Errorf("left over: %v", names)
	}
}

func TestFileMake(t *testing.T) {
	f := FileState{Path: filepath.Join(rootOnly(t), "down"), Absent: true, Closed: hashOf(downText)}
	for range 2 {
		if err := f.make(downText); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := f.unmake(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(f.Path); err == nil {
			t.Fatal("still there")
		}
	}
	put(t, f.Path, "somebody's")
	if err := errors.Join(f.make(downText)); !errors.Is(err, ErrChanged) {
		t.Errorf("make over another: got %v; want ErrChanged", err)
	}
	if err := f.unmake(); !errors.Is(err, ErrChanged) {
		t.Errorf("take another away: got %v; want ErrChanged", err)
	}
}
