package platform

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How long a probe waits. Inside this computer an answer takes well under a
// millisecond; the second try is for a packet that was lost.
const (
	knockTimeout   = 300 * time.Millisecond
	knockTries     = 2
	connectTimeout = 2 * time.Second
)

// prober knocks from a network namespace of its own, which exists only while it
// knocks.
type prober struct{}

func newProber() Prober { return prober{} }

// Inbound knocks from outside, over an interface that the host takes for any
// other. It cannot come in through a particular interface: what listens on one
// alone (SO_BINDTODEVICE, a link-local address) is not seen by it. An
// unspecified address stands for any of the host's.
func (prober) Inbound(ctx context.Context, protocol Protocol, to netip.AddrPort) (Answer, error) {
	address := to.Addr().Unmap().WithZone("")
	switch {
	case !address.IsValid() || address.IsMulticast():
		return "", fmt.Errorf("probe %s: not an address of one host", to)
	case address.IsLoopback():
		return Silent, nil // it cannot be addressed from anywhere else
	case address.Is6() && address.IsLinkLocalUnicast():
		return "", fmt.Errorf("probe %s: a link-local address can only be reached on its own link: %w", to, ErrUnsupported)
	}
	out, err := openOutside(ctx, address.Is6())
	if err != nil {
		return "", fmt.Errorf("probe %s: %w", to, err)
	}
	defer out.close()
	if address.IsUnspecified() {
		address = out.host
	}
	knock := knockTCP
	if protocol == UDP {
		knock = knockUDP
	}
	var answer Answer
	err = out.run(func() (err error) {
		answer, err = again(ctx, knock, netip.AddrPortFrom(address, to.Port()))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("probe %s: %w", to, err)
	}
	return answer, nil
}

func (prober) Outbound(ctx context.Context, v6 bool) (Answer, error) {
	out, err := openOutside(ctx, v6)
	if err != nil {
		return "", fmt.Errorf("probe outbound: %w", err)
	}
	defer out.close()
	var server net.Listener
	err = out.run(func() (err error) {
		var listen net.ListenConfig
		server, err = listen.Listen(ctx, "tcp", netip.AddrPortFrom(out.far, 0).String())
		return err
	})
	if err != nil {
		return "", fmt.Errorf("probe outbound: %w", err)
	}
	defer server.Close()
	to := server.Addr().(*net.TCPAddr).AddrPort()
	answer, err := again(ctx, knockTCP, to)
	if err != nil {
		return "", fmt.Errorf("probe outbound: %w", err)
	}
	return answer, nil
}

func (prober) Connect(ctx context.Context, to netip.AddrPort) (Answer, error) {
	answer, err := undisturbed(ctx, knockTCP, to, connectTimeout)
	if err != nil {
		return "", fmt.Errorf("connect to %s: %w", to, err)
	}
	return answer, nil
}

type knock func(ctx context.Context, to netip.AddrPort, timeout time.Duration) (Answer, error)

// again knocks a second time if nobody answers.
func again(ctx context.Context, try knock, to netip.AddrPort) (Answer, error) {
	for range knockTries - 1 {
		if answer, err := undisturbed(ctx, try, to, knockTimeout); err != nil || answer != Silent {
			return answer, err
		}
	}
	return undisturbed(ctx, try, to, knockTimeout)
}

// undisturbed knocks anew when the socket was ended under its hands
// (SOCK_DESTROY): that says nothing of the way to the other end, and the agent does
// it itself to all that is connected when it isolates the host.
func undisturbed(ctx context.Context, try knock, to netip.AddrPort, timeout time.Duration) (Answer, error) {
	const most = 5 // who ends every connection at once lets nobody know
	for i := 1; ; i++ {
		answer, err := try(ctx, to, timeout)
		if !errors.Is(err, unix.ECONNABORTED) || i == most {
			return answer, err
		}
	}
}

func knockTCP(ctx context.Context, to netip.AddrPort, timeout time.Duration) (Answer, error) {
	d := net.Dialer{Timeout: timeout, KeepAlive: -1}
	c, err := d.DialContext(ctx, "tcp", to.String())
	if err == nil {
		err = c.Close()
	}
	return answerOf(ctx, err)
}

// knockUDP sends a few zeros. Many services keep silent to what they do not
// understand, so silence says less than it does for TCP. A service that is bound
// to every address may reply from another one than was asked, so any reply
// counts; the socket is not connected, and is told of refusals by IP_RECVERR.
func knockUDP(ctx context.Context, to netip.AddrPort, timeout time.Duration) (Answer, error) {
	config := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) error {
		var err error
		control := c.Control(func(fd uintptr) {
			level, option := unix.IPPROTO_IP, unix.IP_RECVERR
			if network == "udp6" {
				level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
			}
			err = unix.SetsockoptInt(int(fd), level, option, 1)
		})
		return errors.Join(control, err)
	}}
	network := "udp4"
	if to.Addr().Is6() {
		network = "udp6"
	}
	c, err := config.ListenPacket(ctx, network, ":0")
	if err != nil {
		return answerOf(ctx, err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return answerOf(ctx, err)
	}
	if _, err := c.WriteTo(make([]byte, 16), net.UDPAddrFromAddrPort(to)); err != nil {
		return answerOf(ctx, err)
	}
	_, _, err = c.ReadFrom(make([]byte, 1))
	return answerOf(ctx, err)
}

// answerOf says what the error of a connect or read means. A reset shows as
// ECONNREFUSED, ICMP messages as that or as one of the unreachables.
func answerOf(ctx context.Context, err error) (Answer, error) {
	if err == nil {
		return Answered, nil
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	for _, refusal := range []error{unix.ECONNREFUSED, unix.ECONNRESET, unix.EHOSTUNREACH, unix.ENETUNREACH} {
		if errors.Is(err, refusal) {
			return Refused, nil
		}
	}
	// A firewall that drops a datagram on its way out says EPERM to its sender.
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, unix.ETIMEDOUT) || errors.Is(err, unix.EPERM) {
		return Silent, nil
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return Silent, nil
	}
	return "", err
}
