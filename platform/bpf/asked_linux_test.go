package bpf

import (
	"net"
	"os"
	"testing"
	"time"
)

func TestAskedTellsOfThoseThatAskedForTheirPort(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to load a program into the kernel")
	}
	asked, err := OpenAsked(ThisKernel())
	if err != nil {
		t.Fatal(err)
	}
	defer asked.Close()
	given, err := net.ListenUDP("udp4", &net.UDPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(given.LocalAddr().(*net.UDPAddr).Port)
	found := func(port uint16) bool {
		t.Helper()
		is := false
		err := asked.Read(func(cookie uint64, p uint16, _ time.Time) {
			is = is || p == port && cookie != 0
		})
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	if found(port) {
		t.Errorf("%d was given, and is said to be asked for", port)
	}
	given.Close()
	for _, network := range []string{"udp4", "udp6"} {
		chosen, err := net.ListenUDP(network, &net.UDPAddr{Port: int(port)})
		if err != nil {
			t.Fatal(err)
		}
		if !found(port) {
			t.Errorf("%s: %d was asked for, and is not told of", network, port)
		}
		chosen.Close()
		if found(port) {
			t.Errorf("%s: %d is told of after it was closed", network, port)
		}
	}
}
