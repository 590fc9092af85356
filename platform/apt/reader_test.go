package apt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

const (
	mainList     = "var/lib/apt/lists/deb.debian.org_debian_dists_bookworm_main_binary-amd64_Packages"
	securityInfo = "var/lib/apt/lists/deb.debian.org_debian-security_dists_bookworm-security_InRelease"
	mainInfo     = "var/lib/apt/lists/deb.debian.org_debian_dists_bookworm_InRelease"
)

func state(t *testing.T, r *Reader) State {
	t.Helper()
	s, err := r.State(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestCompressed reads a list in all ways in which apt keeps one, whole and cut off.
func TestCompressed(t *testing.T) {
	root := unpack(t, "testdata/plain.txtar").root
	text, err := os.ReadFile(filepath.Join(root, mainList))
	if err != nil {
		t.Fatal(err)
	}
	want := describe(state(t, New(root)))
	if err := os.Remove(filepath.Join(root, mainList)); err != nil {
		t.Fatal(err)
	}
	for ext, open := range map[string]func(io.Writer) (io.WriteCloser, error){
		".lz4": func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil },
		".gz":  func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		".zst": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
		".xz":  func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
	} {
		var b bytes.Buffer
		w, err := open(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, mainList+ext)
		write(t, path, b.String())
		if got := describe(state(t, New(root))); got != want {
			t.Errorf("%s: got:\n%swant:\n%s", ext, got, want)
		}
		for _, n := range []int{1, b.Len() / 2, b.Len() - 1} {
			write(t, path, b.String()[:n])
			if s := state(t, New(root)); len(s.Problems) == 0 {
				t.Errorf("%s cut to %d of %d bytes: no problem", ext, n, b.Len())
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRemembers changes one file after the other: each is noticed, and where nothing
// changed nothing is read.
func TestRemembers(t *testing.T) {
	root := unpack(t, "testdata/plain.txtar").root
	long := time.Now().Add(-time.Hour)
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(path, long, long))
	})
	if err != nil {
		t.Fatal(err)
	}
	r := New(root)
	state(t, r)
	read := r.read
	if state(t, r); read == nil || r.read != read {
		t.Error("read again what had not changed")
	}
	for _, change := range []struct{ path, text string }{
		{mainList, "Package: a\nVersion: 3\nArchitecture: amd64\n"},
		{"etc/apt/preferences", "Package: a\nPin: version 1\nPin-Priority: 1000\n"},
		{"etc/apt/preferences.d/x", "Package: b\nPin: version 1\nPin-Priority: 1000\n"},
		{"etc/apt/sources.list.d/x.list", "deb http://example.org x main\n"},
		{"etc/apt/apt.conf.d/x", "APT::Default-Release bookworm;\n"},
		{statusFile, "Package: a\nStatus: install ok installed\nVersion: 9\nArchitecture: amd64\n"},
		{"var/lib/apt/periodic/update-success-stamp", ""},
	} {
		read := r.read
		write(t, filepath.Join(root, change.path), change.text)
		if state(t, r); r.read == read {
			t.Errorf("%s changed, and was not noticed", change.path)
		}
	}
	if s := state(t, r); s.Installed != 1 {
		t.Errorf("%d packages installed; want 1", s.Installed)
	}
}

func TestNoDatabase(t *testing.T) {
	root := t.TempDir()
	if _, err := New(root).State(context.Background()); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("got %v; want ErrNoDatabase", err)
	}
	write(t, filepath.Join(root, statusFile), "")
	if _, err := New(root).State(context.Background()); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("empty: got %v; want ErrNoDatabase", err)
	}
}

// TestListsAsOf sets times as hosts have them. The lists are put in place when the test
// runs, so that of them only the time of their folder can be chosen.
func TestListsAsOf(t *testing.T) {
	day := func(s string) time.Time {
		at, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	release := func(date, until string) string {
		text := "Codename: x\n"
		for field, value := range map[string]string{"Date": date, "Valid-Until": until} {
			if value != "" {
				text += field + ": " + day(value).Format(time.RFC1123) + "\n"
			}
		}
		return text
	}
	for _, c := range []struct {
		name, main, security, folder, success, daily, want string
	}{
		{name: "the folder", main: release("2026-01-01", ""), security: release("2026-01-02", ""), folder: "2026-02-01", want: "2026-02-01"},
		{name: "no update since, but asked", main: release("2026-01-01", ""), folder: "2026-02-01", success: "2026-03-01", want: "2026-03-01"},
		{name: "asked by the timer", main: release("2026-01-01", ""), folder: "2026-02-01", daily: "2026-03-01", want: "2026-03-01"},
		{name: "no longer vouched for", main: release("2026-01-01", ""), security: release("2026-01-02", "2026-01-09"), folder: "2026-02-01", daily: "2026-03-01", want: "2026-01-09"},
		{name: "stamp older than the lists", main: release("2026-01-01", ""), folder: "2026-02-01", success: "2025-03-01", want: "2026-02-01"},
		{name: "folder older than the archive", main: release("2026-01-05", ""), security: release("2026-01-03", ""), folder: "2026-01-01", want: "2026-01-03"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := unpack(t, "testdata/plain.txtar").root
			write(t, filepath.Join(root, mainInfo), c.main)
			if c.security == "" {
				c.security = c.main
			}
			write(t, filepath.Join(root, securityInfo), c.security)
			for path, at := range map[string]string{"var/lib/apt/periodic/update-success-stamp": c.success, "var/lib/apt/periodic/update-stamp": c.daily, "var/lib/apt/lists": c.folder} {
				if at == "" {
					continue
				}
				path = filepath.Join(root, path)
				if !strings.HasSuffix(path, "lists") {
					write(t, path, "")
				}
				if err := os.Chtimes(path, day(at), day(at)); err != nil {
					t.Fatal(err)
				}
			}
			if got := state(t, New(root)).ListsAsOf; !got.Equal(day(c.want)) {
				t.Errorf("got %s; want %s", got, c.want)
			}
		})
	}
}
