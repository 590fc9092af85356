package packages

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const status = `Package: samba
Status: install ok installed
Architecture: amd64
Version: 2:4.17.12+dfsg-0+deb12u1
Description: SMB/CIFS file server
 Version: not this one

Package: samba-common
Status: install ok installed
Architecture: all
Version: 1

Package: libssl3
Status: install ok installed
Architecture: i386
Version: 3.0-i386
Multi-Arch: same

Package: libssl3
Status: install ok installed
Architecture: amd64
Version: 3.0-amd64
Multi-Arch: same

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 9
`

// database writes a dpkg database and returns its root.
func database(t *testing.T, lists map[string]string) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "var/lib/dpkg")
	if err := os.MkdirAll(filepath.Join(dir, "info"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "status"), status)
	for name, list := range lists {
		write(t, filepath.Join(dir, "info", name+".list"), list)
	}
	return root
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOwners(t *testing.T) {
	root := database(t, map[string]string{
		"samba":         "/.\n/usr\n/usr/sbin\n/usr/sbin/smbd\n",
		"samba-common":  "/.\n/sbin/merged\n/usr/sbin/smbd-helper",
		"libssl3:amd64": "/usr/lib/x86_64-linux-gnu/libssl.so.3\n",
		"removed":       "/usr/bin/removed\n",
		"empty":         "",
	})
	x := New(root)
	want := map[string]string{
		"/usr/sbin/smbd":                        "samba 2:4.17.12+dfsg-0+deb12u1",
		"/usr/sbin/merged":                      "samba-common 1",
		"/sbin/smbd":                            "samba 2:4.17.12+dfsg-0+deb12u1",
		"/usr/sbin/smbd-helper":                 "samba-common 1",
		"/usr/lib/x86_64-linux-gnu/libssl.so.3": "libssl3 3.0-amd64",
		"/usr/bin/removed":                      "removed",
	}
	paths := []string{"/usr/sbin/smb", "/usr/sbin/smbd\n", "/home/jd/smbd", "", "relative"}
	for p := range want {
		paths = append(paths, p)
	}
	for range 2 { // read, and remembered
		if got := x.Owners(paths); !maps.Equal(got, want) {
			t.Errorf("got %v; want %v", got, want)
		}
	}
}

func TestOwnersNoticesInstallation(t *testing.T) {
	root := database(t, nil)
	x := New(root)
	if got := x.Owners([]string{"/usr/sbin/smbd"}); len(got) != 0 {
		t.Fatalf("got %v; want no package yet", got)
	}
	write(t, filepath.Join(root, "var/lib/dpkg/info/samba.list"), "/usr/sbin/smbd\n")
	later := time.Now().Add(time.Second)
	if err := os.Chtimes(filepath.Join(root, "var/lib/dpkg/status"), later, later); err != nil {
		t.Fatal(err)
	}
	if got := x.Owners([]string{"/usr/sbin/smbd"})["/usr/sbin/smbd"]; got != "samba 2:4.17.12+dfsg-0+deb12u1" {
		t.Errorf("got %q; want samba", got)
	}
}

func TestOwnersWithoutDpkg(t *testing.T) {
	if got := New(t.TempDir()).Owners([]string{"/usr/sbin/smbd"}); len(got) != 0 {
		t.Errorf("got %v; want nothing", got)
	}
}

func FuzzEachListed(f *testing.F) {
	f.Add([]byte("/.\n/usr/sbin/smbd\n\n"))
	f.Fuzz(func(t *testing.T, list []byte) {
		n := 0
		eachListed(list, map[string][]string{"/usr/sbin/smbd": {"x"}, "": {"y"}}, func(string) { n++ })
		if n > len(list)+1 {
			t.Errorf("got %d lines in %d bytes", n, len(list))
		}
	})
}

func FuzzVersionIn(f *testing.F) {
	f.Add([]byte(status), "samba", "")
	f.Add([]byte("\n\nPackage: a\nPackage: a\nStatus: x x installed"), "a", "all")
	f.Fuzz(func(_ *testing.T, data []byte, name, arch string) { versionIn(data, name, arch) })
}
