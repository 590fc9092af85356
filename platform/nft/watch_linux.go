package nft

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Change is one transaction of somebody, which is over.
type Change struct {
	Port    uint32 // of the line it came through
	PID     int    // of the process, and its name; 0 where the kernel does not tell
	Process string
	Tables  []Key // those touched

	// Lost says that changes were missed: then all else is empty, and a look at
	// the tables tells more.
	Lost bool
}

// Watch tells of every change of nftables in this namespace, by whomever, until
// ctx ends. A reader who is slow holds nobody up: what does not fit into the
// queue is Lost. What the kernel ends by itself, such as the timeout of an
// element, is no change.
func Watch(ctx context.Context) (<-chan Change, error) {
	s, err := openSocket()
	if err != nil {
		return nil, fmt.Errorf("watch nftables: %w", err)
	}
	const group = 7 // NFNLGRP_NFTABLES
	if err := s.join(group); err != nil {
		_ = s.close() // the first error is the one that counts
		return nil, fmt.Errorf("watch nftables: %w", err)
	}
	changes := make(chan Change)
	file := os.NewFile(uintptr(s.fd), "netlink")
	stop := context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) })
	go func() {
		defer close(changes)
		defer file.Close()
		defer stop()
		w := watch{socket: s, tell: func(c Change) bool {
			select {
			case changes <- c:
				return true
			case <-ctx.Done():
				return false
			}
		}}
		w.run(file)
	}()
	return changes, nil
}

func (s *socket) join(group int) error {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
		return err
	}
	return unix.SetNonblock(s.fd, true)
}

// watch puts the messages of each transaction together.
type watch struct {
	socket *socket
	tell   func(Change) bool // false: enough
	tables []Key             // touched by the transaction so far
}

// run reads until the file can be read no longer, or nobody listens.
func (w *watch) run(file *os.File) {
	raw, err := file.SyscallConn()
	if err != nil {
		return
	}
	// Only the end of ctx makes it fail.
	_ = raw.Read(func(uintptr) (done bool) {
		for {
			switch again, err := w.read(); {
			case errors.Is(err, unix.EAGAIN):
				return false
			case err != nil || !again:
				return true
			}
		}
	})
}

// read reads what the kernel sent at once; again is false if nobody listens.
func (w *watch) read() (again bool, err error) {
	messages, err := w.socket.receive()
	if errors.Is(err, unix.ENOBUFS) {
		w.tables = nil
		return w.tell(Change{Lost: true}), nil
	}
	if err != nil {
		return false, err
	}
	for _, m := range messages {
		if command(m.Header.Type&0xff) != newGen {
			if k, err := decodeTouched(m); err == nil && !slices.Contains(w.tables, k) {
				w.tables = append(w.tables, k)
			}
			continue
		}
		g, err := decodeGeneration(m)
		if err != nil {
			continue
		}
		c := Change{Port: m.Header.PID, PID: int(g.pid), Process: g.process, Tables: w.tables}
		w.tables = nil
		if !w.tell(c) {
			return false, nil
		}
	}
	return true, nil
}
