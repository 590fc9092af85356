package platform

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestLockFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	files := make([]*os.File, 3)
	for i := range files {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	if err := LockFile(files[0], true); err != nil {
		t.Fatal(err)
	}
	for _, alone := range []bool{true, false} {
		if err := LockFile(files[1], alone); !errors.Is(err, ErrLocked) {
			t.Errorf("alone %v: got %v; want ErrLocked", alone, err)
		}
	}
	if err := UnlockFile(files[0]); err != nil {
		t.Fatal(err)
	}
	for _, f := range files[1:] {
		if err := LockFile(f, false); err != nil {
			t.Errorf("two readers: got %v", err)
		}
	}
	if err := LockFile(files[0], true); !errors.Is(err, ErrLocked) {
		t.Errorf("a writer beside readers: got %v; want ErrLocked", err)
	}
}

func TestRenameDurably(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "new"), filepath.Join(dir, "old")
	for name, text := range map[string]string{from: "new", to: "old"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := RenameDurably(from, to); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to)
	if err != nil || string(got) != "new" {
		t.Errorf("got %q, %v; want the new one", got, err)
	}
	if err := RenameDurably(from, to); err == nil {
		t.Error("a file that is not there was renamed")
	}
}
