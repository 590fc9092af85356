package detect

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

var update = flag.Bool("update", false, "write what the code says into the testdata")

// TestHosts judges the root file systems of testdata/hosts: what distributions,
// derivatives and odd files say of themselves, and what is expected of each.
// A folder's file "given" may set the day (at), when os-release was changed
// (modified), when package lists were fetched (synced) and policy (extended).
func TestHosts(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("root file systems with os-release are read on Linux only")
	}
	archives, err := filepath.Glob("testdata/hosts/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives of hosts: %v", err)
	}
	hosts := 0
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		byHost := map[string][]txtar.File{}
		var names []string
		for _, f := range archive.Files {
			host, file, _ := strings.Cut(f.Name, "/")
			if byHost[host] == nil {
				names = append(names, host)
			}
			byHost[host] = append(byHost[host], txtar.File{Name: file, Data: f.Data})
		}
		hosts += len(names)
		var rewritten []txtar.File
		for _, host := range names {
			t.Run(host, func(t *testing.T) {
				got := judgeHost(t, byHost[host])
				want := ""
				for _, f := range byHost[host] {
					if f.Name == "want" {
						want = string(f.Data)
						continue
					}
					rewritten = append(rewritten, txtar.File{Name: host + "/" + f.Name, Data: f.Data})
				}
				rewritten = append(rewritten, txtar.File{Name: host + "/want", Data: []byte(got)})
				if got != want && !*update {
					t.Errorf("got:\n%swant:\n%s", got, want)
				}
			})
		}
		if *update {
			archive.Files = rewritten
			if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if hosts < 40 {
		t.Errorf("%d hosts; want at least 40", hosts)
	}
}

// judgeHost lays the files out below a folder of its own, reads them as the agent
// reads a mounted image, and describes the finding.
func judgeHost(t *testing.T, files []txtar.File) string {
	t.Helper()
	given := map[string]string{"at": "2026-11-23", "modified": "2026-06-01", "synced": "2026-06-01", "extended": "auto"}
	for _, f := range files {
		if f.Name != "given" {
			continue
		}
		for line := range strings.Lines(string(f.Data)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			given[name] = value
		}
	}
	root := t.TempDir()
	for _, f := range files {
		if f.Name == "given" || f.Name == "want" {
			continue
		}
		path := filepath.Join(root, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
		changed := date(t, given["modified"])
		if strings.HasPrefix(f.Name, "var/") {
			changed = date(t, given["synced"])
		}
		if err := os.Chtimes(path, changed, changed); err != nil {
			t.Fatal(err)
		}
	}
	release, err := platform.ReadOS(root)
	if err != nil {
		t.Fatal(err)
	}
	return describe(t, Input{
		Snapshot: platform.Snapshot{OS: release},
		Policy:   configs.Policy{OS: configs.OSRules{WarnBefore: configs.Duration(90 * 24 * time.Hour), Extended: given["extended"], Plan: "upgrade"}},
		Now:      date(t, given["at"]).Add(15 * time.Hour),
	})
}

func describe(t *testing.T, in Input) string {
	t.Helper()
	f := findOne(t, in)
	s := f.Subject.OS
	severity := string(f.Severity)
	if f.Allowed {
		severity = "none"
	}
	var b strings.Builder
	for _, line := range [][2]string{
		{"verdict", string(s.Verdict)},
		{"severity", severity},
		{"key", f.Key},
		{"ends", s.SupportEnds},
		{"upgrade", s.UpgradeTo},
		{"plan", f.Plan},
		{"because", f.Because},
		{"says", f.Summary},
	} {
		if line[1] != "" {
			fmt.Fprintf(&b, "%s: %s\n", line[0], line[1])
		}
	}
	return b.String()
}

func findOne(t *testing.T, in Input) Finding {
	t.Helper()
	found, err := OutdatedOS.Find(in)
	if err != nil || len(found) != 1 {
		t.Fatalf("got %d findings, error %v; want one finding", len(found), err)
	}
	return found[0]
}

func date(t *testing.T, day string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.DateOnly, day)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}
