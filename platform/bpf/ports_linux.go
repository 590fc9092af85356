package bpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

// Ports tells when a TCP socket begins or ceases to listen, and when a UDP socket
// asks for a port by its number. It tells of the programs in this host's control
// groups, and of others in the network namespace it was opened in: another host
// on the same kernel costs nothing. It only watches.
//
// It is not for use by two goroutines at once, but for Interrupt.
type Ports struct {
	ring, lost, group, chosen *ebpf.Map
	closers                   []io.Closer // newest last
	reader                    *ringbuf.Reader
	record                    ringbuf.Record
	missed                    uint64
	netNS                     uint32
}

// OpenPorts begins to watch. folder is the root of this host's control groups.
func OpenPorts(k Kernel, at Place, folder string) (_ *Ports, err error) {
	// Reading the types of the kernel takes some megabytes for a moment.
	defer debug.FreeOSMemory()
	group, err := unix.Open(folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open control group: %w", err)
	}
	defer unix.Close(group)
	p := &Ports{netNS: at.netNS}
	defer func() {
		if err != nil {
			_ = p.Close() // the first error is the one that counts
		}
	}()
	if err := p.makeMaps(k, group); err != nil {
		return nil, err
	}
	if p.reader, err = ringbuf.NewReader(p.ring); err != nil {
		return nil, fmt.Errorf("open ring: %w", err)
	}
	p.closers = append(p.closers, p.reader)
	if err := p.watchTCP(k, at); err != nil {
		return nil, err
	}
	if err := p.watchUDP(k, folder); err != nil {
		return nil, err
	}
	return p, nil
}

// Interrupt ends a Next that waits, and all that follow. Any goroutine may call it.
func (p *Ports) Interrupt() { _ = p.reader.Close() } // Close closes it again

// Close ends watching.
func (p *Ports) Close() error {
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = append(errs, p.closers[i].Close())
	}
	p.closers = nil
	return errors.Join(errs...)
}

// mostAtOnce bounds how many changes Next returns while more keep coming.
const mostAtOnce = 4096

// Next waits for changes until a time, and appends those that are there to into;
// none if the time has come. lost says that there were more than there was room
// for: then everything has to be looked at.
func (p *Ports) Next(until time.Time, into []PortEvent) (_ []PortEvent, lost bool, err error) {
	p.reader.SetDeadline(until)
	for {
		err := p.reader.ReadInto(&p.record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return into, false, fmt.Errorf("read ring: %w", err)
		}
		if e, ok := parsePort(p.record.RawSample); ok {
			into = append(into, e)
		}
		if p.record.Remaining == 0 || len(into) >= mostAtOnce {
			break
		}
	}
	var missed uint64
	if err := p.lost.Lookup(uint32(0), &missed); err != nil {
		return into, false, fmt.Errorf("read counter: %w", err)
	}
	lost, p.missed = missed != p.missed, missed
	return into, lost, nil
}

// Here tells whether a change was in the network namespace of the reader; what
// the kernel does not tell counts as elsewhere.
func (p *Ports) Here(e PortEvent) bool { return e.NetNS == p.netNS }

// TellOf has the closing told of a UDP socket that was bound before.
func (p *Ports) TellOf(cookie uint64, port uint16) error {
	if err := p.chosen.Put(cookie, uint64(port)); err != nil {
		return fmt.Errorf("note socket: %w", err)
	}
	return nil
}
