//go:build linux

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Watch records packets at several places at once, until the test ends.
type Watch struct {
	mu      sync.Mutex
	packets []Packet
	arrived map[arrival][]time.Time // what a host's cable brought it
	own     map[netip.Addr]bool     // the host's addresses
	stop    chan struct{}
	readers sync.WaitGroup
	taps    []tap
}

// arrival is what tells a packet that came over a cable from one that the host
// made itself.
type arrival struct {
	from, to netip.AddrPort
	flags    byte
}

func arrivalOf(p Packet) arrival {
	return arrival{netip.AddrPortFrom(p.From, p.FromPort), netip.AddrPortFrom(p.To, p.ToPort), p.Flags}
}

// tap is one socket that packets are read from.
type tap struct {
	place string
	fd    int
	frame bool // a packet socket, which counts what it lost
}

// kept is how much of a packet is kept.
const kept = 256

// NewWatch makes a watch that looks nowhere yet.
func NewWatch(t testing.TB) *Watch {
	w := &Watch{stop: make(chan struct{}), arrived: map[arrival][]time.Time{}, own: map[netip.Addr]bool{}}
	t.Cleanup(func() {
		close(w.stop)
		w.readers.Wait()
		for _, tap := range w.taps {
			if tap.frame {
				stats, err := unix.GetsockoptTpacketStats(tap.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
				if err != nil || stats.Drops > 0 {
					t.Errorf("the capture at the %s lost frames: %+v, %v", tap.place, stats, err)
				}
			}
			unix.Close(tap.fd)
		}
	})
	return w
}

// Since returns what was seen from that moment on, after a moment for what is
// still on its way.
func (w *Watch) Since(at time.Time) []Packet {
	time.Sleep(60 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Packet
	for _, p := range w.packets {
		if !p.At.Before(at) && !w.homemade(p) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b Packet) int { return a.At.Compare(b.At) })
	return out
}

// homemade tells whether the host itself made a packet that reached it, and no
// cable brought one like it: what it sends to a group that it is in, and the
// reset with which its own rules end its own connection.
func (w *Watch) homemade(p Packet) bool {
	reset := p.Protocol == protoTCP && p.Flags&tcpRST != 0
	return p.Place == "inside" && (reset || w.own[p.From]) &&
		!slices.ContainsFunc(w.arrived[arrivalOf(p)], func(at time.Time) bool { return p.At.Sub(at).Abs() < 50*time.Millisecond })
}

func (w *Watch) add(p Packet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.packets = append(w.packets, p)
}

func (w *Watch) arrive(p Packet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.arrived[arrivalOf(p)] = append(w.arrived[arrivalOf(p)], p.At)
}

// Wire records every frame that the host sends, at the far end of its cable.
func (w *Watch) Wire(t testing.TB, h *Host) {
	t.Helper()
	w.Link(t, "wire", h.network.hub.Do, h.port(), true)
}

// Link records the frames that come in at a link: those that the host sent if
// the link is the far end of its cable (out), else those that reached something
// inside the host. In runs a function in the link's namespace.
func (w *Watch) Link(t testing.TB, place string, in func(func() error) error, link string, out bool) {
	t.Helper()
	fd := -1
	err := in(func() (err error) {
		index, err := linkIndex(link)
		if err != nil {
			return err
		}
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: index}),
		)
	})
	if err == nil {
		err = w.read(tap{place: place, fd: fd, frame: true}, func(data, control []byte, from unix.Sockaddr, at time.Time) (Packet, bool) {
			sender, ok := from.(*unix.SockaddrLinklayer)
			if !ok {
				return Packet{}, false
			}
			p := readFrame(withTag(data, control))
			p.At, p.Place, p.Out = at, place, out
			if sender.Pkttype == unix.PACKET_OUTGOING {
				w.arrive(p)
				return Packet{}, false
			}
			return p, true
		})
	}
	if err != nil {
		t.Fatalf("watch the %s: %v", place, err)
	}
}

// protocols are those of IP that Inside listens to; 253 is for experiments.
var protocols = []int{unix.IPPROTO_ICMP, unix.IPPROTO_IGMP, unix.IPPROTO_TCP, unix.IPPROTO_UDP, 253}

// Inside records every IP packet that reaches the programs of a host from a
// network: a packet socket there would also see what the rules drop later.
func (w *Watch) Inside(t testing.TB, h *Host) {
	t.Helper()
	err := h.Do(func() error {
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				w.own[p.Addr()] = true
			}
		}
		for _, protocol := range protocols {
			if err := w.insideIPv4(protocol); err != nil {
				return err
			}
			if protocol == unix.IPPROTO_ICMP {
				protocol = unix.IPPROTO_ICMPV6
			}
			if protocol == unix.IPPROTO_IGMP {
				continue
			}
			if err := w.insideIPv6(protocol); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("watch inside %s: %v", h.Name, err)
	}
}

func (w *Watch) insideIPv4(protocol int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1); err != nil {
		return err
	}
	return w.read(tap{place: "inside", fd: fd}, func(data, control []byte, _ unix.Sockaddr, at time.Time) (Packet, bool) {
		info := controlData(control, unix.IPPROTO_IP, unix.IP_PKTINFO)
		if len(info) < 4 || binary.NativeEndian.Uint32(info) == loopback {
			return Packet{}, false
		}
		p := Packet{EtherType: etherIPv4, At: at, Place: "inside"}
		p.readNetwork(data)
		return p, true
	})
}

// insideIPv6 gives a packet back the header that a raw socket of IPv6 does not
// show.
func (w *Watch) insideIPv6(protocol int) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1))
	if err != nil {
		return err
	}
	return w.read(tap{place: "inside", fd: fd}, func(data, control []byte, from unix.Sockaddr, at time.Time) (Packet, bool) {
		info := controlData(control, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO)
		hops := controlData(control, unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT)
		sender, ok := from.(*unix.SockaddrInet6)
		if !ok || len(info) < 20 || len(hops) < 4 || binary.NativeEndian.Uint32(info[16:]) == loopback {
			return Packet{}, false
		}
		header := make([]byte, 40, 40+len(data))
		header[0], header[6], header[7] = 6<<4, byte(protocol), hops[0]
		copy(header[8:], sender.Addr[:])
		copy(header[24:], info[:16])
		p := Packet{EtherType: etherIPv6, At: at, Place: "inside"}
		p.readNetwork(append(header, data...))
		return p, true
	})
}

// loopback is the number of lo in every network namespace.
const loopback = 1

// read reads a socket until the watch ends.
func (w *Watch) read(tap tap, take func(data, control []byte, from unix.Sockaddr, at time.Time) (Packet, bool)) error {
	err := errors.Join(
		unix.SetsockoptInt(tap.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptInt(tap.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		unix.SetsockoptTimeval(tap.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}),
	)
	if err != nil {
		return fmt.Errorf("prepare socket: %w", err)
	}
	w.taps = append(w.taps, tap)
	w.readers.Go(func() {
		data, control := make([]byte, kept), make([]byte, 512)
		for {
			n, c, _, from, err := unix.Recvmsg(tap.fd, data, control, 0)
			if err == nil {
				at := time.Now()
				if stamp := controlData(control[:c], unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS); len(stamp) >= 16 {
					at = time.Unix(int64(binary.NativeEndian.Uint64(stamp)), int64(binary.NativeEndian.Uint64(stamp[8:])))
				}
				if p, ok := take(slices.Clone(data[:min(n, kept)]), control[:c], from, at); ok {
					w.add(p)
				}
				continue
			}
			select {
			case <-w.stop:
				return
			default: // no packet within the timeout, or an error of an earlier one
			}
		}
	})
	return nil
}

// controlData returns one of the notes that the kernel gives with a packet.
func controlData(control []byte, level, kind int) []byte {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		if int(m.Header.Level) == level && int(m.Header.Type) == kind {
			return m.Data
		}
	}
	return nil
}

// withTag puts the VLAN tag back that the kernel took off the frame: struct
// tpacket_auxdata of packet(7).
func withTag(frame, control []byte) []byte {
	aux := controlData(control, unix.SOL_PACKET, unix.PACKET_AUXDATA)
	if len(aux) < 20 || len(frame) < 12 || binary.NativeEndian.Uint32(aux)&unix.TP_STATUS_VLAN_VALID == 0 {
		return frame
	}
	kind := uint16(etherVLAN)
	if binary.NativeEndian.Uint32(aux)&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		kind = binary.NativeEndian.Uint16(aux[18:])
	}
	tagged := binary.BigEndian.AppendUint16(slices.Clone(frame[:12]), kind)
	tagged = binary.BigEndian.AppendUint16(tagged, binary.NativeEndian.Uint16(aux[16:]))
	return append(tagged, frame[12:]...)
}

func networkOrder(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

// linkIndex is the number of a link in the namespace of the calling thread.
func linkIndex(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0, fmt.Errorf("find link %s: %w", name, err)
	}
	return int(request.Uint32()), nil
}

// Forbids returns the packets that may not pass.
func (k Keep) Forbids(packets []Packet) []Packet {
	return slices.DeleteFunc(slices.Clone(packets), k.Allows)
}
