package rpm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestInstalledAsRPMSays builds packages, installs them into a database and
// compares with what rpm reads there.
func TestInstalledAsRPMSays(t *testing.T) {
	h := newHost(t)
	h.install(
		pkg{name: "bash", version: "5.1.8", release: "6.el9"},
		pkg{name: "bind", epoch: 32, version: "9.16.23", release: "1.el9", files: 3000},
		pkg{name: "tzdata", version: "2026a", release: "1.el9", arch: "noarch"},
		pkg{name: "kernel-core", version: "5.14.0", release: "1.el9"},
		pkg{name: "kernel-core", version: "5.14.0", release: "2.el9"},
	)
	h.compare()
	// The second time, most of the pages have been used before.
	h.run("rpm", "--dbpath", h.db(), "-e", "--justdb", "--nodeps", "bash", "kernel-core-5.14.0-1.el9")
	h.compare()
	many := pkg{name: "many", version: "7", release: "1"} // so that the table is more than one page deep
	for i := range 300 {
		many.lines = append(many.lines, fmt.Sprintf("%%package -n many-%d\nSummary: s\n%%description -n many-%d\nd\n%%files -n many-%d\n", i, i, i))
	}
	h.install(many)
	h.compare()
}

// host is a file system with packages of rpm, made for a test.
type host struct {
	*testing.T
	root string
}

func newHost(t *testing.T) *host {
	for _, tool := range []string{"rpm", "rpmbuild"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s, to make packages", tool)
		}
	}
	h := &host{T: t, root: t.TempDir()}
	if err := os.MkdirAll(h.db(), 0o755); err != nil {
		t.Fatal(err)
	}
	h.run("rpm", "--dbpath", h.db(), "--initdb")
	return h
}

func (h *host) db() string { return filepath.Join(h.root, "var/lib/rpm") }

func (h *host) run(name string, args ...string) string {
	h.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		h.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// pkg is a package to be built.
type pkg struct {
	name             string
	epoch            int
	version, release string
	arch             string // "" is x86_64
	module           string
	files            int
	lines            []string // of the preamble
}

// build builds packages into a folder, with one run for all of them.
func (h *host) build(dir string, all ...pkg) (paths []string) {
	h.Helper()
	specs := h.TempDir()
	args := []string{
		"-bb", "--quiet", "--define", "_topdir " + h.TempDir(), "--define", "_rpmdir " + dir,
		"--define", "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
		"--define", "_build_id_links none", "--define", "debug_package %{nil}",
		"--target", "x86_64-linux",
	}
	for i, p := range all {
		if p.arch == "" {
			p.arch = "x86_64"
		}
		spec := filepath.Join(specs, fmt.Sprintf("%d.spec", i))
		writeFile(h.T, spec, p.spec())
		args = append(args, spec)
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("%s-%s-%s.%s.rpm", p.name, p.version, p.release, p.arch)))
	}
	h.run("rpmbuild", args...)
	return paths
}

func (p pkg) spec() string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "Name: %s\nVersion: %s\nRelease: %s\nSummary: s\nLicense: l\n", p.name, p.version, p.release)
	if p.epoch > 0 {
		fmt.Fprintf(b, "Epoch: %d\n", p.epoch)
	}
	if p.arch == "noarch" {
		b.WriteString("BuildArch: noarch\n")
	}
	if p.module != "" {
		fmt.Fprintf(b, "ModularityLabel: %s\n", p.module)
	}
	fmt.Fprintf(b, "%s\n%%description\nd\n", strings.Join(p.lines, "\n"))
	fmt.Fprintf(b, "%%install\nmkdir -p %%{buildroot}/opt/%s\n", p.name)
	fmt.Fprintf(b, "for i in $(seq %d); do echo $i >%%{buildroot}/opt/%s/file-$i; done\n", p.files, p.name)
	fmt.Fprintf(b, "%%files\n/opt/%s\n", p.name)
	return b.String()
}

// install puts packages into the database, and only there.
func (h *host) install(all ...pkg) {
	h.Helper()
	args := []string{"--dbpath", h.db(), "-i", "--justdb", "--nodeps", "--ignorearch", "--nosignature", "--force"}
	dir := h.TempDir()
	h.build(dir, all...)
	paths, err := filepath.Glob(dir + "/*.rpm")
	if err != nil || len(paths) < len(all) {
		h.Fatalf("built %d packages of %d: %v", len(paths), len(all), err)
	}
	h.run("rpm", append(args, paths...)...)
}

// compare holds what is read against what rpm says.
func (h *host) compare() {
	h.Helper()
	const format = `%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE} %{ARCH} %{SOURCERPM}\n`
	want := strings.Split(strings.TrimSpace(h.run("rpm", "--dbpath", h.db(), "-qa", "--qf", format)), "\n")
	path, err := findDatabase(h.root)
	if err != nil {
		h.Fatal(err)
	}
	all, err := readInstalled(context.Background(), path)
	if err != nil {
		h.Fatal(err)
	}
	var got []string
	for _, p := range all {
		got = append(got, fmt.Sprintf("%s %d:%s-%s %s %s-%s-%s.src.rpm",
			p.name, p.evr.epoch, p.evr.version, p.evr.release, p.arch, p.source, p.evr.version, p.evr.release))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		h.Errorf("got %d packages\n%s\nwant %d\n%s", len(got), strings.Join(got, "\n"), len(want), strings.Join(want, "\n"))
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
