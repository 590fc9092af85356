package apt

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestCorpus reads small hosts, each of them a trap, and holds the answer against
// what its author expects; and that against apt itself where there is apt. A file
// "differs" says why apt's own answer is another.
//
// The files are those of the host, but shorter: "status", "NAME_Packages" and
// "NAME_InRelease" stand for where they belong; what every package or archive has is
// filled in.
func TestCorpus(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) < 30 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			tree := unpack(t, path)
			s, err := New(tree.root).State(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(s); got != tree.want {
				t.Errorf("got:\n%swant:\n%s", got, tree.want)
			}
			said, differs := tree.apt(t), tree.differs
			if same := said == installs(s); same == (differs != "") {
				t.Errorf("installs:\n%sapt:\n%sdiffers: %s", installs(s), said, differs)
			}
		})
	}
}

// tree is a host of the corpus.
type tree struct {
	root, want, differs string
}

const lists = "var/lib/apt/lists/"

func unpack(t *testing.T, path string) tree {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{
		"etc/apt/sources.list": "deb http://deb.debian.org/debian bookworm main\ndeb http://deb.debian.org/debian-security bookworm-security main\n",
		"etc/os-release":       "ID=debian\nVERSION_CODENAME=bookworm\n",
		"etc/machine-id":       "0123456789abcdef0123456789abcdef\n",
	}
	one := tree{root: t.TempDir()}
	for _, f := range archive.Files {
		text := string(f.Data)
		switch {
		case f.Name == "want":
			one.want = text
		case f.Name == "differs":
			one.differs = text
		case f.Name == "status":
			all["var/lib/dpkg/status"] = fill(text, "Status: install ok installed\n")
		case strings.HasSuffix(f.Name, "_Packages"):
			all[lists+f.Name] = fill(text, "Filename: x.deb\nSize: 1\nSHA256: 0000000000000000000000000000000000000000000000000000000000000000\n")
		case strings.HasSuffix(f.Name, "_InRelease"):
			all[lists+f.Name] = text
		default:
			all[f.Name] = text
		}
	}
	for name, text := range releases {
		if _, ok := all[lists+name]; !ok && !strings.Contains(string(archive.Comment), "no lists") {
			all[lists+name] = text
			if packages := strings.TrimSuffix(name, "InRelease") + "main_binary-amd64_Packages"; all[lists+packages] == "" {
				all[lists+packages] = ""
			}
		}
	}
	for name, text := range all {
		write(t, filepath.Join(one.root, name), text)
	}
	return one
}

var releases = map[string]string{
	"deb.debian.org_debian_dists_bookworm_InRelease":                   "Origin: Debian\nLabel: Debian\nSuite: oldstable\nVersion: 12.15\nCodename: bookworm\nDate: Sat, 07 Nov 2026 10:00:00 UTC\n",
	"deb.debian.org_debian-security_dists_bookworm-security_InRelease": "Origin: Debian\nLabel: Debian-Security\nSuite: oldstable-security\nVersion: 12\nCodename: bookworm-security\nDate: Sat, 21 Nov 2026 00:53:02 UTC\n",
}

// fill adds to each paragraph what it lacks of what all have.
func fill(text, more string) string {
	var all []string
	for _, p := range paragraphs(text) {
		one := string(p)
		for line := range strings.Lines(more + "Architecture: amd64\nMaintainer: nobody <n@example.org>\nDescription: x\n") {
			if name, _, _ := strings.Cut(line, ":"); !strings.Contains("\n"+one, "\n"+name+":") {
				one += line
			}
		}
		all = append(all, one)
	}
	return strings.Join(all, "\n")
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// describe is an answer as the corpus writes it.
func describe(s State) string {
	var b strings.Builder
	for _, u := range s.Pending {
		fmt.Fprintf(&b, "%s:%s %s -> %s", u.Name, u.Arch, u.Installed, u.Candidate)
		if u.Archive != "" {
			fmt.Fprintf(&b, " [%s]", u.Archive)
		}
		if u.Security {
			fmt.Fprintf(&b, " security %s", u.Fixed)
		}
		if u.Why != NotHeld {
			fmt.Fprintf(&b, " %s", u.Why)
		}
		b.WriteByte('\n')
	}
	for _, p := range s.Problems {
		fmt.Fprintf(&b, "problem: %s\n", p)
	}
	for _, u := range s.Unsupported {
		fmt.Fprintf(&b, "unsupported: %s %s limited=%t %s\n", u.Name, u.Version, u.Limited, u.Note)
	}
	return b.String()
}

// installs is what an answer would have installed in place of something.
func installs(s State) string {
	var all []string
	for _, u := range s.Pending {
		if u.Candidate != u.Installed {
			all = append(all, u.Name+" "+u.Installed+" "+u.Candidate+"\n")
		}
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

var simulated = regexp.MustCompile(`(?m)^Inst ([^ :]+)\S* \[([^]]+)\] \((\S+) `)

// apt is what apt itself would install in place of something.
func (t tree) apt(tb testing.TB) string {
	tb.Helper()
	all := simulated.FindAllStringSubmatch(simulate(tb, t.root), -1)
	var lines []string
	for _, m := range all {
		if m[2] == m[3] { // the same version with other fields is not newer
			continue
		}
		lines = append(lines, m[1]+" "+m[2]+" "+m[3]+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// simulate has apt say what it would do on the host below root.
func simulate(tb testing.TB, root string) string {
	tb.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		tb.Skip("needs apt-get, to compare with")
	}
	cmd := exec.Command("apt-get", "-s", "--allow-unauthenticated", "--allow-downgrades", "dist-upgrade")
	cmd.Env = append(os.Environ(), "APT_CONFIG="+aptConfig(tb, root), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Logf("apt-get: %v\n%s", err, out)
	}
	return string(out)
}

// aptConfig makes apt look below another root, and write nothing there.
func aptConfig(tb testing.TB, root string) string {
	tb.Helper()
	dir := tb.TempDir()
	path := filepath.Join(dir, "conf")
	text := fmt.Sprintf("Dir %q;\nDir::State::status %q;\nDir::Cache %q;\nDir::Bin::ischroot \"/bin/false\";\nDebug::NoLocking \"1\";\nAPT::Sandbox::User \"root\";\nDir::Log \"/dev/null\";\n",
		root+"/", filepath.Join(root, "var/lib/dpkg/status"), dir)
	if b, err := os.ReadFile(filepath.Join(root, "var/lib/dpkg/arch")); err == nil {
		for a := range strings.FieldsSeq(string(b)) {
			text += fmt.Sprintf("APT::Architectures { %q; };\n", a)
		}
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
	return path
}
