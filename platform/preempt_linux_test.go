package platform

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNobodyReachesABlockedPort is the bar of a port that is blocked beforehand: of
// 10,000 connections to a listener that comes after the block, none gets through.
func TestNobodyReachesABlockedPort(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		listen := func() int {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			}
			if err == nil {
				err = unix.Bind(fd, &unix.SockaddrInet4{Port: 445})
			}
			if err == nil {
				err = unix.Listen(fd, 4096)
			}
			if err != nil {
				t.Errorf("listen: %v", err)
			}
			return fd
		}
		fd := listen()
		if got := connected(t, w, 100); got != 100 {
			t.Errorf("before the block %d of 100 connections get through", got)
		}
		unix.Close(fd)
		f := newFirewall()
		if err := f.Apply(context.Background(), Restrictions{Blocked: []PortRule{{TCP, 445, 445}}}); err != nil {
			t.Error(err)
			return
		}
		defer f.Apply(context.Background(), Restrictions{})
		defer unix.Close(listen())
		reached := 0
		for range 20 {
			reached += connected(t, w, 500)
		}
		if reached > 0 {
			t.Errorf("%d of 10000 connections got through", reached)
		}
		t.Logf("%d of 10000 connections got through", reached)
	})
}

// connected begins n connections at once from outside and counts those that are
// there after a moment.
func connected(t *testing.T, w world, n int) (count int) {
	w.fromOutside(t, func() {
		var all []unix.PollFd
		for range n {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer unix.Close(fd)
			if err := unix.Connect(fd, &unix.SockaddrInet4{Port: 445, Addr: [4]byte{192, 0, 2, 1}}); err != nil && err != unix.EINPROGRESS {
				t.Error(err)
			}
			all = append(all, unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT})
		}
		time.Sleep(100 * time.Millisecond)
		if _, err := unix.Poll(all, 0); err != nil {
			t.Error(err)
		}
		for _, p := range all {
			if e, err := unix.GetsockoptInt(int(p.Fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && e == 0 && p.Revents&unix.POLLOUT != 0 && p.Revents&unix.POLLERR == 0 {
				count++
			}
		}
	})
	return count
}
