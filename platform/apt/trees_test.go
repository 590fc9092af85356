//go:build linux

package apt

import (
	"context"
	"hash/fnv"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// trees are real file systems: this host's, and what the lab keeps of Debian's
// releases.
func trees(t testing.TB) []string {
	t.Helper()
	all := []string{"/"}
	more, err := filepath.Glob("/var/cache/firebreak-lab/*/root")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, root := range append(all, more...) {
		lists, _ := filepath.Glob(filepath.Join(root, "var/lib/apt/lists/*_Packages*"))
		if _, err := os.Stat(filepath.Join(root, statusFile)); err == nil && len(lists) > 0 && !strings.Contains(root, ".unfinished") {
			found = append(found, root)
		}
	}
	if len(found) == 0 {
		t.Skip("needs a host with dpkg and the lists of apt")
	}
	return found
}

// TestAsAptSays compares with what apt would do on real hosts, as they are and with
// old versions of some of what they have.
func TestAsAptSays(t *testing.T) {
	for _, root := range trees(t) {
		version, _ := os.ReadFile(filepath.Join(root, "etc/debian_version"))
		t.Run("Debian "+strings.TrimSpace(string(version)), func(t *testing.T) {
			for _, old := range []struct {
				name  string
				parts uint32 // one source of so many is old; none if 0
				hold  uint32
			}{{"as it is", 0, 0}, {"half old and some held", 2, 5}} {
				t.Run(old.name, func(t *testing.T) {
					t.Parallel()
					host := age(t, root, old.parts, old.hold)
					s, err := New(host).State(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					got, want := installs(s), tree{root: host}.apt(t)
					if got != want {
						t.Errorf("only here or only there:\n%s", difference(got, want))
					}
					t.Logf("%d of %d packages out of date", strings.Count(got, "\n"), s.Installed)
				})
			}
		})
	}
}

var constraint = regexp.MustCompile(`\((<<|<=|=|>=|>>) ([^)]+)\)`)

// age makes a copy of a host on which one source of so many is older, and of those one
// of so many is held. What is said of the newer versions is said of the older ones, so
// that they go together as well.
func age(t testing.TB, root string, parts, hold uint32) string {
	t.Helper()
	host := t.TempDir()
	for _, name := range []string{"etc/apt", "etc/os-release", "etc/machine-id", "etc/debian_version", "var/lib/apt/lists", "var/lib/dpkg/arch"} {
		real, err := filepath.EvalSymlinks(filepath.Join(root, name))
		if err != nil {
			continue
		}
		to := filepath.Join(host, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(real, to); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(root, statusFile))
	if err != nil {
		t.Fatal(err)
	}
	chosen := func(source string, of uint32) bool {
		h := fnv.New32a()
		h.Write([]byte(source))
		return of > 0 && h.Sum32()%of == 0
	}
	old := map[string]bool{}
	var all []string
	for _, s := range paragraphs(string(b)) {
		p, _ := parseStatus(s)
		text := string(s)
		if chosen(p.source, parts) {
			old[p.version] = true
			text = strings.Replace(text, "\nVersion: "+p.version+"\n", "\nVersion: "+p.version+"~old\n", 1)
			if chosen(p.source+"held", hold) {
				text = strings.Replace(text, "\nStatus: install ", "\nStatus: hold ", 1)
			}
		}
		all = append(all, text)
	}
	text := constraint.ReplaceAllStringFunc(strings.Join(all, "\n"), func(c string) string {
		if m := constraint.FindStringSubmatch(c); old[m[2]] {
			return "(" + m[1] + " " + m[2] + "~old)"
		}
		return c
	})
	write(t, filepath.Join(host, statusFile), text)
	return host
}

func difference(a, b string) string {
	var lines []string
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		for line := range strings.Lines(pair[0]) {
			if !strings.Contains("\n"+pair[1], "\n"+line) {
				lines = append(lines, line)
			}
		}
		lines = append(lines, "--\n")
	}
	return strings.Join(lines, "")
}
