package evidence

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// shelf is a folder with bundles of 1000 bytes, one a day, of the given threats.
func shelf(t *testing.T, ids ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i, id := range ids {
		at := noon.AddDate(0, 0, i-len(ids))
		if err := os.WriteFile(filepath.Join(dir, fileName(id, at)), make([]byte, 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func threats(t *testing.T, dir string) (ids []string) {
	t.Helper()
	all, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		ids = append(ids, b.Threat)
	}
	return ids
}

func TestRetention(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits Limits
		want   string
	}{
		{"no limits", Limits{}, "[T-2222 T-3333 T-4444 T-6666]"},
		{"count", Limits{Count: 2}, "[T-4444 T-6666]"},
		{"bytes", Limits{Bytes: 3500}, "[T-3333 T-4444 T-6666]"},
		{"age", Limits{Age: 60 * time.Hour}, "[T-4444 T-6666]"},
		{"open threats stay", Limits{Count: 2, Keep: func(id string) bool { return id == "T-2222" }}, "[T-2222 T-6666]"},
		{"the new one stays", Limits{Count: 1, Bytes: 1, Age: 1}, "[T-6666]"},
		{"all are open", Limits{Count: 1, Keep: func(string) bool { return true }}, "[T-2222 T-3333 T-4444 T-6666]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := shelf(t, "T-2222", "T-3333", "T-4444", "T-6666")
			if err := retain(dir, fileName("T-6666", noon.AddDate(0, 0, -1)), noon, c.limits); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(threats(t, dir)); got != c.want {
				t.Errorf("got %s; want %s", got, c.want)
			}
		})
	}
}

func TestCollectRetains(t *testing.T) {
	dir := shelf(t, "T-2222", "T-3333")
	m, about := samba()
	collect(t, m, about, dir, Limits{Count: 2})
	collect(t, m, about, dir, Limits{Count: 2})
	if got := threats(t, dir); !slices.Equal(got, []string{"T-7KX3", "T-7KX3"}) {
		t.Errorf("got %v; want two bundles of one instant under two names", got)
	}
}

func TestListLeavesOtherFilesAlone(t *testing.T) {
	dir := shelf(t, "T-2222")
	for _, name := range []string{"notes.txt", "EV-.tar.gz", "EV-T-2222.tar.gz", "EV-T-2222-yesterday.tar.gz", "EV-../x-20260901T120000.000Z.tar.gz"} {
		_ = os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, fileName("T-3333", noon))); err != nil {
		t.Fatal(err)
	}
	if got := threats(t, dir); !slices.Equal(got, []string{"T-2222"}) {
		t.Errorf("got %v; want the one bundle", got)
	}
	if got, err := List(filepath.Join(dir, "none")); err != nil || got != nil {
		t.Errorf("got %v, %v; want none", got, err)
	}
}

func TestWhatACrashCutShortIsRemoved(t *testing.T) {
	dir := t.TempDir()
	stale, fresh := filepath.Join(dir, ".EV-1.tmp"), filepath.Join(dir, ".EV-2.tmp")
	for _, name := range []string{stale, fresh} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	if err := os.Chtimes(stale, now, now.Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := retain(dir, "", now, Limits{}); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, tempPattern)); !slices.Equal(left, []string{fresh}) {
		t.Errorf("got %v; want %s alone", left, fresh)
	}
}
