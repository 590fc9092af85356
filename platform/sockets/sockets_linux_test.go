package sockets

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// listenRole makes the test program listen on 127.0.0.1, say where, and wait.
const listenRole = "FIREBREAK_TEST_LISTEN"

func TestMain(m *testing.M) {
	if os.Getenv(listenRole) == "" {
		os.Exit(m.Run())
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	io.Copy(io.Discard, os.Stdin)
}

func TestReadSeesSocketsAsTheyAre(t *testing.T) {
	tests := []struct {
		name    string
		network string
		address string
		options func(fd int)
		want    Socket // Port is filled in
	}{
		{"wildcard of IPv4", "tcp4", "0.0.0.0:0", nil, Socket{Protocol: TCP, Addr: netip.IPv4Unspecified()}},
		{"loopback of IPv4", "tcp4", "127.0.0.1:0", nil, Socket{Protocol: TCP, Addr: netip.MustParseAddr("127.0.0.1")}},
		{"dual stack", "tcp6", "[::]:0", dualStack, Socket{Protocol: TCP, Addr: netip.IPv6Unspecified()}},
		{"IPv6 only", "tcp6", "[::]:0", nil, Socket{Protocol: TCP, Addr: netip.IPv6Unspecified(), V6Only: true}},
		{"bound to an interface", "tcp4", "0.0.0.0:0", toLoopback, Socket{Protocol: TCP, Addr: netip.IPv4Unspecified(), Interface: 1}},
		{"UDP", "udp4", "127.0.0.1:0", nil, Socket{Protocol: UDP, Addr: netip.MustParseAddr("127.0.0.1")}},
		{"UDP of IPv6", "udp6", "[::1]:0", nil, Socket{Protocol: UDP, Addr: netip.IPv6Loopback(), V6Only: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			port := open(t, test.network, test.address, test.options)
			got := only(t, read(t), test.want.Protocol, port)
			if got.Inode == 0 || got.Cookie == 0 {
				t.Errorf("got inode %d, cookie %d; want both", got.Inode, got.Cookie)
			}
			if got.UID != uint32(os.Geteuid()) {
				t.Errorf("got uid %d; want %d", got.UID, os.Geteuid())
			}
			got.Port, got.Inode, got.Cookie, got.UID, got.Cgroup = 0, 0, 0, 0, 0
			if got != test.want {
				t.Errorf("got %+v; want %+v", got, test.want)
			}
		})
	}
}

func TestReadLeavesOutConnections(t *testing.T) {
	server := open(t, "udp4", "127.0.0.1:0", nil)
	client, err := net.Dial("udp4", "127.0.0.1:"+strconv.Itoa(int(server)))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	port := uint16(client.LocalAddr().(*net.UDPAddr).Port)
	if slices.ContainsFunc(read(t), func(s Socket) bool { return s.Protocol == UDP && s.Port == port }) {
		t.Errorf("got the connected UDP socket on port %d; want it left out", port)
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	open(t, "tcp4", "127.0.0.1:0", nil)
	r, o := newReader(t), newOwners(t)
	var all []Socket
	look := func() {
		var err error
		if all, err = r.Read(all[:0]); err != nil {
			t.Fatal(err)
		}
		if err := o.Update(all); err != nil {
			t.Fatal(err)
		}
	}
	look()
	// Others' processes and sockets come and go meanwhile, and new ones cost.
	if n := testing.AllocsPerRun(200, look); n > 5 {
		t.Errorf("got %v allocations for a look at what is known; want none", n)
	}
}

func TestReadGoesOnAfterAnUnfinishedDump(t *testing.T) {
	var port uint16
	for range 400 { // more than the kernel answers at a time
		port = open(t, "tcp4", "127.0.0.1:0", nil)
	}
	r := newReader(t)
	room := r.answer
	r.answer = room[:headerSize+8] // the kernel cuts off what does not fit
	if _, err := r.Read(nil); err == nil {
		t.Fatal("got no error from a dump that was cut off")
	}
	r.answer = room
	all, err := r.Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	only(t, all, TCP, port)
}

func dualStack(fd int)  { unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0) }
func toLoopback(fd int) { unix.BindToDevice(fd, "lo") }

// open opens a socket until the end of the test and returns its port.
func open(t *testing.T, network, address string, options func(fd int)) uint16 {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		if options == nil {
			return nil
		}
		return c.Control(func(fd uintptr) { options(int(fd)) })
	}}
	var at net.Addr
	if strings.HasPrefix(network, "udp") {
		c, err := config.ListenPacket(context.Background(), network, address)
		if err != nil {
			t.Skipf("opens a socket, which is refused here: %v", err)
		}
		t.Cleanup(func() { c.Close() })
		at = c.LocalAddr()
	} else {
		l, err := config.Listen(context.Background(), network, address)
		if err != nil {
			t.Skipf("opens a socket, which is refused here: %v", err)
		}
		t.Cleanup(func() { l.Close() })
		at = l.Addr()
	}
	return netip.MustParseAddrPort(at.String()).Port()
}

func newReader(t *testing.T) *Reader {
	t.Helper()
	r, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func read(t *testing.T) []Socket {
	t.Helper()
	all, err := newReader(t).Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func only(t *testing.T, all []Socket, protocol uint8, port uint16) Socket {
	t.Helper()
	all = slices.DeleteFunc(slices.Clone(all), func(s Socket) bool { return s.Protocol != protocol || s.Port != port })
	if len(all) != 1 {
		t.Fatalf("got %d sockets on port %d; want 1", len(all), port)
	}
	return all[0]
}
