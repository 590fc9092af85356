package platform

import (
	"net"
	"path/filepath"
	"testing"
)

// listenAsManager stands in for the service manager that started this program.
func listenAsManager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Skipf("needs unix datagram sockets: %v", err)
	}
	t.Cleanup(func() { manager.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return manager
}

func TestTellReady(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := TellReady(); err != nil {
		t.Errorf("without a service manager: %v", err)
	}
	manager := listenAsManager(t)
	if err := TellReady(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, err := manager.Read(buf)
	if err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("got %q, %v; want READY=1", buf[:n], err)
	}
}
