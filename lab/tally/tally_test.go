package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRun runs go test on small modules and looks at the last line and at the
// exit.
func TestRun(t *testing.T) {
	for _, c := range []struct {
		name, body string
		last       string
		says       string
		ok         bool
	}{
		{"pass", `func TestA(t *testing.T) { t.Run("sub", func(*testing.T) {}) }`, "2 passed, 0 failed, 0 skipped", "ok ", true},
		{"fail", `func TestA(t *testing.T) { t.Error("wrong number") }; func TestB(*testing.T) {}`, "1 passed, 1 failed, 0 skipped", "wrong number", false},
		{"skip", `func TestA(t *testing.T) { t.Skip("needs root") }; func TestB(*testing.T) {}`, "1 passed, 0 failed, 1 skipped", "TestA: a_test.go:4: needs root", true},
		{"only skips", `func TestA(t *testing.T) { t.Skip("needs root") }`, "0 passed, 0 failed, 1 skipped", "no test ran", false},
		{"does not build", `func TestA(t *testing.T) { undefined() }`, "0 passed, 1 failed, 0 skipped", "undefined: undefined", false},
		{"panic", `func TestA(t *testing.T) { panic("oh") }`, "0 passed, 1 failed, 0 skipped", "oh", false},
		{"early exit", `func TestA(t *testing.T) { os.Exit(0) }`, "0 passed, 1 failed, 0 skipped", "FAIL", false},
		{"exit in TestMain", `func TestMain(*testing.M) { os.Exit(3) }`, "0 passed, 1 failed, 0 skipped", "FAIL", false},
		{"nothing", ``, "0 passed, 0 failed, 0 skipped", "no test ran", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "go.mod", "module example.org/m\n\ngo 1.26\n")
			write(t, dir, "a_test.go", "package m\n\nimport (\"os\"; \"testing\"); var _ = os.Exit; var _ testing.TB\n"+c.body+"\n")
			t.Chdir(dir)
			var out strings.Builder
			ok, err := run([][]string{{"./..."}}, "", 0, &out)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if last := lines[len(lines)-1]; last != c.last || ok != c.ok {
				t.Errorf("got %q, ok %v; want %q, ok %v; all of it:\n%s", last, ok, c.last, c.ok, out.String())
			}
			if !strings.Contains(out.String(), c.says) {
				t.Errorf("got %q; want it to say %q", out.String(), c.says)
			}
		})
	}
}

func TestCoverage(t *testing.T) {
	profile := "mode: atomic\n" +
		"example.org/m/a/x.go:1.1,2.2 3 0\n" +
		"example.org/m/a/x.go:1.1,2.2 3 7\n" + // the same block, in a second test program
		"example.org/m/a/x.go:3.1,4.2 1 0\n" +
		"example.org/m/b/y.go:1.1,2.2 4 0\n"
	dir := t.TempDir()
	write(t, dir, "cover.out", profile)
	var out strings.Builder
	if err := checkCoverage(filepath.Join(dir, "cover.out"), 37, &out); err != nil {
		t.Errorf("3 of 8 statements are 37.5 %%: %v", err)
	}
	if !strings.Contains(out.String(), " 75.0 % example.org/m/a") {
		t.Errorf("got %q; want 75.0 %% for a", out.String())
	}
	if err := checkCoverage(filepath.Join(dir, "cover.out"), 38, &out); err == nil {
		t.Error("37.5 % passed as 38 %")
	}
}

func TestGroups(t *testing.T) {
	got := groups([]string{"-race", "./...", "--", "./lab"})
	if len(got) != 2 || strings.Join(got[0], " ") != "-race ./..." || strings.Join(got[1], " ") != "./lab" {
		t.Errorf("got %q", got)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
