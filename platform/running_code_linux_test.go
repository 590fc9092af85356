package platform

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestOldCode(t *testing.T) {
	tests := []struct {
		name, maps string
		want       []string
	}{
		{"nothing replaced", "7f00-7f01 r-xp 00000000 08:01 12 /usr/lib/x86_64-linux-gnu/libssl.so.3\n", nil},
		{"a library", "7f00-7f01 r--p 00000000 08:01 12 /usr/lib/libssl.so.3 (deleted)\n" +
			"7f01-7f02 r-xp 00001000 08:01 12 /usr/lib/libssl.so.3 (deleted)\n", []string{"/usr/lib/libssl.so.3"}},
		{"data alone is no code", "7f00-7f01 r--p 00000000 08:01 12 /usr/share/locale/de.mo (deleted)\n", nil},
		{"shared memory", "7f00-7f01 rwxs 00000000 00:01 12 /dev/zero (deleted)\n7f00-7f01 rwxs 00000000 00:01 12 /memfd:jit (deleted)\n" +
			"7f00-7f01 rwxs 00000000 00:01 12 /SYSV00000000 (deleted)\n", nil},
		{"code made at run time", "7f00-7f01 r-xp 00000000 08:01 12 /tmp/libjffi123.so (deleted)\n", nil},
		{"a name with blanks", "7f00-7f01 r-xp 00000000 08:01 12 /opt/My App/lib x.so (deleted)\n", []string{"/opt/My App/lib x.so"}},
		{"cut off", "7f00-7f01 r-xp (deleted)", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := oldCode([]byte(tt.maps)); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestRunningOldCode replaces the executable of a process and ends it.
func TestRunningOldCode(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may write where packages do")
	}
	dir, err := os.MkdirTemp("/opt", "firebreak-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	exe := filepath.Join(dir, "sleeper")
	program, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(exe, program, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	defer stop()
	r := &codeReader{}
	runs := func(now time.Time) bool {
		t.Helper()
		code, gaps := r.read(t.Context(), now)
		if slices.ContainsFunc(gaps, func(g Gap) bool { return !g.Partial }) {
			t.Fatalf("gaps: %v", gaps)
		}
		at := slices.IndexFunc(code.Stale, func(p StaleProcess) bool { return p.PID == cmd.Process.Pid })
		if at >= 0 && (code.Stale[at].Files[0] != exe || code.Stale[at].User != "root" || code.Stale[at].Name != "sleeper") {
			t.Errorf("got %+v", code.Stale[at])
		}
		return at >= 0
	}
	now := time.Now()
	if runs(now) {
		t.Fatal("nothing was replaced yet")
	}
	if err := os.WriteFile(exe+".new", program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(exe+".new", exe); err != nil {
		t.Fatal(err)
	}
	if !runs(now.Add(codeRest)) {
		t.Fatal("it runs code that was replaced")
	}
	stop()
	if runs(now.Add(codeRest + time.Minute)) {
		t.Fatal("it has ended")
	}
}

func TestSessionIn(t *testing.T) {
	for cgroup, want := range map[string]string{
		"0::/user.slice/user-1000.slice/session-4.scope\n":                       "4",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n": "",
		"0::/system.slice/session-recorder.service\n":                            "",
	} {
		if got := sessionIn(cgroup); got != want {
			t.Errorf("%s: got %q, want %q", cgroup, got, want)
		}
	}
}
