package platform

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFactsOfADeletedExecutable(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("needs the sleep command")
	}
	data, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(t.TempDir(), "gone")
	if err := os.WriteFile(exe, data, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	if err := os.WriteFile(exe+".new", []byte("innocent"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(exe+".new", exe); err != nil {
		t.Fatal(err)
	}
	facts, err := newFiles().Facts(t.Context(), cmd.Process.Pid, "")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%x", sha256.Sum256(data)); facts.SHA256 != want || facts.Size != int64(len(data)) {
		t.Fatalf("hashed something else than what runs: %+v", facts)
	}
}

func TestFilesOpensNothingButRegularFiles(t *testing.T) {
	dir := t.TempDir()
	file, link, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(file, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(file, link), unix.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	if data, err := newFiles().Read(t.Context(), file, 4); err != nil || string(data) != "0123" {
		t.Fatalf("%q %v", data, err)
	}
	if facts, err := newFiles().Facts(t.Context(), 0, file); err != nil || facts.Mode != "-rw-------" || facts.Size != 10 {
		t.Fatalf("%+v %v", facts, err)
	}
	for _, path := range []string{link, fifo, dir, "/dev/null"} {
		if _, err := newFiles().Read(t.Context(), path, 4); err == nil {
			t.Errorf("read %s", path)
		}
	}
	if _, err := newFiles().Read(t.Context(), filepath.Join(dir, "none"), 4); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newFiles().Facts(ended, 0, file); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
