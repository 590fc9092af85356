package platform

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// udpCase is what one program does with UDP sockets.
type udpCase struct {
	name   string
	port   int // that it asks for; 0 if the kernel chooses
	serves bool
	uid    int  // whose it is; 0 is root
	once   bool // it cannot be opened twice with other ports
	open   func(k *udpCorpus, port int)
}

// udpCases are opened twice, before the agent starts and afterwards. Ports from
// 32768 to 60999 are those that the kernel hands out. A program asks if only those
// answer it whom it asked; it serves if anybody who knows its port may begin.
var udpCases = []udpCase{
	// Names.
	{name: "resolver of the C library, connected", open: asks(v4, connectedTo("192.0.2.2", 53))},
	{name: "resolver of the C library over IPv6", open: asks(v6, connectedTo("2001:db8::2", 53))},
	{name: "resolver that is not connected", open: asks(v4, sent("192.0.2.2", 53))},
	{name: "resolver bound to the wildcard first", open: asks(v4, bound("0.0.0.0"), sent("192.0.2.2", 53))},
	{name: "resolver with 200 source ports", uid: 53, open: many(200, asks(v4, bound("0.0.0.0"), sent("192.0.2.2", 53)))},
	{name: "resolver with source ports of its own choice, connected", port: 45000, uid: 53, open: spreadPorts(20, asks(v4, bound("0.0.0.0"), connectedTo("192.0.2.2", 53)))},
	{name: "resolver that asks from its fixed port, connected", port: 5300, open: asks(v4, bound("0.0.0.0"), connectedTo("192.0.2.2", 53))},
	{name: "name server", port: 53, once: true, serves: true, open: answers(v4, bound("0.0.0.0"))},
	{name: "stub resolver on a loopback address", port: 1053, serves: true, open: answers(v4, bound("127.0.0.53"))},
	{name: "one-shot question by multicast", open: asks(v4, bound("0.0.0.0"), sent("224.0.0.251", 5353))},
	{name: "mDNS responders that share 5353", port: 5353, once: true, serves: true, open: many(3, answers(v4, reuse, bound("0.0.0.0"), joined("224.0.0.251")))},
	{name: "mDNS bound to the group", port: 5363, serves: true, open: answers(v4, reuse, bound("224.0.0.251"), joined("224.0.0.251"))},
	{name: "LLMNR over IPv6", port: 5355, once: true, serves: true, open: answers(v6only, reuse, bound("::"))},

	// QUIC and calls.
	{name: "QUIC client, connected", uid: 1000, open: asks(v6, connectedTo("2001:db8::2", 443))},
	{name: "QUIC client, not connected", uid: 1000, open: asks(v6, bound("::"), sent("2001:db8::2", 443))},
	{name: "QUIC client that moved to another path", uid: 1000, open: asks(v4, connectedTo("192.0.2.2", 443), disconnected, sent("192.0.2.2", 443))},
	{name: "QUIC server", port: 443, once: true, serves: true, open: answers(v6, bound("::"))},
	{name: "QUIC server with a socket for each core", port: 8443, serves: true, open: many(4, answers(v4, reusePort, bound("0.0.0.0")))},
	{name: "browser that chooses a random port, connected", port: 20111, uid: 1000, open: asks(v4, bound("0.0.0.0"), connectedTo("192.0.2.2", 53))},
	{name: "call that lives long", uid: 1000, open: many(4, asks(v4, bound("192.0.2.1"), sent("192.0.2.2", 3478)))},
	{name: "call over a link-local address", uid: 1000, open: asks(v6, boundTo("eth0"), bound("fe80::1"))},

	// Time.
	{name: "NTP client", open: asks(v4, sent("192.0.2.2", 123))},
	{name: "chronyd's questions, connected", open: many(4, asks(v4, connectedTo("192.0.2.2", 123)))},
	{name: "chronyd's commands on loopback", port: 323, once: true, serves: true, open: answers(v4, bound("127.0.0.1"))},
	{name: "NTP server on both families", port: 123, once: true, serves: true, open: both(answers(v4, bound("0.0.0.0")), answers(v6only, bound("::")))},
	{name: "PTP on an interface", port: 319, once: true, serves: true, open: answers(v4, boundTo("eth0"), bound("0.0.0.0"))},

	// The network itself.
	{name: "DHCP client", port: 68, once: true, serves: true, open: answers(v4, boundTo("eth0"), bound("0.0.0.0"))},
	{name: "DHCP client after its lease, connected", port: 1068, open: asks(v4, bound("192.0.2.1"), connectedTo("192.0.2.2", 67))},
	{name: "DHCPv6 client", port: 546, once: true, serves: true, open: answers(v6, boundTo("eth0"), bound("fe80::1"))},
	{name: "tunnel of the kernel", port: 4789, once: true, serves: true, open: vxlan},
	{name: "tunnel of the kernel in the range", port: 40789, serves: true, open: vxlan},
	{name: "VPN client with a fixed port, connected", port: 1194, open: asks(v4, bound("0.0.0.0"), connectedTo("192.0.2.2", 1194))},
	{name: "VPN server", port: 41194, serves: true, open: answers(v4, bound("0.0.0.0"))},

	// Ports within the range of the kernel that were asked for.
	{name: "service in the range", port: 40000, serves: true, open: answers(v4, bound("0.0.0.0"))},
	{name: "service in the range over IPv6", port: 40010, serves: true, open: answers(v6, bound("::"))},
	{name: "service in the range, IPv6 alone", port: 40020, serves: true, open: answers(v6only, bound("::"))},
	{name: "service in the range for IPv4 through IPv6", port: 40030, serves: true, open: answers(v6, bound("::ffff:192.0.2.1"))},
	{name: "service in the range of a user", port: 40040, uid: 1000, serves: true, open: answers(v4, bound("0.0.0.0"))},
	{name: "service in the range on an interface", port: 40050, serves: true, open: answers(v4, boundTo("eth0"), bound("0.0.0.0"))},
	{name: "group that shares a port in the range", port: 40060, serves: true, open: many(4, answers(v6, reusePort, bound("::")))},
	{name: "first port of the range", port: 32768, serves: true, open: answers(v4, bound("0.0.0.0"))},
	{name: "last port below the range", port: 32764, serves: true, open: answers(v4, bound("0.0.0.0"))},
	{name: "service that got its second choice", port: 40070, serves: true, open: answers(v4, portRefused, bound("0.0.0.0"))},
	{name: "service whose socket another process opened", port: 40080, serves: true, open: handedOver},
	{name: "service that is restarted", port: 40090, serves: true, open: restarted(answers(v4, bound("0.0.0.0")))},
	{name: "service beside questions of the same user", port: 40100, uid: 1000, serves: true, open: both(answers(v4, bound("192.0.2.1")), anyPort(asks(v4, bound("0.0.0.0"))))},
	{name: "server that answers one peer, connected", port: 40110, open: asks(v4, bound("192.0.2.1"), connectedTo("192.0.2.2", 9999))},
	{name: "server that let its peer go", port: 40120, serves: true, open: answers(v4, bound("0.0.0.0"), connectedTo("192.0.2.2", 9999), disconnected)},
	{name: "service bound without rights to its address", port: 40130, serves: true, open: answers(v4, freebind, bound("198.51.100.7"))},

	// Ports that the kernel chose.
	{name: "bound to any port, long-lived", open: asks(v4, bound("0.0.0.0"))},
	{name: "bound to any port on loopback", open: asks(v4, bound("127.0.0.1"))},
	{name: "bound to any port by asking for an address alone", open: asks(v4, noPort, bound("192.0.2.1"), sent("192.0.2.2", 9))},
	{name: "bound by sending", open: asks(v6, sent("2001:db8::2", 9))},
	{name: "refused the port it asked for, then any", open: asks(v4, portRefused, bound("0.0.0.0"))},
	{name: "socket that was never bound", open: never},
	{name: "question on an interface", open: asks(v4, boundTo("eth0"), sent("192.0.2.2", 9))},
	{name: "discovery by multicast", uid: 1000, open: asks(v4, bound("192.0.2.1"), sent("239.255.255.250", 1900))},
	{name: "discovery, answering side", port: 1900, once: true, serves: true, open: answers(v4, reuse, bound("0.0.0.0"), joined("239.255.255.250"))},
	{name: "questions of many users on one port", open: many(2, asks(v4, bound("127.0.0.1")))},
}

// udpFamily is how a socket is made.
type udpFamily struct{ domain, v6only int }

var (
	v4     = udpFamily{unix.AF_INET, 0}
	v6     = udpFamily{unix.AF_INET6, 0}
	v6only = udpFamily{unix.AF_INET6, 1}
)

// step is what a program does with its socket.
type step func(fd, domain, port int) error

func asks(f udpFamily, steps ...step) func(*udpCorpus, int)    { return socket(f, false, steps) }
func answers(f udpFamily, steps ...step) func(*udpCorpus, int) { return socket(f, true, steps) }

// socket takes the steps, and notes what the port that came of it is.
func socket(f udpFamily, serves bool, steps []step) func(*udpCorpus, int) {
	return func(k *udpCorpus, port int) {
		fd, err := unix.Socket(f.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		k.check(err)
		k.fds = append(k.fds, fd)
		if f.domain == unix.AF_INET6 {
			k.check(unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, f.v6only))
		}
		for _, s := range steps {
			k.check(s(fd, f.domain, port))
		}
		k.note(fd, serves)
	}
}

// many opens several sockets that share a port, or that take any.
func many(n int, open func(*udpCorpus, int)) func(*udpCorpus, int) {
	return func(k *udpCorpus, port int) {
		for range n {
			open(k, port)
		}
	}
}

// spreadPorts opens several sockets on ports of their own.
func spreadPorts(n int, open func(*udpCorpus, int)) func(*udpCorpus, int) {
	return func(k *udpCorpus, port int) {
		for i := range n {
			open(k, port+10*i)
		}
	}
}

func both(a, b func(*udpCorpus, int)) func(*udpCorpus, int) {
	return func(k *udpCorpus, port int) {
		a(k, port)
		b(k, port)
	}
}

// anyPort opens a socket that takes any port though its program has one of its own.
func anyPort(open func(*udpCorpus, int)) func(*udpCorpus, int) {
	return func(k *udpCorpus, _ int) { open(k, 0) }
}

// restarted closes what it opened, and opens it again.
func restarted(open func(*udpCorpus, int)) func(*udpCorpus, int) {
	return func(k *udpCorpus, port int) {
		open(k, port)
		last := len(k.fds) - 1
		k.check(unix.Close(k.fds[last]))
		k.fds = k.fds[:last]
		open(k, port)
	}
}

// handedOver lets another process hold the socket that this one opened.
func handedOver(k *udpCorpus, port int) {
	answers(v4, bound("0.0.0.0"))(k, port)
	last := len(k.fds) - 1
	file := os.NewFile(uintptr(k.fds[last]), "socket")
	k.fds = k.fds[:last]
	cmd := exec.Command("sleep", "60")
	cmd.ExtraFiles = []*os.File{file}
	k.check(cmd.Start())
	k.check(file.Close())
	k.ends = append(k.ends, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// vxlan has the kernel open a socket, which no process holds.
func vxlan(k *udpCorpus, port int) {
	out, err := exec.Command("ip", "link", "add", fmt.Sprintf("vx%d", port), "type", "vxlan",
		"id", strconv.Itoa(port), "local", "192.0.2.1", "dstport", strconv.Itoa(port)).CombinedOutput()
	if err == nil {
		out, err = exec.Command("ip", "link", "set", fmt.Sprintf("vx%d", port), "up").CombinedOutput()
	}
	if err != nil {
		k.t.Logf("%s is left out: %s", k.current.name, out) // the kernel has none
		return
	}
	k.real[uint16(port)], k.of[uint16(port)] = true, k.current.name
}

// never binds.
func never(k *udpCorpus, _ int) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	k.check(err)
	k.fds = append(k.fds, fd)
}

// note says of a port what it is.
func (k *udpCorpus) note(fd int, serves bool) {
	name, err := unix.Getsockname(fd)
	k.check(err)
	var port uint16
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		port = uint16(a.Port)
	case *unix.SockaddrInet6:
		port = uint16(a.Port)
	}
	if was, known := k.of[port]; known && was != k.current.name {
		k.t.Logf("%s and %s share %d", was, k.current.name, port)
		serves = serves || k.real[port]
	}
	k.real[port], k.of[port] = serves, k.current.name
}

func (k *udpCorpus) check(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Errorf("%s: %v", k.current.name, err)
		runtime.Goexit()
	}
}

func bound(address string) step {
	return func(fd, domain, port int) error { return unix.Bind(fd, sockaddr(domain, address, port)) }
}

func connectedTo(address string, port int) step {
	return func(fd, domain, _ int) error { return unix.Connect(fd, sockaddr(domain, address, port)) }
}

func sent(address string, port int) step {
	return func(fd, domain, _ int) error {
		if domain == unix.AF_INET {
			out := &unix.IPMreqn{Ifindex: worldIndex}
			if err := unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, out); err != nil {
				return err
			}
		}
		return unix.Sendto(fd, []byte("?"), 0, sockaddr(domain, address, port))
	}
}

func joined(group string) step {
	return func(fd, _, _ int) error {
		return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP,
			&unix.IPMreqn{Multiaddr: netip.MustParseAddr(group).As4(), Ifindex: worldIndex})
	}
}

func boundTo(device string) step {
	return func(fd, _, _ int) error { return unix.BindToDevice(fd, device) }
}

func option(level, name int) step {
	return func(fd, _, _ int) error { return unix.SetsockoptInt(fd, level, name, 1) }
}

var (
	reuse     = option(unix.SOL_SOCKET, unix.SO_REUSEADDR)
	reusePort = option(unix.SOL_SOCKET, unix.SO_REUSEPORT)
	freebind  = option(unix.IPPROTO_IP, unix.IP_FREEBIND)
	noPort    = option(unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT)
)

// disconnected undoes connect: what is all zero has no family.
func disconnected(fd, _, _ int) error {
	var none unix.RawSockaddr
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none))
	if errno != 0 {
		return errno
	}
	return nil
}

// portRefused asks for a port that somebody has: that of the name server.
func portRefused(fd, domain, _ int) error {
	if err := unix.Bind(fd, sockaddr(domain, "0.0.0.0", 53)); err != unix.EADDRINUSE {
		return fmt.Errorf("bind a port that is taken: %w", cmp.Or(err, error(unix.EINVAL)))
	}
	return nil
}

// worldIndex is the index of eth0: see inWorld.
const worldIndex = 77

func sockaddr(domain int, text string, port int) unix.Sockaddr {
	a := netip.MustParseAddr(text)
	if domain == unix.AF_INET {
		return &unix.SockaddrInet4{Port: port, Addr: a.As4()}
	}
	to := &unix.SockaddrInet6{Port: port, Addr: a.As16()}
	if a.IsLinkLocalUnicast() {
		to.ZoneId = worldIndex
	}
	return to
}
