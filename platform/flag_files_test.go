package platform

import (
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
	"time"
)

func TestFlagIsKeptUntilCleared(t *testing.T) {
	dir := t.TempDir()
	flags := newFlags(dir)
	if got, err := flags.Flag(t.Context(), "os-upgrade"); got != nil || err != nil {
		t.Fatal(got, err)
	}
	want := Flag{
		Name: "os-upgrade", Threat: "T-7K4Q", Text: "upgrade to Debian 13", To: "Debian 13 (trixie)",
		By: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), Set: time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC), Told: []string{"lena"},
	}
	for range 2 {
		if err := flags.SetFlag(t.Context(), want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := newFlags(dir).Flag(t.Context(), "os-upgrade")
	if err != nil || !reflect.DeepEqual(*got, want) {
		t.Fatalf("%+v %v", got, err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "flags", "*"))
	if len(left) != 1 {
		t.Fatalf("left behind: %v", left)
	}
	if info, _ := os.Stat(left[0]); info.Mode().Perm() != 0o644 && runtime.GOOS != "windows" { // which has no such modes
		t.Fatal(info.Mode())
	}
	for range 2 {
		if err := flags.ClearFlag(t.Context(), "os-upgrade"); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := flags.Flag(t.Context(), "os-upgrade"); got != nil || err != nil {
		t.Fatal(got, err)
	}
}

func TestFlagStaysInItsFolder(t *testing.T) {
	flags := newFlags(t.TempDir())
	for _, name := range []string{"", "../x", "a/b", ".", "A", "a.json", "a\x00"} {
		if err := flags.SetFlag(t.Context(), Flag{Name: name}); err == nil {
			t.Errorf("took %q for a name", name)
		}
	}
}

func TestDamagedFlagIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "flags"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{", "[]", `{"by": 7}`, "\xff\xfe"} {
		if err := os.WriteFile(filepath.Join(dir, "flags", "x.json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := newFlags(dir).Flag(t.Context(), "x"); err == nil {
			t.Errorf("read %q as %+v", text, got)
		}
	}
}
