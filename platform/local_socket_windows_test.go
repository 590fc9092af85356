package platform

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"
)

// TestPipe talks over a pipe, and is told who calls: an administrator, and the
// same person without those rights.
func TestPipe(t *testing.T) {
	path := `\\.\pipe\firebreak-test`
	if os.Getenv("FIREBREAK_TEST_PIPE") != "" {
		call(t, path)
		return
	}
	if _, err := DialLocal(t.Context(), path); !errors.Is(err, ErrGone) {
		t.Errorf("nobody listens: got %v; want ErrGone", err)
	}
	l, err := ListenLocal(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	callers := make(chan Caller, 8)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "who am I\n" {
					t.Errorf("got %q, %v", line, err)
				}
				caller, err := CallerOf(c)
				if err != nil {
					t.Error(err)
				}
				callers <- caller
				fmt.Fprintf(c, "%v\n", caller.Root())
			}()
		}
	}()
	for range 3 {
		call(t, path)
		if got := <-callers; got.PID != os.Getpid() || !got.Root() || got.User == "" || got.SID == "" || len(got.Groups) == 0 {
			t.Errorf("an administrator: got %+v", got)
		}
	}
	runRestricted(t)
	if got := <-callers; got.PID == os.Getpid() || got.Root() || got.SID == "" {
		t.Errorf("without those rights: got %+v", got)
	}
}

func call(t *testing.T, path string) {
	t.Helper()
	c, err := DialLocal(t.Context(), path)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	fmt.Fprintln(c, "who am I")
	if answer, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains("true\nfalse\n", answer) {
		t.Errorf("answer %q, %v", answer, err)
	}
}

var createRestrictedToken = windows.NewLazySystemDLL("advapi32.dll").NewProc("CreateRestrictedToken")

// runRestricted runs this test again, as the same user who is no administrator.
func runRestricted(t *testing.T) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var own, restricted windows.Token
	if err := windows.OpenProcessToken(windows.CurrentProcess(), windows.TOKEN_ALL_ACCESS, &own); err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	admins, err := windows.CreateWellKnownSid(windows.WinBuiltinAdministratorsSid)
	if err != nil {
		t.Fatal(err)
	}
	deny := windows.SIDAndAttributes{Sid: admins}
	if ok, _, err := createRestrictedToken.Call(uintptr(own), 0, 1, uintptr(unsafe.Pointer(&deny)), 0, 0, 0, 0, uintptr(unsafe.Pointer(&restricted))); ok == 0 {
		t.Fatalf("restrict token: %v", err)
	}
	defer restricted.Close()
	cmd := exec.Command(exe, "-test.run=TestPipe$", "-test.count=1")
	cmd.Env = append(os.Environ(), "FIREBREAK_TEST_PIPE=1")
	cmd.SysProcAttr = &windows.SysProcAttr{Token: syscall.Token(restricted)}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
