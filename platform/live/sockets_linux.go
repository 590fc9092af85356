package live

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Sizes and numbers from linux/inet_diag.h and linux/sock_diag.h.
const (
	answerSize      = 72 // struct inet_diag_msg
	tcpGetSock      = 18 // TCPDIAG_GETSOCK
	sockDestroy     = 21 // SOCK_DESTROY
	attributeCgroup = 21 // INET_DIAG_CGROUP_ID
)

// States as bits of the filter. A TCP socket that is closed is in no table, and
// one that is only bound is not connected.
const (
	tcpStates = 1<<Established | 1<<SynSent | 1<<SynReceived | 1<<4 | 1<<5 | 1<<TimeWait |
		1<<8 | 1<<9 | 1<<Listening | 1<<11 | 1<<12
	udpStates = 1<<Established | 1<<Closed
)

// Sockets is a line to the sockets of a network namespace, or rather two: one to
// list them, and one to end them meanwhile.
type Sockets struct{ list, end *line }

// OpenSockets opens a line to the sockets of the calling thread's namespace.
func OpenSockets() (*Sockets, error) {
	var s Sockets
	var err error
	if s.list, err = open(unix.NETLINK_SOCK_DIAG); err != nil {
		return nil, wrap("open socket diagnosis", err)
	}
	if s.end, err = open(unix.NETLINK_SOCK_DIAG); err != nil {
		s.list.close()
		return nil, wrap("open socket diagnosis", err)
	}
	return &s, nil
}

// Close closes the line.
func (s *Sockets) Close() error { return errors.Join(s.list.close(), s.end.close()) }

// List calls each with every socket of a protocol, those that listen first. The
// sockets are each's to keep. ENOENT says that this kernel has no diagnosis for
// the protocol.
func (s *Sockets) List(protocol uint8, each func(*Socket)) error {
	var some []Socket // so that not each socket needs an allocation
	add := func(body []byte) error {
		if len(some) == cap(some) {
			some = make([]Socket, 0, 256)
		}
		socket, err := parseSocket(body, protocol)
		if err != nil {
			return err
		}
		some = append(some, socket)
		each(&some[len(some)-1])
		return nil
	}
	if protocol == TCP {
		// The table of connections is large even when nearly empty. The older
		// request is the only one for which the kernel walks through it once for
		// both families.
		request := make([]byte, 4+idSize+8) // struct inet_diag_req
		binary.NativeEndian.PutUint32(request[4+idSize:], tcpStates)
		return wrap("list sockets", s.list.dump(tcpGetSock, request, add))
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		request := make([]byte, 8+idSize) // struct inet_diag_req_v2
		request[0], request[1] = family, protocol
		binary.NativeEndian.PutUint32(request[4:], udpStates)
		if err := s.list.dump(unix.SOCK_DIAG_BY_FAMILY, request, add); err != nil {
			return wrap("list sockets", err)
		}
	}
	return nil
}

// parseSocket reads a struct inet_diag_msg and the attributes behind it. Ports
// and addresses are in network order, all else is in the host's.
func parseSocket(b []byte, protocol uint8) (Socket, error) {
	if len(b) < answerSize {
		return Socket{}, errMalformed
	}
	native := binary.NativeEndian
	s := Socket{
		Protocol: protocol, State: b[1], family: b[0],
		Cookie: uint64(native.Uint32(b[44:])) | uint64(native.Uint32(b[48:]))<<32,
		UID:    native.Uint32(b[64:]),
		Inode:  uint64(native.Uint32(b[68:])),
		id:     [idSize]byte(b[4 : 4+idSize]),
	}
	from, to := b[8:24], b[24:40]
	var local, remote netip.Addr
	switch s.family {
	case unix.AF_INET:
		local, remote = netip.AddrFrom4([4]byte(from)), netip.AddrFrom4([4]byte(to))
	case unix.AF_INET6:
		local, remote = netip.AddrFrom16([16]byte(from)).Unmap(), netip.AddrFrom16([16]byte(to)).Unmap()
	default:
		return Socket{}, errMalformed
	}
	s.Local = netip.AddrPortFrom(local, binary.BigEndian.Uint16(b[4:]))
	s.Remote = netip.AddrPortFrom(remote, binary.BigEndian.Uint16(b[6:]))
	err := attributes(b[answerSize:], func(kind uint16, _, value []byte) error {
		if kind == attributeCgroup && len(value) >= 8 {
			s.Cgroup = native.Uint64(value)
		}
		return nil
	})
	return s, err
}

// Destroy ends the sockets, and calls refused for those that the kernel does not
// end: ENOENT if it was gone, EPERM without CAP_NET_ADMIN, EOPNOTSUPP or EINVAL
// if this kernel cannot. Whoever has one of them open gets ECONNABORTED.
//
// A UDP socket gets the error and loses its peer, but it lives on: what it sends
// later is a new flow. It may be used while another goroutine is in List.
func (s *Sockets) Destroy(list []*Socket, refused func(socket *Socket, err unix.Errno)) error {
	err := s.end.tell(len(list), func(b []byte, i int, sequence uint32) []byte {
		socket := list[i]
		b = appendHeader(b, sockDestroy, unix.NLM_F_REQUEST, sequence)
		b = append(b, socket.family, socket.Protocol, 0, 0)
		b = binary.NativeEndian.AppendUint32(b, ^uint32(0))
		return append(b, socket.id[:]...)
	}, func(i int, err unix.Errno) { refused(list[i], err) })
	return wrap("end sockets", err)
}

// Addresses returns the addresses of the calling thread's network namespace.
func Addresses() (map[netip.Addr]bool, error) {
	l, err := open(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, wrap("list addresses", err)
	}
	defer l.close()
	found := map[netip.Addr]bool{}
	err = l.dump(unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg), func(body []byte) error {
		if len(body) < unix.SizeofIfAddrmsg {
			return errMalformed
		}
		return attributes(body[unix.SizeofIfAddrmsg:], func(kind uint16, _, value []byte) error {
			// On a wire between two, IFA_ADDRESS is the other end: then IFA_LOCAL
			// is there as well. IPv6 has mostly the former alone.
			if a, ok := netip.AddrFromSlice(value); ok && (kind == unix.IFA_LOCAL || (kind == unix.IFA_ADDRESS && !hasLocal(body))) {
				found[a] = true
			}
			return nil
		})
	})
	return found, wrap("list addresses", err)
}

func hasLocal(body []byte) bool {
	var has bool
	_ = attributes(body[unix.SizeofIfAddrmsg:], func(kind uint16, _, _ []byte) error {
		has = has || kind == unix.IFA_LOCAL
		return nil
	})
	return has
}
