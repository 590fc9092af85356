package platform

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// image is a root file system in a folder of its own.
type image struct {
	t    *testing.T
	root string
}

func newImage(t *testing.T) image {
	t.Helper()
	return image{t, filepath.Join(t.TempDir(), "image")}
}

func (i image) write(name, text string) image {
	i.t.Helper()
	path := filepath.Join(i.root, name)
	i.must(os.MkdirAll(filepath.Dir(path), 0o755))
	i.must(os.WriteFile(path, []byte(text), 0o644))
	return i
}

func (i image) link(name, target string) image {
	i.t.Helper()
	path := filepath.Join(i.root, name)
	i.must(os.MkdirAll(filepath.Dir(path), 0o755))
	i.must(os.Symlink(target, path))
	return i
}

func (i image) must(err error) {
	i.t.Helper()
	if err != nil {
		i.t.Fatal(err)
	}
}

// A link is followed as the image's own programs would follow it: what it leads
// to on the host must not be read.
func TestReadOSLinks(t *testing.T) {
	const inside = "ID=inside\n"
	for name, image := range map[string]image{
		"relative":             newImage(t).write("usr/lib/os-release", inside).link("etc/os-release", "../usr/lib/os-release"),
		"absolute":             newImage(t).write("usr/lib/os-release", inside).link("etc/os-release", "/usr/lib/os-release"),
		"above the root":       newImage(t).write("usr/lib/os-release", inside).link("etc/os-release", "../../../../../../usr/lib/os-release"),
		"through a folder":     newImage(t).write("system/etc/os-release", inside).link("etc", "/system/etc"),
		"chained":              newImage(t).write("real", inside).link("a/b", "/a/c").link("a/c", "../real").link("etc/os-release", "/a/b"),
		"only in usr":          newImage(t).write("usr/lib/os-release", inside),
		"dangling, but in usr": newImage(t).write("usr/lib/os-release", inside).link("etc/os-release", "/nowhere"),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadOS(image.root)
			if err != nil || got.ID != "inside" {
				t.Errorf("got ID %q, error %v; want the file inside the image", got.ID, err)
			}
			if got.Kernel != "" || got.Arch != "" {
				t.Errorf("got kernel %q of the host for an image", got.Kernel)
			}
		})
	}
}

func TestReadOSRefuses(t *testing.T) {
	fifo := newImage(t).write("etc/other", "")
	fifo.must(syscall.Mkfifo(filepath.Join(fifo.root, "etc/os-release"), 0o644))
	for name, test := range map[string]struct {
		root string
		want string
	}{
		"nothing there":     {newImage(t).write("etc/hostname", "x").root, "neither"},
		"no such root":      {filepath.Join(t.TempDir(), "missing"), "no such file"},
		"a circle of links": {newImage(t).link("etc/os-release", "/etc/os-release").root, "too many levels"},
		"a pipe":            {fifo.root, "not a regular file"},
		"a folder":          {newImage(t).write("etc/os-release/x", "").root, "not a regular file"},
		"a megabyte":        {newImage(t).write("etc/os-release", strings.Repeat("\x00garbage=\n", 100_000)).root, "larger than 64 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ReadOS(test.root); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v; want one with %q", err, test.want)
			}
		})
	}
}

func TestReadOSFacts(t *testing.T) {
	i := newImage(t).
		write("etc/os-release", "ID=ubuntu\nVERSION_ID=20.04\nVERSION_CODENAME=focal\nUBUNTU_CODENAME=focal\nID_LIKE='debian x'\nNAME=Ubuntu\nVERSION='20.04 LTS'\nSUPPORT_END=2025-05-29\n").
		write("etc/debian_version", "bullseye/sid\n").
		write("usr/share/distro-info/ubuntu.csv", "version,codename\n").
		write("etc/apt/sources.list.d/pro.sources", "Types: deb\nURIs: https://esm.ubuntu.com/infra/ubuntu\n").
		write("etc/apt/sources.list", "deb http://deb.freexian.com/extended-lts buster main\n").
		write("etc/products.d/SLES-LTSS.prod", "").
		write("var/lib/apt/lists/x_InRelease", "").
		write("var/lib/apt/lists/y_Packages", "")
	synced := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	i.must(os.Chtimes(filepath.Join(i.root, "var/lib/apt/lists/x_InRelease"), synced, synced))
	ostree := time.Unix(0, 0)
	i.must(os.Chtimes(filepath.Join(i.root, "etc/os-release"), ostree, ostree))

	got, err := ReadOS(i.root)
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "Ubuntu 20.04 LTS" || got.UpstreamCodename != "focal" || got.SupportEnd != "2025-05-29" || got.DebianVersion != "bullseye/sid" {
		t.Errorf("got %+v", got)
	}
	if !slices.Equal(got.IDLike, []string{"debian", "x"}) {
		t.Errorf("ID_LIKE: got %q", got.IDLike)
	}
	if want := []string{"ubuntu-pro", "elts", "sles-ltss"}; !slices.Equal(got.ExtendedSupport, want) {
		t.Errorf("extended support: got %q; want %q", got.ExtendedSupport, want)
	}
	if len(got.Lifecycle) != 1 || got.Lifecycle[0].Product != "ubuntu" || got.Lifecycle[0].Modified.IsZero() {
		t.Errorf("lifecycle files: got %+v", got.Lifecycle)
	}
	if !got.LastSync.Equal(synced) {
		t.Errorf("last sync: got %v; want %v", got.LastSync, synced)
	}
	if !got.Modified.IsZero() {
		t.Errorf("os-release of 1970 is no date: got %v", got.Modified)
	}
}

func TestReadOSOfThisHost(t *testing.T) {
	if _, err := os.Stat("/etc/os-release"); err != nil {
		t.Skipf("this computer has no os-release: %v", err)
	}
	got, err := ReadOS("")
	if err != nil || got.ID == "" || got.Kernel == "" || got.Arch == "" {
		t.Errorf("got %+v, error %v", got, err)
	}
}

func BenchmarkReadOS(b *testing.B) {
	for b.Loop() {
		if _, err := ReadOS(""); err != nil {
			b.Skipf("this computer has no os-release: %v", err)
		}
	}
}
