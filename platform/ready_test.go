package platform

import (
	"net"
	"path/filepath"
	"testing"
)

func TestTellReady(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := TellReady(); err != nil {
		t.Errorf("without a service manager: %v", err)
	}
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Skipf("needs unix datagram sockets: %v", err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := TellReady(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, err := manager.Read(buf)
	if err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("got %q, %v; want READY=1", buf[:n], err)
	}
}
