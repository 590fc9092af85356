package nft

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
)

// Conn is a line to the nftables of the network namespace it was opened in. It
// is for one user at a time.
//
// The tables with the flag Owner belong to the line that made them: nobody else
// can change them, and they go when it is closed, or, with the flag Persist,
// belong to nobody then. No error spoils the line, so none is a reason to close
// it. Errors of the kernel are syscall.Errno.
type Conn struct{ socket *socket }

// Dial opens a line. The kernel says EPERM without CAP_NET_ADMIN, and
// EPROTONOSUPPORT, EINVAL or EOPNOTSUPP where it has no nftables.
func Dial() (*Conn, error) {
	s, err := openSocket()
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &Conn{s}, nil
}

// Adopt goes on with the line that another process opened, and with it owns the
// tables that one owned. The file is the line's from then on, unless it is not a
// netlink socket to netfilter, which is an error.
func Adopt(fd int) (*Conn, error) {
	s, err := useSocket(fd)
	if err != nil {
		return nil, fmt.Errorf("adopt netlink: %w", err)
	}
	return &Conn{s}, nil
}

// Close closes the line.
func (c *Conn) Close() error { return c.socket.close() }

// FD is the line's file, to be handed to a process that will Adopt it.
func (c *Conn) FD() int { return c.socket.fd }

// Port is what the kernel calls the line; a Change made through it bears it.
func (c *Conn) Port() uint32 { return c.socket.port }

// Generation is a number that grows with every change of nftables in this
// namespace, by whomever: what was read at the same one needs no second reading.
func (c *Conn) Generation() (uint32, error) {
	answers, err := c.get(getGen, 0, func(*encoder) {})
	if err != nil {
		return 0, fmt.Errorf("read generation: %w", err)
	}
	if len(answers) == 0 {
		return 0, errors.New("read generation: no answer")
	}
	g, err := decodeGeneration(answers[0])
	return g.id, err
}

// Replace makes have, as Read returned it, into want, all of it in one
// transaction. Where nothing differs, nothing is sent.
func (c *Conn) Replace(ctx context.Context, have, want []*Table) error {
	requests := changes(have, want)
	if len(requests) == 0 {
		return nil
	}
	return c.commit(ctx, requests)
}

// Renew gives the one element of that key a new timeout in the set of each of
// the tables. The old element goes and the new one comes at the same instant of
// the kernel, so no packet finds the set empty. If one of the elements is not
// there any more, nothing is changed, and the error is fs.ErrNotExist.
func (c *Conn) Renew(ctx context.Context, tables []Key, set string, key []byte, timeout time.Duration) error {
	var requests []netlink.Message
	for _, k := range tables {
		t := &Table{Family: k.Family, Name: k.Name}
		s := Set{Name: set, Key: []Type{{Len: len(key)}}}
		e := Element{First: key, Last: key}
		requests = append(requests, encodeElements(delElement, t, s, []Element{e}))
		e.Timeout = timeout
		requests = append(requests, encodeElements(newElement, t, s, []Element{e}))
	}
	return c.commit(ctx, requests)
}

func (c *Conn) commit(ctx context.Context, requests []netlink.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := c.socket.request(batch(requests)...); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	return nil
}

// batch wraps requests into one transaction: all of them or none. The kernel
// answers the last, and all that it refuses.
func batch(requests []netlink.Message) []netlink.Message {
	const begin, end = 0x10, 0x11 // NFNL_MSG_BATCH_*
	edge := func(kind netlink.HeaderType) netlink.Message {
		return netlink.Message{
			Header: netlink.Header{Type: kind, Flags: netlink.Request},
			Data:   []byte{0, 0, 0, subsystem},
		}
	}
	out := append([]netlink.Message{edge(begin)}, requests...)
	out[len(out)-1].Header.Flags |= netlink.Acknowledge
	return append(out, edge(end))
}

// Trial asks the kernel whether it could make the tables, which must not be there
// yet. A transaction whose end is missing is checked and taken back.
func (c *Conn) Trial(ctx context.Context, tables ...*Table) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b := batch(changes(nil, tables))
	if _, err := c.socket.request(b[:len(b)-1]...); err != nil {
		return fmt.Errorf("try tables: %w", err)
	}
	return nil
}

// get asks for one thing.
func (c *Conn) get(what command, family Family, fill func(*encoder)) ([]netlink.Message, error) {
	return c.socket.request(message(what, family, netlink.Acknowledge, fill))
}

// dump asks for all things of a kind.
func (c *Conn) dump(what command, family Family, filter func(*encoder)) ([]netlink.Message, error) {
	return c.socket.request(message(what, family, netlink.Dump, filter))
}
