package sockets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// States of a socket as bits of the filter, from the kernel's tcp_states.h. A
// UDP socket that is bound but not connected is in state CLOSE.
const (
	stateListen      = 1 << 10
	stateUnconnected = 1 << 7
)

// Sizes and attribute numbers from linux/netlink.h and linux/inet_diag.h.
const (
	headerSize  = 16
	requestSize = headerSize + 56 // with struct inet_diag_req_v2
	answerSize  = 72              // struct inet_diag_msg

	attributeV6Only = 11 // INET_DIAG_SKV6ONLY
	attributeCgroup = 21 // INET_DIAG_CGROUP_ID
)

// question is one of the four dumps that make a reading: the kernel answers for
// one protocol and one address family at a time.
type question struct {
	protocol, family uint8
	states           uint32
}

var questions = [...]question{
	{TCP, unix.AF_INET, stateListen},
	{TCP, unix.AF_INET6, stateListen},
	{UDP, unix.AF_INET, stateUnconnected},
	{UDP, unix.AF_INET6, stateUnconnected},
}

var errMalformed = errors.New("malformed netlink message")

// Reader reads the sockets of one network namespace: the one its socket was
// made in, wherever its caller is later. It needs no privilege.
type Reader struct {
	fd       int
	sequence uint32
	unread   bool // an earlier reading ended early and left answers behind
	request  [requestSize]byte
	answer   []byte
}

// Open returns a Reader for the network namespace of the calling thread.
func Open() (*Reader, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open socket diagnosis: %w", err)
	}
	// The kernel answers at once; the limit is there so that no caller can hang.
	limit := unix.NsecToTimeval(int64(2 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("limit socket diagnosis: %w", err)
	}
	return &Reader{fd: fd, answer: make([]byte, 32<<10)}, nil
}

// Close frees the Reader.
func (r *Reader) Close() error { return unix.Close(r.fd) }

// Read appends every listening TCP socket and every unconnected UDP socket to
// into. It allocates nothing if into has room. On an error the reading is not
// whole and must not be used.
func (r *Reader) Read(into []Socket) ([]Socket, error) {
	for _, q := range questions {
		var err error
		if into, err = r.ask(q, into); err != nil {
			return into, fmt.Errorf("list %s sockets: %w", q, err)
		}
	}
	return into, nil
}

func (q question) String() string {
	name := "tcp"
	if q.protocol == UDP {
		name = "udp"
	}
	if q.family == unix.AF_INET6 {
		name += "6"
	}
	return name
}

func (r *Reader) ask(q question, into []Socket) ([]Socket, error) {
	if r.unread {
		if err := r.drain(); err != nil {
			return into, err
		}
	}
	r.sequence++
	q.encode(&r.request, r.sequence)
	if _, err := unix.Write(r.fd, r.request[:]); err != nil {
		return into, err
	}
	r.unread = true
	for {
		n, err := unix.Read(r.fd, r.answer)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return into, err
		}
		var done bool
		if into, done, err = parse(r.answer[:n], r.sequence, q.protocol, into); err != nil {
			return into, err
		}
		if done {
			r.unread = false
			return into, nil
		}
	}
}

// drain reads what is left of a dump: the kernel starts no other before.
func (r *Reader) drain() error {
	for {
		n, _, err := unix.Recvfrom(r.fd, r.answer, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN || (err == nil && n == 0):
			r.unread = false
			return nil
		case err != nil && err != unix.EINTR:
			return err
		}
	}
}

func (q question) encode(b *[requestSize]byte, sequence uint32) {
	native := binary.NativeEndian
	native.PutUint32(b[0:], requestSize)
	native.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	native.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	native.PutUint32(b[8:], sequence)
	b[headerSize] = q.family
	b[headerSize+1] = q.protocol
	native.PutUint32(b[headerSize+4:], q.states)
}

// parse appends the sockets of one read of a dump to into, and tells whether
// the dump ends here. Messages of another sequence are left-overs: skipped.
func parse(b []byte, sequence uint32, protocol uint8, into []Socket) ([]Socket, bool, error) {
	native := binary.NativeEndian
	for len(b) > 0 {
		if len(b) < headerSize {
			return into, false, errMalformed
		}
		size := int(native.Uint32(b))
		if size < headerSize || size > len(b) {
			return into, false, errMalformed
		}
		kind, flags := native.Uint16(b[4:]), native.Uint16(b[6:])
		body, own := b[headerSize:size], native.Uint32(b[8:]) == sequence
		b = b[min(aligned(size), len(b)):]
		if !own {
			continue
		}
		if flags&unix.NLM_F_DUMP_INTR != 0 {
			return into, false, errors.New("the table changed while it was read")
		}
		switch kind {
		case unix.NLMSG_DONE:
			return into, true, errorIn(body)
		case unix.NLMSG_ERROR:
			if err := errorIn(body); err != nil {
				return into, false, err
			}
			return into, false, errMalformed
		case unix.SOCK_DIAG_BY_FAMILY:
			s, err := parseSocket(body, protocol)
			if err != nil {
				return into, false, err
			}
			into = append(into, s)
		}
	}
	return into, false, nil
}

// errorIn returns the error number that a closing message starts with.
func errorIn(body []byte) error {
	if len(body) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(body)); code < 0 {
		return unix.Errno(-code)
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
		Protocol:  protocol,
		Port:      binary.BigEndian.Uint16(b[4:]),
		Interface: native.Uint32(b[40:]),
		Cookie:    uint64(native.Uint32(b[44:])) | uint64(native.Uint32(b[48:]))<<32,
		UID:       native.Uint32(b[64:]),
		Inode:     uint64(native.Uint32(b[68:])),
	}
	switch b[0] {
	case unix.AF_INET:
		s.Addr = netip.AddrFrom4([4]byte(b[8:12]))
	case unix.AF_INET6:
		s.Addr = netip.AddrFrom16([16]byte(b[8:24])).Unmap()
	default:
		return Socket{}, errMalformed
	}
	for b = b[answerSize:]; len(b) >= 4; {
		size, kind := int(native.Uint16(b)), native.Uint16(b[2:])
		if size < 4 || size > len(b) {
			return Socket{}, errMalformed
		}
		value := b[4:size]
		switch {
		case kind == attributeV6Only && len(value) >= 1:
			s.V6Only = value[0] != 0
		case kind == attributeCgroup && len(value) >= 8:
			s.Cgroup = native.Uint64(value)
		}
		b = b[min(aligned(size), len(b)):]
	}
	return s, nil
}

// aligned rounds a length up to where the next message or attribute begins.
func aligned(n int) int { return (n + 3) &^ 3 }
