package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// socket is a netlink socket to netfilter. The kernel answers a request before
// the sending of it returns, and has the next part of a long answer ready before
// the reading of one returns: so nothing here ever waits, and an empty queue
// means that no answer is still to come.
type socket struct {
	fd   int
	port uint32 // by which the kernel knows it
	seq  uint32
	buf  []byte
}

// Sizes of the socket's buffers: limits, which cost nothing until they are used.
// A transaction is sent as one; the kernel answers with 32 kB at once at most.
const (
	sendBuffer    = 64 << 20
	receiveBuffer = 4 << 20
	largestAnswer = 64 << 10
)

// openSocket opens a socket in the calling thread's network namespace.
func openSocket() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	if err == nil {
		var s *socket
		if s, err = useSocket(fd); err == nil {
			return s, nil
		}
	}
	_ = unix.Close(fd) // the first error is the one that counts
	return nil, err
}

// useSocket makes a socket of a file descriptor that is bound already.
func useSocket(fd int) (*socket, error) {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return nil, err
	}
	address, ok := name.(*unix.SockaddrNetlink)
	if !ok || protocol != unix.NETLINK_NETFILTER || address.Pid == 0 {
		return nil, fmt.Errorf("file %d is no bound netlink socket to netfilter: %w", fd, unix.EPROTOTYPE)
	}
	unix.CloseOnExec(fd) // a child that kept it would keep our tables too
	// Without CAP_NET_ADMIN the buffers stay small; nor is there much to send.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
	// A refusal need not repeat what it refuses.
	if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1); err != nil {
		return nil, err
	}
	return &socket{fd: fd, port: address.Pid, buf: make([]byte, largestAnswer)}, nil
}

func (s *socket) close() error { return unix.Close(s.fd) }

// request sends the messages as one and returns what the kernel answers. The
// error is the first refusal. What an earlier request left in the queue is
// thrown away before, so an error leaves the socket as good as new.
func (s *socket) request(messages ...netlink.Message) ([]netlink.Message, error) {
	s.drain()
	var out []byte
	for _, m := range messages {
		s.seq++
		m.Header.Sequence, m.Header.PID = s.seq, s.port
		m.Header.Length = uint32(unix.NLMSG_HDRLEN + len(m.Data))
		b, err := m.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("write message: %w", err)
		}
		out = append(out, b...)
	}
	if err := unix.Sendto(s.fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("send to netlink: %w", err)
	}
	return s.answers()
}

// answers reads all that the kernel says to one request.
func (s *socket) answers() (out []netlink.Message, refusal error) {
	answered := false
	for {
		part, err := s.receive()
		if errors.Is(err, unix.EAGAIN) && answered {
			return out, refusal
		}
		if err != nil {
			return nil, fmt.Errorf("read from netlink: %w", err)
		}
		for _, m := range part {
			if m.Header.Type != netlink.Error && m.Header.Type != netlink.Done {
				out = append(out, m)
				continue
			}
			answered = true
			if refusal == nil {
				refusal = outcome(m)
			}
		}
	}
}

// drain empties the queue. That something in it was lost does not matter.
func (s *socket) drain() {
	for {
		if _, err := s.receive(); err != nil && err != unix.ENOBUFS {
			return
		}
	}
}

// receive reads what the kernel sent at once; EAGAIN if there is nothing.
func (s *socket) receive() ([]netlink.Message, error) {
	n, _, err := unix.Recvfrom(s.fd, s.buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
	if err != nil {
		return nil, err
	}
	if n > len(s.buf) {
		return nil, unix.EMSGSIZE
	}
	parts, err := syscall.ParseNetlinkMessage(s.buf[:n])
	if err != nil {
		return nil, err
	}
	out := make([]netlink.Message, len(parts))
	for i, p := range parts {
		out[i] = netlink.Message{
			Header: netlink.Header{
				Type: netlink.HeaderType(p.Header.Type), Flags: netlink.HeaderFlags(p.Header.Flags),
				Length: p.Header.Len, Sequence: p.Header.Seq, PID: p.Header.Pid,
			},
			Data: append([]byte(nil), p.Data...), // buf is used again
		}
	}
	return out, nil
}

// outcome is the error number that ends an answer; 0 is a success.
func outcome(m netlink.Message) error {
	if len(m.Data) < 4 {
		return nil
	}
	if n := int32(binary.NativeEndian.Uint32(m.Data)); n < 0 {
		return syscall.Errno(-n)
	}
	return nil
}
