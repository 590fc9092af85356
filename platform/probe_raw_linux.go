package platform

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Raw sends two frames out of each uplink: one the usual way, and one past the
// queue of the link, which on older kernels passes by the egress hook as well
// (PACKET_QDISC_BYPASS). A frame that is stopped shows as ENOBUFS, as it does when
// the link's queue is full: a host that is that busy sends.
func (prober) Raw(ctx context.Context) (Answer, error) {
	answer, err := probeRaw(ctx)
	if err != nil {
		return "", fmt.Errorf("probe with a raw frame: %w", err)
	}
	return answer, nil
}

func probeRaw(ctx context.Context) (Answer, error) {
	all, err := linksHere()
	if err != nil {
		return "", err
	}
	for _, bypass := range []bool{false, true} {
		fd, err := openRaw(bypass)
		if err != nil {
			return "", err
		}
		answer, err := sendRaw(ctx, fd, all)
		unix.Close(fd)
		if err != nil || answer == Answered {
			return answer, err
		}
	}
	return Silent, nil
}

// openRaw opens a socket that takes whole frames. Protocol 0 lets it receive
// none.
func openRaw(bypass bool) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return -1, fmt.Errorf("%w: only root can send raw frames (CAP_NET_RAW): %w", ErrNotPermitted, err)
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT):
		return -1, fmt.Errorf("%w: this kernel has no packet sockets: %w", ErrUnsupported, err)
	case err != nil:
		return -1, fmt.Errorf("open packet socket: %w", err)
	}
	if bypass {
		// Kernels before 3.14 lack it, and then nobody else can bypass either.
		_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
	}
	return fd, nil
}

// sendRaw tries each uplink until one lets a frame out.
func sendRaw(ctx context.Context, fd int, all []linkState) (Answer, error) {
	for _, l := range all {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if !isUplink(l) {
			continue
		}
		to := unix.SockaddrLinklayer{Ifindex: l.Index, Protocol: bigEndian(experimental), Halen: uint8(len(l.mac))}
		copy(to.Addr[:], l.mac)
		err := unix.Sendto(fd, rawFrame(l.mac), 0, &to)
		switch {
		case err == nil:
			return Answered, nil
		case errors.Is(err, unix.ENOBUFS):
		case errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV): // went away meanwhile
		case errors.Is(err, unix.EPERM):
			return "", fmt.Errorf("%w: raw frames may not be sent from here: %w", ErrNotPermitted, err)
		default:
			return "", fmt.Errorf("send over %s: %w", l.Name, err)
		}
	}
	return Silent, nil
}

// isUplink tells whether frames leave over a link: the ports of containers on a
// bridge do not count, nor do tunnels, whose packets leave over another link.
func isUplink(l linkState) bool {
	const etherLen = 6
	switch {
	case !l.running(), l.hardware != unix.ARPHRD_ETHER, len(l.mac) != etherLen, l.Tunnel, isProbe(l):
		return false
	}
	return l.Kind != "veth" || l.master == 0
}

// experimental is the ethertype that IEEE 802 keeps for local experiments.
const experimental = 0x88b5

// rawFrame is the shortest frame there may be, from the link to itself, so that
// nobody who gets it will take it.
func rawFrame(mac []byte) []byte {
	const shortest = 60
	frame := make([]byte, shortest)
	copy(frame, mac)
	copy(frame[6:], mac)
	binary.BigEndian.PutUint16(frame[12:], experimental)
	copy(frame[14:], "firebreak probe")
	return frame
}

func bigEndian(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}
