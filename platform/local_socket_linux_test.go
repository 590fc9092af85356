package platform

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func TestCallerIsWhoTheKernelSays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "agent.sock")
	l, err := ListenLocal(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := DialLocal(context.Background(), path); err == nil {
			defer c.Close()
			_, _ = c.Read(make([]byte, 1))
		}
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := CallerOf(c)
	if err != nil {
		t.Fatal(err)
	}
	if got.PID != os.Getpid() || int(got.UID) != os.Getuid() || len(got.Groups) == 0 {
		t.Errorf("got %+v; want pid %d, uid %d and a group", got, os.Getpid(), os.Getuid())
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("socket mode %v, %v; want 0666, because roles come from credentials", info.Mode(), err)
	}
}

func TestCallerGroups(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to become a user with other groups")
	}
	dir, err := os.MkdirTemp("/tmp", "fb-groups")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "agent.sock")
	l, err := ListenLocal(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	groups := []uint32{4}
	for g := range 100 { // more than the small buffer holds
		groups = append(groups, uint32(70000+g))
	}
	self := filepath.Join(dir, "dial.test")
	copyFile(t, "/proc/self/exe", self)
	client := exec.Command(self, "-test.run=TestDialAsHelper")
	client.Env = []string{"FIREBREAK_TEST_DIAL=" + path}
	client.Dir = "/"
	client.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, Groups: groups}}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got, err := CallerOf(c)
	c.Close()
	_ = client.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if got.Root() || got.UID != 65534 || !got.In("adm") || !got.In(strconv.Itoa(70099)) {
		t.Errorf("got uid %d, %d groups, adm %v; want 65534, in adm and in 70099", got.UID, len(got.Groups), got.In("adm"))
	}
}

// TestDialAsHelper is the other user in TestCallerGroups.
func TestDialAsHelper(t *testing.T) {
	path := os.Getenv("FIREBREAK_TEST_DIAL")
	if path == "" {
		t.Skip("is run by TestCallerGroups as another user")
	}
	c, err := DialLocal(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Read(make([]byte, 1))
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestListenLocalReplacesOnlyAStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false) // as kill -9 leaves it
	stale.Close()
	if _, err := DialLocal(context.Background(), path); !errors.Is(err, ErrGone) {
		t.Errorf("dial of a stale socket: got %v; want ErrGone", err)
	}
	l, err := ListenLocal(path)
	if err != nil {
		t.Fatalf("stale socket: %v", err)
	}
	defer l.Close()
	if _, err := ListenLocal(path); !errors.Is(err, ErrAnswers) {
		t.Errorf("second agent: got %v; want ErrAnswers", err)
	}
	if c, err := DialLocal(context.Background(), path); err != nil {
		t.Errorf("first agent lost its socket: %v", err)
	} else {
		c.Close()
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenLocal(file); err == nil {
		t.Error("listened in place of a plain file")
	}
	if data, _ := os.ReadFile(file); string(data) != "precious" {
		t.Error("the plain file is gone")
	}
}

func TestSSHClient(t *testing.T) {
	for environ, want := range map[string]string{
		"": "",
		"A=B\x00SSH_CONNECTION=192.0.2.7 52000 192.0.2.1 22\x00": "192.0.2.7",
		"SSH_CONNECTION=2001:db8::7 1 2001:db8::1 22":            "2001:db8::7",
		"SSH_CONNECTION=fe80::1%eth0 1 fe80::2 22":               "fe80::1%eth0",
		"XSSH_CONNECTION=192.0.2.7 1 1 1":                        "",
		"SSH_CONNECTION=$(reboot) 1 1 1":                         "",
	} {
		if got := sshClient([]byte(environ)); got != want {
			t.Errorf("sshClient(%q) = %q; want %q", environ, got, want)
		}
	}
}

func TestRemoteSessionOfAParent(t *testing.T) {
	shell := exec.Command("sleep", "30")
	shell.Env = []string{"SSH_CONNECTION=192.0.2.7 52000 192.0.2.1 22"}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = shell.Process.Kill(); _ = shell.Wait() }()
	got := ""
	for range 100 { // the environment is there a little after exec returned
		if got = RemoteSession(shell.Process.Pid); got != "" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got != "192.0.2.7" {
		t.Errorf("got %q; want 192.0.2.7", got)
	}
	if got := RemoteSession(-1); got != "" {
		t.Errorf("no such process: got %q", got)
	}
}

func FuzzParentIn(f *testing.F) {
	f.Add([]byte("12 (a) b) S 7 1 1"))
	f.Add([]byte("12 (a"))
	f.Fuzz(func(_ *testing.T, stat []byte) { parentIn(stat); sshClient(stat) })
}
