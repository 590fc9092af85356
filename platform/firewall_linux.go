package platform

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

// firewall puts restrictions in force through nftables. It keeps its line to the
// kernel open, since opening and closing one takes longer than a change; the
// line belongs to the network namespace of the first use.
type firewall struct {
	mu   sync.Mutex
	line *nft.Conn // nil: not open
}

func newFirewall() Firewall { return &firewall{} }

// Apply changes what differs from want in one transaction, and sends nothing if
// nothing does. A lease is kept with the rules but not yet enforced by the kernel.
func (f *firewall) Apply(ctx context.Context, want Restrictions) error {
	table, err := ruleset(want)
	if err != nil {
		return fmt.Errorf("apply restrictions: %w", err)
	}
	err = f.withLine(func(line *nft.Conn) error {
		have, err := line.Read(ctx, nft.Inet, tableName)
		if err != nil {
			return err
		}
		return line.Replace(ctx, have, table)
	})
	if err != nil {
		return fmt.Errorf("apply restrictions: %w", err)
	}
	return nil
}

func (f *firewall) InForce(ctx context.Context) (Restrictions, error) {
	var have *nft.Table
	err := f.withLine(func(line *nft.Conn) (err error) {
		have, err = line.Read(ctx, nft.Inet, tableName)
		return err
	})
	if err != nil {
		return Restrictions{}, fmt.Errorf("read restrictions: %w", err)
	}
	r, err := readRuleset(have)
	if err != nil {
		return Restrictions{}, fmt.Errorf("read restrictions: %w", err)
	}
	return r, nil
}

// withLine lends the line to use. After an error the line is closed: answers
// may still be on their way through it.
func (f *firewall) withLine(use func(*nft.Conn) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.line == nil {
		line, err := nft.Dial()
		if err != nil {
			return explainNetfilter(err)
		}
		f.line = line
	}
	if err := use(f.line); err != nil {
		// The first error is the one that counts.
		_ = f.line.Close()
		f.line = nil
		return explainNetfilter(err)
	}
	return nil
}

// explainNetfilter turns what the kernel says into what it means here.
func explainNetfilter(err error) error {
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: the firewall can only be read and changed by root (CAP_NET_ADMIN): %w", ErrNotPermitted, err)
	case errors.Is(err, syscall.EPROTONOSUPPORT), errors.Is(err, syscall.EAFNOSUPPORT),
		errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("%w: this kernel has no nftables: %w", ErrUnsupported, err)
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("%w: this kernel's nftables lacks a part that the rules need (connection tracking, fib or reject): %w", ErrUnsupported, err)
	}
	return err
}

func (f *firewall) Renew(context.Context, time.Duration) error {
	return fmt.Errorf("renew lease: %w", ErrUnsupported)
}

func (f *firewall) Standing(context.Context) (Standing, error) {
	return Standing{}, nil
}
