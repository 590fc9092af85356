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

// TestPendingAsDNFSays builds a host and its repositories, has dnf fetch their
// metadata, and compares with what dnf says is out of date.
func TestPendingAsDNFSays(t *testing.T) {
	for _, tool := range []string{"dnf", "createrepo_c", "modifyrepo_c"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s, to compare with", tool)
		}
	}
	h := newHost(t)
	v := func(name, version string, lines ...string) pkg {
		return pkg{name: name, version: version, release: "1.el9", lines: lines}
	}
	noarch := func(p pkg) pkg { p.arch = "noarch"; return p }
	epoch := func(p pkg, n int) pkg { p.epoch = n; return p }
	h.install(
		noarch(v("test-release", "9.3", "Provides: system-release = 9.3", "Provides: system-release(releasever) = 9")),
		v("current", "1"), v("plain", "1"), epoch(v("epoch", "9"), 0), epoch(v("epoch-kept", "1"), 1),
		v("tilde", "1.0~rc1"), v("caret", "1.0"), v("gone", "1"),
		v("excluded", "1"), v("excluded-here", "1"), v("locked", "1"), v("locked-mid", "1"), v("not-this", "1"),
		v("priority", "1"), v("old-name", "1"), v("kernel", "1"), v("kernel", "2"),
		noarch(v("was-noarch", "1")), v("now-noarch", "1"), v("switched-off", "1"),
	)
	h.repository("base", "priority=50\nexcludepkgs=excluded-here\n",
		v("current", "1"), v("plain", "2"), v("plain", "3"), epoch(v("epoch", "1"), 1), v("epoch-kept", "9"),
		v("tilde", "1.0"), v("caret", "1.0^git1"),
		v("excluded", "2"), v("excluded-here", "2"), v("locked", "2"), v("locked-mid", "2"), v("locked-mid", "3"),
		v("not-this", "2"), v("not-this", "3"), v("priority", "1"),
		v("new-name", "2", "Obsoletes: old-name < 2"), v("kernel", "2"), v("kernel", "3"),
		v("was-noarch", "2"), noarch(v("now-noarch", "2")),
	)
	h.repository("extra", "", v("priority", "2"), v("plain", "9"))
	h.repository("off", "enabled=0\n", v("switched-off", "2"))
	writeFile(t, h.root+"/etc/dnf/dnf.conf", "[main]\nplugins=1\npluginpath=/usr/lib/python3/dist-packages/dnf-plugins\npluginconfpath="+h.root+"/dnf-plugins\nexclude=excl*ed\n")
	writeFile(t, h.root+"/etc/dnf/plugins/versionlock.conf", "[main]\nenabled=1\nlocklist=/etc/dnf/plugins/versionlock.list\n")
	writeFile(t, h.root+"/dnf-plugins/versionlock.conf", "[main]\nenabled=1\nlocklist="+h.root+"/etc/dnf/plugins/versionlock.list\n")
	writeFile(t, h.root+"/etc/dnf/plugins/versionlock.list", "# held\nlocked-0:1-1.el9.*\nlocked-mid-0:2-1.el9.*\n!not-this-0:3-1.el9.*\n")

	want := h.dnf()
	s := h.read()
	var got []string
	for _, u := range s.Pending {
		name := u.Name
		if u.Obsoleter != "" {
			name = u.Obsoleter
		}
		if u.Candidate != u.Installed {
			got = append(got, fmt.Sprintf("%s %s %s", name, u.Candidate, u.Archive))
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("pending:\n%s\ndnf says:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	holds := map[string]Hold{"gone": Unmet, "excluded": Held, "excluded-here": Held, "locked": Held, "locked-mid": Held, "not-this": Held, "priority": Pinned, "plain": Pinned}
	for _, u := range s.Pending {
		if u.Why != holds[u.Name] {
			t.Errorf("%s: why %q; want %q", u.Name, u.Why, holds[u.Name])
		}
		delete(holds, u.Name)
	}
	if len(holds) > 0 {
		t.Errorf("not pending: %v", holds)
	}
	if len(s.Problems) > 0 || s.ListsAsOf.IsZero() {
		t.Errorf("problems %q, lists as of %s", s.Problems, s.ListsAsOf)
	}
	h.damage()
}

// repository makes a repository and switches it on.
func (h *host) repository(id, settings string, all ...pkg) {
	h.Helper()
	dir := h.TempDir()
	h.build(dir, all...)
	h.run("createrepo_c", "--quiet", "--checksum", "sha256", dir)
	update := filepath.Join(h.TempDir(), "updateinfo.xml")
	writeFile(h.T, update, advisoriesText)
	h.run("modifyrepo_c", update, dir+"/repodata")
	writeFile(h.T, filepath.Join(h.root, "etc/yum.repos.d", id+".repo"),
		fmt.Sprintf("[%s]\nname=%s $releasever\nbaseurl=file://%s\n  file:///nowhere/$releasever/$basearch\ngpgcheck=0\n%s", id, id, dir, settings))
}

const advisoriesText = `<?xml version="1.0"?>
<updates>
<update type="security"><id>RHSA-2026:1</id><issued date="2026-01-02 03:04:05"/><severity>Important</severity>
<references><reference type="cve" id="CVE-2026-1"/><reference type="bugzilla" id="77"/></references>
<pkglist><collection><package name="plain" arch="x86_64" epoch="0" version="2" release="1.el9"/>
<package name="gone" arch="x86_64" epoch="0" version="1.1" release="1.el9"/></collection></pkglist></update>
<update type="bugfix"><id>RHBA-2026:2</id><pkglist><collection><package name="plain" arch="x86_64" epoch="0" version="3" release="1.el9"/></collection></pkglist></update>
</updates>`

// dnf has the host's metadata fetched, and says what dnf calls out of date.
func (h *host) dnf() []string {
	h.Helper()
	// Debian keeps the database elsewhere, also below another root.
	elsewhere := filepath.Join(h.root, strings.TrimSpace(h.run("rpm", "--eval", "%_dbpath")))
	if err := os.MkdirAll(filepath.Dir(elsewhere), 0o755); err != nil {
		h.Fatal(err)
	}
	if err := os.Symlink(h.db(), elsewhere); err != nil {
		h.Fatal(err)
	}
	args := []string{
		"--installroot", h.root, "--releasever", "9", "-y", "--forcearch", "x86_64",
		"--config", h.root + "/etc/dnf/dnf.conf", "--setopt", "reposdir=" + h.root + "/etc/yum.repos.d",
		"--setopt", "cachedir=" + h.root + "/var/cache/dnf", "check-update",
	}
	out, err := exec.Command("dnf", args...).Output()
	if code, ok := err.(*exec.ExitError); err != nil && (!ok || code.ExitCode() != 100) {
		h.Fatalf("dnf: %v\n%s", err, out)
	}
	h.Log(string(out))
	var all []string
	obsoletes := false
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		obsoletes = obsoletes || strings.HasPrefix(line, "Obsoleting")
		if len(fields) != 3 || strings.HasPrefix(line, " ") {
			continue
		}
		name, _, _ := strings.Cut(fields[0], ".")
		if fields[2] != "@System" {
			all = append(all, name+" "+fields[1]+" "+fields[2])
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (h *host) read() State {
	h.Helper()
	s, err := New(h.root).Read(context.Background())
	if err != nil {
		h.Fatal(err)
	}
	return s
}

// damage cuts off, removes and hides what was fetched: each must be a problem.
func (h *host) damage() {
	h.Helper()
	files, err := filepath.Glob(filepath.Join(h.root, "var/cache/dnf/base-*/repodata/*.xml*"))
	if err != nil || len(files) < 3 {
		h.Fatalf("metadata: %v, %v", files, err)
	}
	for _, path := range files {
		if strings.Contains(path, "filelists") || strings.Contains(path, "other") {
			continue
		}
		was, err := os.ReadFile(path)
		if err != nil {
			h.Fatal(err)
		}
		for _, content := range [][]byte{was[:len(was)/2], was[:len(was)-3], {}} {
			writeFile(h.T, path, string(content))
			if s := h.read(); len(s.Problems) == 0 {
				h.Errorf("%s cut to %d bytes: no problem", path, len(content))
			}
		}
		os.Remove(path)
		if s := h.read(); len(s.Problems) == 0 {
			h.Errorf("%s removed: no problem", path)
		}
		writeFile(h.T, path, string(was))
		if s := h.read(); len(s.Problems) > 0 {
			h.Errorf("%s put back: %q", path, s.Problems)
		}
	}
}
