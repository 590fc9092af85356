package live

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	headerSize = 16     // struct nlmsghdr
	typeMask   = 0x3fff // NLA_TYPE_MASK
	// room is for the answers to a Batch that is refused as a whole.
	room = 4 << 20
)

// longest is how long the kernel may take for one answer. It answers at once;
// the limit is there so that no caller can hang.
const longest = 2 * time.Second

var errMalformed = errors.New("malformed netlink message")

// line is a netlink socket.
type line struct {
	fd       int
	sequence uint32
	answers  []byte
	requests []byte
}

func open(family int) (*line, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, family)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	limit := unix.NsecToTimeval(int64(longest))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("setsockopt", err)
	}
	// Refusals come short and do not fill the buffer. Without either of these
	// some could get lost, which is all.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_NO_ENOBUFS, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room)
	return &line{fd: fd, answers: make([]byte, 64<<10)}, nil
}

func (l *line) close() error { return unix.Close(l.fd) }

// dump asks for everything of a kind, and calls each with the body of every
// answer. The body is valid until each returns.
func (l *line) dump(kind uint16, body []byte, each func(body []byte) error) error {
	if err := l.drain(nil); err != nil { // what an earlier dump that failed left behind
		return err
	}
	l.sequence++
	request := appendHeader(nil, kind, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, l.sequence)
	if _, err := unix.Write(l.fd, finish(append(request, body...), 0)); err != nil {
		return os.NewSyscallError("send", err)
	}
	for {
		n, err := unix.Read(l.fd, l.answers)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("receive", err)
		}
		done, err := l.walk(l.answers[:n], func(kind uint16, _ uint32, body []byte) (bool, error) {
			switch kind {
			case unix.NLMSG_DONE:
				return true, errorIn(body)
			case unix.NLMSG_ERROR:
				if err := errorIn(body); err != nil {
					return true, err
				}
				return true, errMalformed
			}
			return false, each(body)
		})
		if done || err != nil {
			return err
		}
	}
}

// walk calls each with the messages of one answer until it says that it is done.
func (l *line) walk(b []byte, each func(kind uint16, sequence uint32, body []byte) (bool, error)) (bool, error) {
	native := binary.NativeEndian
	for len(b) > 0 {
		if len(b) < headerSize {
			return false, errMalformed
		}
		size := int(native.Uint32(b))
		if size < headerSize || size > len(b) {
			return false, errMalformed
		}
		done, err := each(native.Uint16(b[4:]), native.Uint32(b[8:]), b[headerSize:size])
		if done || err != nil {
			return done, err
		}
		b = b[min(aligned(size), len(b)):]
	}
	return false, nil
}

// tell sends n requests, of which put appends one; it calls refused for each
// that the kernel refuses.
func (l *line) tell(n int, put func(b []byte, i int, sequence uint32) []byte, refused func(i int, err unix.Errno)) error {
	for first := 0; first < n; first += Batch {
		base := l.sequence + 1
		l.requests = l.requests[:0]
		for i := first; i < min(first+Batch, n); i++ {
			l.sequence++
			begin := len(l.requests)
			l.requests = finish(put(l.requests, i, l.sequence), begin)
		}
		if err := unix.Sendto(l.fd, l.requests, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return os.NewSyscallError("send", err)
		}
		// The kernel has done everything when the call returns.
		err := l.drain(func(sequence uint32, err unix.Errno) {
			if i := sequence - base; i < Batch {
				refused(first+int(i), err)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// drain reads what is there, and calls refused, if any, for each refusal.
func (l *line) drain(refused func(sequence uint32, err unix.Errno)) error {
	for {
		n, _, err := unix.Recvfrom(l.fd, l.answers, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN || (err == nil && n == 0):
			return nil
		case err == unix.EINTR || err == unix.ENOBUFS:
			continue
		case err != nil:
			return os.NewSyscallError("receive", err)
		}
		_, err = l.walk(l.answers[:n], func(kind uint16, sequence uint32, body []byte) (bool, error) {
			var errno unix.Errno
			if kind == unix.NLMSG_ERROR && refused != nil && errors.As(errorIn(body), &errno) {
				refused(sequence, errno)
			}
			return false, nil
		})
		if err != nil {
			return err
		}
	}
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

func appendHeader(b []byte, kind, flags uint16, sequence uint32) []byte {
	native := binary.NativeEndian
	b = native.AppendUint32(b, 0) // the length, see finish
	b = native.AppendUint16(b, kind)
	b = native.AppendUint16(b, flags)
	b = native.AppendUint32(b, sequence)
	return native.AppendUint32(b, 0)
}

// finish pads the message that begins there and fills in its length.
func finish(b []byte, begin int) []byte {
	size := len(b) - begin
	binary.NativeEndian.PutUint32(b[begin:], uint32(size))
	return append(b, make([]byte, aligned(size)-size)...)
}

// attributes calls each with the attributes in b; the kind is without flags.
func attributes(b []byte, each func(kind uint16, whole, value []byte) error) error {
	native := binary.NativeEndian
	for len(b) >= 4 {
		size, kind := int(native.Uint16(b)), native.Uint16(b[2:])&typeMask
		if size < 4 || size > len(b) {
			return errMalformed
		}
		if err := each(kind, b[:size], b[4:size]); err != nil {
			return err
		}
		b = b[min(aligned(size), len(b)):]
	}
	return nil
}

// aligned rounds a length up to where the next message or attribute begins.
func aligned(n int) int { return (n + 3) &^ 3 }

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
