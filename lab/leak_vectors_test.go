//go:build linux

package lab_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/lab"
)

// The chains that stop a vector, by what they hook.
const (
	inetIn   = "inet prerouting"
	inetFwd  = "inet forward"
	inetOut  = "inet output"
	bridge   = "bridge forward"
	netdevIn = "netdev ingress"
	netdevTo = "netdev egress"
)

var allChains = []string{inetIn, inetFwd, inetOut, bridge, netdevIn, netdevTo}

var (
	out      = [][]string{{inetOut, netdevTo}}
	in       = [][]string{{inetIn, netdevIn}}
	both     = [][]string{{inetOut, netdevTo}, {inetIn, netdevIn}}
	through  = [][]string{{inetIn, inetFwd, netdevIn, netdevTo}}
	bridged  = [][]string{{bridge, netdevIn, netdevTo}}
	pastIP   = [][]string{{netdevTo}}
	pastIPIn = [][]string{{netdevIn}}
	tracked  = [][]string{{inetIn}} // netdev does not know who began
)

// vector is one way into or out of a host.
type vector struct {
	name string
	// guards are groups of chains: any one chain of each group stops it. A vector
	// with two groups goes both ways.
	guards [][]string
	// try sends a little. What is sent carries the mark's port or its text.
	try func(*scene, mark) error
}

// mark is what one vector's packets are told by.
type mark struct {
	port uint16
	text []byte
}

// in tells whether a packet is one of the vector's.
func (m mark) on(p lab.Packet) bool {
	return p.FromPort == m.port || p.ToPort == m.port || p.Holds(m.text) || p.Holds(m.group().AsSlice())
}

// big is a payload that must be cut into fragments; each holds the mark.
func (m mark) big() []byte { return []byte(strings.Repeat(string(m.text), 4000/len(m.text))) }

// group is a multicast group that nobody else is in.
func (m mark) group() netip.Addr {
	return netip.AddrFrom4([4]byte{239, 77, byte(m.port >> 8), byte(m.port)})
}

// place is somewhere packets are sent from.
type place struct {
	do     func(func() error) error
	link   string
	v4, v6 netip.Addr
	local  netip.Addr // its link-local address, without a zone
	mac    net.HardwareAddr
	index  int
	times  int // how often it sends the same
}

func newPlace(do func(func() error) error, link string, v4, v6 netip.Addr) (place, error) {
	p := place{do: do, link: link, v4: v4, v6: v6, times: 3}
	end := time.Now().Add(5 * time.Second)
	for !p.local.IsValid() {
		err := do(func() error {
			itf, err := net.InterfaceByName(link)
			if err != nil {
				return err
			}
			p.mac, p.index = itf.HardwareAddr, itf.Index
			// One whose address is still being tested for duplicates cannot send.
			state, err := os.ReadFile("/proc/thread-self/net/if_inet6")
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(state)) {
				f := strings.Fields(line) // address, index, length, scope, flags, link
				raw, err := hex.DecodeString(f[0])
				if err != nil || len(f) != 6 || f[5] != link || f[4] != "80" {
					continue
				}
				if a, ok := netip.AddrFromSlice(raw); ok && a.IsLinkLocalUnicast() {
					p.local = a
				}
			}
			return nil
		})
		if err != nil {
			return p, err
		}
		if time.Now().After(end) {
			return p, fmt.Errorf("%s has no link-local address", link)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return p, nil
}

// zone is an address on the place's own link. The number is given, not the name:
// the same name is another link elsewhere.
func (p place) zone(a netip.Addr) netip.Addr { return a.WithZone(fmt.Sprint(p.index)) }

// scene is a host with containers, and all who send to it and from it.
type scene struct {
	host, attacker, management place
	first, second, child       place // two containers on a bridge, one on a macvlan
	established                map[uint16]pair
	hostInBridge               netip.Addr
	broadcast                  net.HardwareAddr
}

// pair are both ends of a connection that began before the isolation.
type pair struct{ host, other net.Conn }

// marked gives each vector its mark.
func marked(i int) mark {
	return mark{port: uint16(21000 + i), text: fmt.Appendf(nil, "<vector %d>", i)}
}

// tryAll tries all vectors at the same time.
func (s *scene) tryAll() []error {
	errs := make([]error, len(vectors))
	done := make(chan struct{})
	for i, v := range vectors {
		go func() { errs[i] = v.try(s, marked(i)); done <- struct{}{} }()
	}
	for range vectors {
		<-done
	}
	return errs
}

// fromKeptPort is the one vector that only connection tracking can stop.
const fromKeptPort = "datagram from a kept peer's port"

// vectors are all the ways that are tried. The order gives them their marks.
var vectors = []vector{
	{"TCP out", out, func(s *scene, m mark) error { return s.host.connect(s.attacker.v4, m.port) }},
	{"TCP out, IPv6", out, func(s *scene, m mark) error { return s.host.connect(s.attacker.v6, m.port) }},
	{"TCP out, link-local", out, func(s *scene, m mark) error { return s.host.connect(s.host.zone(s.attacker.local), m.port) }},
	{"TCP in", in, func(s *scene, m mark) error { return s.knock(s.host.v4, m) }},
	{"TCP in, IPv6", in, func(s *scene, m mark) error { return s.knock(s.host.v6, m) }},
	{"TCP in, link-local", in, func(s *scene, m mark) error { return s.knock(s.attacker.zone(s.host.local), m) }},
	{"TCP established outwards", both, (*scene).talk},
	{"TCP established outwards, IPv6", both, (*scene).talk},
	{"TCP established inwards", both, (*scene).talk},
	{"TCP established inwards, IPv6", both, (*scene).talk},
	{"UDP out", out, func(s *scene, m mark) error { return s.host.datagram(s.attacker.v4, m.port, 0, m.text) }},
	{"UDP out, IPv6", out, func(s *scene, m mark) error { return s.host.datagram(s.attacker.v6, m.port, 0, m.text) }},
	{"UDP out, link-local", out, func(s *scene, m mark) error {
		return s.host.datagram(s.host.zone(s.attacker.local), m.port, 0, m.text)
	}},
	{"UDP out, in fragments", out, func(s *scene, m mark) error { return s.host.datagram(s.attacker.v4, m.port, 0, m.big()) }},
	{"UDP out, in fragments, IPv6", out, func(s *scene, m mark) error { return s.host.datagram(s.attacker.v6, m.port, 0, m.big()) }},
	{"UDP in", in, func(s *scene, m mark) error { return s.deliver(s.host.v4, m, m.text) }},
	{"UDP in, IPv6", in, func(s *scene, m mark) error { return s.deliver(s.host.v6, m, m.text) }},
	{"UDP in, link-local", in, func(s *scene, m mark) error { return s.deliver(s.attacker.zone(s.host.local), m, m.text) }},
	{"UDP in, in fragments", in, func(s *scene, m mark) error { return s.deliver(s.host.v4, m, m.big()) }},
	{"UDP in, in fragments, IPv6", in, func(s *scene, m mark) error { return s.deliver(s.host.v6, m, m.big()) }},
	{"UDP established outwards", both, (*scene).talk},
	{"UDP established outwards, IPv6", both, (*scene).talk},
	{"UDP established inwards", both, (*scene).talk},
	{"UDP established inwards, IPv6", both, (*scene).talk},
	{"ICMP echo out", out, func(s *scene, m mark) error { return s.host.echo(s.attacker.v4, m) }},
	{"ICMP echo out, IPv6", out, func(s *scene, m mark) error { return s.host.echo(s.attacker.v6, m) }},
	{"ICMP echo in", in, func(s *scene, m mark) error { return s.attacker.echo(s.host.v4, m) }},
	{"ICMP echo in, IPv6", in, func(s *scene, m mark) error { return s.attacker.echo(s.host.v6, m) }},
	{"raw IP out", out, func(s *scene, m mark) error {
		return s.host.rawIP(s.attacker.v4, ipv4(s.host.v4, s.attacker.v4, 253, m.text))
	}},
	{"raw IP out, IPv6", out, func(s *scene, m mark) error {
		return s.host.rawIP(s.attacker.v6, ipv6(s.host.v6, s.attacker.v6, 253, m.text))
	}},
	{"raw IP in", in, func(s *scene, m mark) error {
		return s.attacker.rawIP(s.host.v4, ipv4(s.attacker.v4, s.host.v4, 253, m.text))
	}},
	{"raw IP in, IPv6", in, func(s *scene, m mark) error {
		return s.attacker.rawIP(s.host.v6, ipv6(s.attacker.v6, s.host.v6, 253, m.text))
	}},
	{"packet socket, IPv4", pastIP, func(s *scene, m mark) error {
		return s.host.frames(false, frame(s.attacker.mac, s.host.mac, unix.ETH_P_IP, ipv4(s.host.v4, s.attacker.v4, unix.IPPROTO_UDP, udp(m))))
	}},
	{"packet socket, IPv6", pastIP, func(s *scene, m mark) error {
		return s.host.frames(false, frame(s.attacker.mac, s.host.mac, unix.ETH_P_IPV6, ipv6(s.host.v6, s.attacker.v6, unix.IPPROTO_UDP, udp(m))))
	}},
	{"packet socket, no IP", pastIP, func(s *scene, m mark) error {
		return s.host.frames(false, frame(s.broadcast, s.host.mac, 0x88b5, m.text))
	}},
	{"packet socket, VLAN tag", pastIP, func(s *scene, m mark) error {
		inner := binary.BigEndian.AppendUint16([]byte{0, 7}, unix.ETH_P_IP)
		return s.host.frames(false, frame(s.attacker.mac, s.host.mac, unix.ETH_P_8021Q, append(inner, ipv4(s.host.v4, s.attacker.v4, unix.IPPROTO_UDP, udp(m))...)))
	}},
	{"packet socket past the queue, IPv4", pastIP, func(s *scene, m mark) error {
		return s.host.frames(true, frame(s.attacker.mac, s.host.mac, unix.ETH_P_IP, ipv4(s.host.v4, s.attacker.v4, unix.IPPROTO_UDP, udp(m))))
	}},
	{"packet socket past the queue, no IP", pastIP, func(s *scene, m mark) error {
		return s.host.frames(true, frame(s.broadcast, s.host.mac, 0x88b5, m.text))
	}},
	{"IPv6 inside IPv4, out", out, func(s *scene, m mark) error {
		return s.host.rawIP(s.attacker.v4, ipv4(s.host.v4, s.attacker.v4, unix.IPPROTO_IPV6, ipv6(s.host.v6, s.attacker.v6, 253, m.text)))
	}},
	{"DNS to another resolver", out, func(s *scene, m mark) error { return s.host.datagram(s.attacker.v4, 53, m.port, question(m)) }},
	{"DNS to another resolver, IPv6", out, func(s *scene, m mark) error { return s.host.datagram(s.attacker.v6, 53, m.port, question(m)) }},
	{"DNS to another resolver, TCP", out, func(s *scene, m mark) error { return s.host.connectFrom(m.port, s.attacker.v4, 53) }},
	{"DNS in, from another resolver", in, func(s *scene, m mark) error { return s.attacker.datagram(s.host.v4, m.port, 53, m.text) }},
	{"DHCP out, which is not kept", out, func(s *scene, m mark) error { return s.host.datagram(s.attacker.v4, 67, 68, m.text) }},
	{"mDNS out", out, func(s *scene, m mark) error {
		return s.host.datagram(netip.MustParseAddr("224.0.0.251"), 5353, m.port, m.text)
	}},
	{"mDNS out, IPv6", out, func(s *scene, m mark) error {
		return s.host.datagram(s.host.zone(netip.MustParseAddr("ff02::fb")), 5353, m.port, m.text)
	}},
	{"mDNS in", in, func(s *scene, m mark) error {
		return s.toGroup(netip.MustParseAddr("224.0.0.251"), m)
	}},
	{"mDNS in, IPv6", in, func(s *scene, m mark) error {
		return s.toGroup(netip.MustParseAddr("ff02::fb"), m)
	}},
	{"broadcast out", out, func(s *scene, m mark) error {
		return s.host.datagram(netip.MustParseAddr("255.255.255.255"), m.port, 0, m.text)
	}},
	{"IGMP", out, func(s *scene, m mark) error { return s.host.join(m.group()) }},
	{"connection from a kept peer's port", tracked, func(s *scene, m mark) error {
		return s.management.segment(s.management.v4, 443, s.host.v4, m)
	}},
	{fromKeptPort, tracked, func(s *scene, m mark) error {
		return s.management.datagram(s.host.v4, m.port, 444, m.text)
	}},
	{"container out", through, func(s *scene, m mark) error {
		return s.first.datagram(s.attacker.v4, m.port, 0, m.text)
	}},
	{"container to its host", in, func(s *scene, m mark) error {
		return s.first.datagram(s.hostInBridge, m.port, 0, m.text)
	}},
	{"host to a container", out, func(s *scene, m mark) error {
		return s.host.datagram(s.first.v4, m.port, 0, m.text)
	}},
	{"container to container", bridged, func(s *scene, m mark) error {
		return s.first.datagram(s.second.v4, m.port, 0, m.text)
	}},
	{"container to container, IPv6", bridged, func(s *scene, m mark) error {
		return s.first.datagram(s.second.v6, m.port, 0, m.text)
	}},
	{"container to container, no IP", bridged, func(s *scene, m mark) error {
		return s.first.frames(false, frame(s.second.mac, s.first.mac, 0x88b5, m.text))
	}},
	{"published port", through, func(s *scene, m mark) error { return s.attacker.connectFrom(m.port, s.host.v4, 8080) }},
	{"routed to a container", through, func(s *scene, m mark) error {
		return s.attacker.datagram(s.first.v4, m.port, 0, m.text)
	}},
	{"macvlan out", pastIP, func(s *scene, m mark) error { return s.child.datagram(s.attacker.v4, m.port, 0, m.text) }},
	{"macvlan out, IPv6", pastIP, func(s *scene, m mark) error { return s.child.datagram(s.attacker.v6, m.port, 0, m.text) }},
	{"macvlan out, TCP", pastIP, func(s *scene, m mark) error { return s.child.connect(s.attacker.v4, m.port) }},
	{"macvlan out, no IP", pastIP, func(s *scene, m mark) error {
		return s.child.frames(false, frame(s.broadcast, s.child.mac, 0x88b5, m.text))
	}},
	{"macvlan in", pastIPIn, func(s *scene, m mark) error { return s.attacker.datagram(s.child.v4, m.port, 0, m.text) }},
	{"macvlan in, IPv6", pastIPIn, func(s *scene, m mark) error { return s.attacker.datagram(s.child.v6, m.port, 0, m.text) }},
	{"macvlan in, no IP", pastIPIn, func(s *scene, m mark) error {
		return s.attacker.frames(false, frame(s.child.mac, s.attacker.mac, 0x88b5, m.text))
	}},
}

// refused are what a system call answers where isolation works.
var refused = []error{
	syscall.EPERM, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.ENOBUFS,
	syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EPIPE, syscall.EACCES, os.ErrDeadlineExceeded, net.ErrClosed, syscall.ENOTCONN, syscall.EDESTADDRREQ,
}

// quiet takes the refusals out: a vector that gets nowhere is no broken test.
func quiet(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() || slices.ContainsFunc(refused, func(known error) bool { return errors.Is(err, known) }) {
		return nil
	}
	return err
}

// patience is how long a connection may take.
const patience = 300 * time.Millisecond

// repeat calls send as often as the place sends.
func (p place) repeat(send func() error) error {
	for i := range p.times {
		if i > 0 {
			time.Sleep(20 * time.Millisecond)
		}
		if err := send(); quiet(err) != nil {
			return err
		}
	}
	return nil
}

func (p place) connect(to netip.Addr, port uint16) error { return p.connectFrom(0, to, port) }

func (p place) connectFrom(from uint16, to netip.Addr, port uint16) error {
	return quiet(p.do(func() error {
		d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{Port: int(from)}, Control: reuse}
		conn, err := d.Dial("tcp", netip.AddrPortFrom(to, port).String())
		if err != nil {
			return err
		}
		return errors.Join(conn.(*net.TCPConn).SetLinger(0), conn.Close())
	}))
}

func reuse(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1))
	})
	return errors.Join(err, failed)
}

// datagram sends from a port, 0 for any.
func (p place) datagram(to netip.Addr, port, from uint16, payload []byte) error {
	return quiet(p.do(func() error {
		d := net.Dialer{LocalAddr: &net.UDPAddr{Port: int(from)}, Control: reuse}
		conn, err := d.Dial("udp", netip.AddrPortFrom(to, port).String())
		if err != nil {
			return err
		}
		defer conn.Close()
		return p.repeat(func() error {
			_, err := conn.Write(payload)
			return err
		})
	}))
}

// knock connects to a port of the host at which somebody listens.
func (s *scene) knock(to netip.Addr, m mark) error {
	var listener net.Listener
	err := s.host.do(func() (err error) {
		listener, err = net.Listen("tcp", fmt.Sprintf(":%d", m.port))
		return err
	})
	if err != nil {
		return err
	}
	defer listener.Close()
	return s.attacker.connect(to, m.port)
}

// deliver sends to a port of the host at which somebody listens.
func (s *scene) deliver(to netip.Addr, m mark, payload []byte) error {
	var listener net.PacketConn
	err := s.host.do(func() (err error) {
		listener, err = net.ListenPacket("udp", fmt.Sprintf(":%d", m.port))
		return err
	})
	if err != nil {
		return err
	}
	defer listener.Close()
	return s.attacker.datagram(to, m.port, 0, payload)
}

// toGroup sends to a multicast group that the host is in.
func (s *scene) toGroup(group netip.Addr, m mark) error {
	var member *net.UDPConn
	err := s.host.do(func() (err error) {
		itf := &net.Interface{Index: s.host.index, Name: s.host.link}
		member, err = net.ListenMulticastUDP("udp", itf, &net.UDPAddr{IP: group.AsSlice(), Port: int(m.port)})
		return err
	})
	if err != nil {
		return err
	}
	defer member.Close()
	if group.Is6() {
		group = s.attacker.zone(group)
	}
	return s.attacker.datagram(group, m.port, 0, m.text)
}

// join tells the world by IGMP that the host is in a group.
func (p place) join(group netip.Addr) error {
	return quiet(p.do(func() error {
		member, err := net.ListenMulticastUDP("udp4", &net.Interface{Index: p.index, Name: p.link}, &net.UDPAddr{IP: group.AsSlice(), Port: 9})
		if err != nil {
			return err
		}
		time.Sleep(patience)
		return member.Close()
	}))
}

// talk sends both ways on what was connected before.
func (s *scene) talk(m mark) error {
	ends, ok := s.established[m.port]
	if !ok {
		return errors.New("nothing is connected")
	}
	for range s.host.times {
		for _, end := range []net.Conn{ends.host, ends.other} {
			if err := end.SetWriteDeadline(time.Now().Add(patience)); quiet(err) != nil {
				return err
			}
			if _, err := end.Write(m.text); quiet(err) != nil {
				return err
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// establish connects, new, all that the vectors need.
func (s *scene) establish() error {
	for _, ends := range s.established {
		ends.host.Close()
		ends.other.Close()
	}
	s.established = map[uint16]pair{}
	for i, v := range vectors {
		kind, how, found := strings.Cut(v.name, " established ")
		if !found {
			continue
		}
		client, server := s.host, s.attacker
		if strings.HasPrefix(how, "inwards") {
			client, server = s.attacker, s.host
		}
		to := server.v4
		if strings.HasSuffix(how, "IPv6") {
			to = server.v6
		}
		a, b, err := connected(kind, client, server, netip.AddrPortFrom(to, marked(i).port))
		if err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
		if strings.HasPrefix(how, "inwards") {
			a, b = b, a
		}
		s.established[marked(i).port] = pair{host: a, other: b}
	}
	return nil
}

// connected connects two places and has each hear the other once.
func connected(kind string, client, server place, to netip.AddrPort) (a, b net.Conn, err error) {
	if kind == "TCP" {
		a, b, err = connectedTCP(client, server, to)
	} else {
		a, b, err = connectedUDP(client, server, to)
	}
	if err != nil {
		return nil, nil, err
	}
	for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
		if _, err := ends[0].Write([]byte("hello")); err != nil {
			return nil, nil, err
		}
		err := errors.Join(ends[1].SetReadDeadline(time.Now().Add(2*time.Second)), readOnce(ends[1]), ends[1].SetReadDeadline(time.Time{}))
		if err != nil {
			return nil, nil, err
		}
	}
	return a, b, nil
}

func readOnce(c net.Conn) error {
	_, err := c.Read(make([]byte, 64))
	return err
}

func connectedTCP(client, server place, to netip.AddrPort) (a, b net.Conn, err error) {
	var listener net.Listener
	err = server.do(func() (err error) {
		listener, err = (&net.ListenConfig{Control: reuse}).Listen(context.Background(), "tcp", to.String())
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	err = client.do(func() (err error) {
		a, err = net.DialTimeout("tcp", to.String(), 2*time.Second)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	b, err = listener.Accept()
	return a, b, err
}

func connectedUDP(client, server place, to netip.AddrPort) (a, b net.Conn, err error) {
	err = client.do(func() (err error) {
		a, err = net.Dial("udp", to.String())
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	err = server.do(func() (err error) {
		d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(to), Control: reuse}
		b, err = d.Dial("udp", a.LocalAddr().String())
		return err
	})
	return a, b, err
}

// echo sends pings.
func (p place) echo(to netip.Addr, m mark) error {
	message := append([]byte{8, 0, 0, 0, byte(m.port >> 8), byte(m.port), 0, 1}, m.text...)
	domain, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if to.Is6() {
		message[0], domain, protocol = 128, unix.AF_INET6, unix.IPPROTO_ICMPV6 // the kernel sums up ICMPv6
	} else {
		binary.BigEndian.PutUint16(message[2:], checksum(message))
	}
	return p.raw(domain, protocol, to, message)
}

// rawIP sends a packet with a header of its own.
func (p place) rawIP(to netip.Addr, packet []byte) error {
	if to.Is6() {
		return p.raw(unix.AF_INET6, unix.IPPROTO_RAW, to, packet)
	}
	return p.raw(unix.AF_INET, unix.IPPROTO_RAW, to, packet)
}

// segment sends the first packet of a TCP connection to the mark's port, from a
// port that a program may be using.
func (p place) segment(from netip.Addr, port uint16, to netip.Addr, m mark) error {
	header := make([]byte, 20)
	binary.BigEndian.PutUint16(header, port)
	binary.BigEndian.PutUint16(header[2:], m.port)
	header[12], header[13] = 5<<4, 0x02
	binary.BigEndian.PutUint16(header[14:], 1024)
	src, dst := from.As4(), to.As4()
	pseudo := append(append(append([]byte{}, src[:]...), dst[:]...), 0, unix.IPPROTO_TCP, 0, 20)
	binary.BigEndian.PutUint16(header[16:], checksum(append(pseudo, header...)))
	return p.rawIP(to, ipv4(from, to, unix.IPPROTO_TCP, header))
}

func (p place) raw(domain, protocol int, to netip.Addr, data []byte) error {
	return quiet(p.do(func() error {
		fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		var address unix.Sockaddr = &unix.SockaddrInet6{Addr: to.As16()}
		if to.Is4() {
			address = &unix.SockaddrInet4{Addr: to.As4()}
		}
		return p.repeat(func() error { return unix.Sendto(fd, data, 0, address) })
	}))
}

// frames sends whole frames, with or without the link's queue.
func (p place) frames(pastQueue bool, frame []byte) error {
	return quiet(p.do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if pastQueue {
			if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
				return err
			}
		}
		return p.repeat(func() error { return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: p.index}) })
	}))
}

func frame(to, from net.HardwareAddr, kind uint16, payload []byte) []byte {
	f := append(append(append([]byte{}, to...), from...), byte(kind>>8), byte(kind))
	f = append(f, payload...)
	return append(f, make([]byte, max(0, 60-len(f)))...)
}

func ipv4(from, to netip.Addr, protocol byte, payload []byte) []byte {
	h := make([]byte, 20, 20+len(payload))
	h[0], h[8], h[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	copy(h[12:], from.AsSlice())
	copy(h[16:], to.AsSlice())
	binary.BigEndian.PutUint16(h[10:], checksum(h))
	return append(h, payload...)
}

func ipv6(from, to netip.Addr, next byte, payload []byte) []byte {
	h := make([]byte, 40, 40+len(payload))
	h[0], h[6], h[7] = 6<<4, next, 64
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	copy(h[8:], from.AsSlice())
	copy(h[24:], to.AsSlice())
	return append(h, payload...)
}

// udp is a datagram without a checksum.
func udp(m mark) []byte {
	h := make([]byte, 8, 8+len(m.text))
	binary.BigEndian.PutUint16(h, m.port)
	binary.BigEndian.PutUint16(h[2:], m.port)
	binary.BigEndian.PutUint16(h[4:], uint16(8+len(m.text)))
	return append(h, m.text...)
}

// question asks a resolver for the address of the mark.
func question(m mark) []byte {
	q := append([]byte{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, byte(len(m.text))}, m.text...)
	return append(q, 0, 0, 1, 0, 1)
}

func checksum(data []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(data); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(data[i:]))
	}
	if len(data)%2 == 1 {
		sum += uint32(data[len(data)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
