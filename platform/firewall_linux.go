package platform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"syscall"
	"time"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

// firewall puts restrictions in force through nftables. It keeps its line to the
// kernel open for ever: tables belong to the line that made them, and without it
// everybody could change them. The line belongs to the network namespace of the
// first use.
type firewall struct {
	lines lineKeeper

	mu      sync.Mutex
	line    kernelLine // nil: not open
	unkept  error      // why the line would not outlive the agent; nil: it would
	can     abilities  // all, until the kernel refuses something
	tried   bool       // can is what was found by trying
	dropped tally
}

// kernelLine is the part of nft.Conn that rules go through.
type kernelLine interface {
	Read(ctx context.Context, keys ...nft.Key) ([]*nft.Table, error)
	Replace(ctx context.Context, have, want []*nft.Table) error
	Renew(ctx context.Context, tables []nft.Key, set string, key []byte, left time.Duration) error
	Trial(ctx context.Context, tables ...*nft.Table) error
}

// lineKeeper keeps the line to the kernel while the agent is not there, so that
// tables do not lose their owner with it.
type lineKeeper interface {
	// Take returns the line that was kept, once.
	Take() (fd int, ok bool)
	// Keep has a line kept from now on.
	Keep(fd int) error
}

// noKeeper keeps no line.
type noKeeper struct{}

func (noKeeper) Take() (int, bool) { return 0, false }
func (noKeeper) Keep(int) error    { return nil }

func newFirewall() *firewall { return newKeptFirewall(noKeeper{}) }

// newKeptFirewall is a firewall whose tables outlive the agent with their owner.
func newKeptFirewall(lines lineKeeper) *firewall {
	return &firewall{lines: lines, can: abilitiesHere()}
}

// Apply changes what differs from want in one transaction, and sends nothing if
// nothing does.
func (f *firewall) Apply(ctx context.Context, want Restrictions) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := checkRestrictions(want)
	if err == nil {
		err = f.apply(ctx, want)
	}
	if err != nil {
		return fmt.Errorf("apply restrictions: %w", err)
	}
	return nil
}

// apply tries again when the kernel refuses: with the best of what it can, or
// because a link or a table went away while it was looked at.
func (f *firewall) apply(ctx context.Context, want Restrictions) error {
	const attempts = 3
	for i := 1; ; i++ {
		have, err := f.read(ctx)
		if err != nil {
			return err
		}
		err = f.replace(ctx, have, want)
		if err == nil || !refused(err) || i == attempts {
			return explainChange(err)
		}
		if err := f.findAbilities(ctx); err != nil {
			return err
		}
	}
}

func (f *firewall) replace(ctx context.Context, have []*nft.Table, want Restrictions) error {
	tables, err := rulesets(want, f.ground(want))
	if err != nil {
		return err
	}
	if err := f.line.Replace(ctx, have, tables); err != nil {
		return err
	}
	if want.Isolation == nil {
		f.dropped = tally{}
	} else {
		f.dropped.replaced(have, tables)
	}
	return nil
}

func (f *firewall) InForce(ctx context.Context) (Restrictions, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	have, err := f.read(ctx)
	if err != nil {
		return Restrictions{}, fmt.Errorf("read restrictions: %w", err)
	}
	r, err := f.inForce(ctx, have)
	if err != nil {
		return Restrictions{}, fmt.Errorf("read restrictions: %w", err)
	}
	return r, nil
}

// inForce reads what tables restrict. Rules for a kernel that can less look
// altered until it is known to.
func (f *firewall) inForce(ctx context.Context, have []*nft.Table) (Restrictions, error) {
	c := readClaims(have)
	r, err := readRulesets(have, f.groundOf(c))
	if err == nil || f.tried {
		return r, err
	}
	if err := f.findAbilities(ctx); err != nil {
		return Restrictions{}, err
	}
	return readRulesets(have, f.groundOf(c))
}

// Renew gives the lease of every table its time anew, all at once.
func (f *firewall) Renew(ctx context.Context, left time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.renew(ctx, left); err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	return nil
}

var errLeaseEnded = errors.New("the lease has ended")

func (f *firewall) renew(ctx context.Context, left time.Duration) error {
	if left < time.Millisecond {
		return fmt.Errorf("%s is no time", left)
	}
	have, err := f.read(ctx)
	if err != nil {
		return err
	}
	now, ends := leaseLeft(have)
	switch {
	case readClaims(have).restrictions.Isolation == nil:
		return errors.New("this computer is not isolated")
	case !ends:
		return errors.New("the isolation has no lease")
	case now == 0:
		return errLeaseEnded
	}
	var leased []nft.Key
	for _, t := range have {
		if t.Set(leaseSetName) != nil {
			leased = append(leased, t.Key())
		}
	}
	err = f.line.Renew(ctx, leased, leaseSetName, leaseKey(), left)
	if errors.Is(err, fs.ErrNotExist) {
		return errLeaseEnded
	}
	return explainChange(err)
}

func (f *firewall) Standing(ctx context.Context) (Standing, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	have, err := f.read(ctx)
	if err != nil {
		return Standing{}, fmt.Errorf("read how the isolation holds: %w", err)
	}
	r, err := f.inForce(ctx, have)
	if err != nil {
		return Standing{}, fmt.Errorf("read how the isolation holds: %w", err)
	}
	if r.Isolation == nil {
		return Standing{}, nil
	}
	left, _ := leaseLeft(have)
	return Standing{Dropped: f.dropped.sum(), Left: left, Lacks: f.lacks(*r.Isolation, have)}, nil
}

// read opens the line if need be, and returns the agent's tables.
func (f *firewall) read(ctx context.Context) ([]*nft.Table, error) {
	if err := f.open(); err != nil {
		return nil, explainNetfilter(err)
	}
	have, err := f.line.Read(ctx, tableKeys()...)
	if err != nil {
		return nil, explainNetfilter(err)
	}
	f.dropped.see(have)
	return have, nil
}

func tableKeys() []nft.Key {
	return []nft.Key{
		{Family: nft.Inet, Name: tableName},
		{Family: nft.Bridge, Name: tableName},
		{Family: nft.Netdev, Name: tableName},
	}
}

// open takes over the line that was kept, with the tables it owns, or opens a
// new one.
func (f *firewall) open() error {
	if f.line != nil {
		return nil
	}
	if fd, ok := f.lines.Take(); ok {
		if line, err := nft.Adopt(fd); err == nil {
			f.line = line
			return nil
		}
	}
	line, err := nft.Dial()
	if err != nil {
		return err
	}
	f.line = line
	f.unkept = f.lines.Keep(line.FD())
	return nil
}

func (f *firewall) findAbilities(ctx context.Context) error {
	found, err := findAbilities(ctx, f.line.Trial)
	if err != nil {
		return explainNetfilter(err)
	}
	f.can, f.tried = f.can.and(found), true
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
		return fmt.Errorf("%w: this kernel's nftables lacks a part that the rules need (connection tracking or fib): %w", ErrUnsupported, err)
	}
	return err
}

// explainChange is explainNetfilter for somebody who could read: then it is not
// the rights that lack when a change is not permitted.
func explainChange(err error) error {
	if errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("%w: another agent holds the firewall tables named %s and has to be stopped first: %w", ErrNotPermitted, tableName, err)
	}
	return explainNetfilter(err)
}
