package platform

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openPTY returns the master of a new pseudo terminal in raw mode, and its line.
func openPTY(t *testing.T) (*os.File, string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs a pseudo terminal: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	return master, "pts/" + strconv.Itoa(n)
}

func loggedIn(user, line string) func() ([]Session, error) {
	return func() ([]Session, error) { return []Session{{User: user, Terminal: line}}, nil }
}

func TestNotifyShowsTextOnTerminals(t *testing.T) {
	master, line := openPTY(t)
	n := terminals{dev: "/dev", sessions: loggedIn("lena", line)}
	told, err := n.Notify(t.Context(), "Upgrade this computer.\nCall 4357.\x1b]0;owned\a")
	if err != nil || !slices.Contains(told, "lena") {
		t.Fatal(told, err)
	}
	buf := make([]byte, 200)
	count, err := master.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(buf[:count]), "\r\r", "\r") // the terminal adds its own
	if !strings.Contains(text, "Upgrade this computer.\r\nCall 4357.") || strings.ContainsAny(text, "\x1b\a") {
		t.Fatalf("%q", text)
	}
}

func TestNotifyDoesNotWaitForAStoppedTerminal(t *testing.T) {
	_, line := openPTY(t)
	n := terminals{dev: "/dev", sessions: loggedIn("lena", line)}
	begun := time.Now()
	for range 30 { // nobody reads the master: the terminal fills up
		if _, err := n.Notify(t.Context(), strings.Repeat("x", 4000)); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Fatalf("took %v", took)
	}
}

func TestNotifyWritesToNothingButTerminals(t *testing.T) {
	dev := t.TempDir()
	if err := os.WriteFile(filepath.Join(dev, "tty9"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"tty9", "../etc/passwd", "pts/../../x", "null", "pts/", "tty", ""} {
		n := terminals{dev: dev, sessions: loggedIn("lena", line)}
		if told, err := n.Notify(t.Context(), "hello"); len(told) > 0 || err != nil {
			t.Errorf("wrote to %q: %v %v", line, told, err)
		}
	}
	if data, _ := os.ReadFile(filepath.Join(dev, "tty9")); len(data) > 0 {
		t.Errorf("wrote %q into a file", data)
	}
}
