package sockets

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// Births tells whether processes began, for the price of one read. It is not safe
// for use by two goroutines at once.
type Births struct {
	file    int // /proc/loadavg, kept open; -1 if it cannot be read
	buffer  [128]byte
	unknown uint64
}

// OpenBirths never fails: where it cannot be told, processes may always have begun.
func OpenBirths() *Births {
	fd, err := unix.Open("/proc/loadavg", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		fd = -1
	}
	return &Births{file: fd}
}

// Close frees what is kept open.
func (b *Births) Close() {
	if b.file >= 0 {
		unix.Close(b.file)
	}
}

// Mark returns a number that is another one if a process or thread that has a pid
// here began since the mark before: the pid that was given last, the last field of
// /proc/loadavg (proc(5)). It comes back after as many births as there are pids.
func (b *Births) Mark() uint64 {
	if b.file >= 0 {
		if n, err := unix.Pread(b.file, b.buffer[:], 0); err == nil {
			text := bytes.TrimSpace(b.buffer[:n])
			if last, ok := number(text[bytes.LastIndexByte(text, ' ')+1:]); ok {
				return last
			}
		}
	}
	b.unknown++
	return b.unknown<<32 | 1<<31 // no pid is as high
}
