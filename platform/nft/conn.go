package nft

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/mdlayher/netlink"
)

// Conn is a line to the nftables of the network namespace it was opened in. It
// is for one user at a time.
type Conn struct{ nl *netlink.Conn }

// ErrBusy says that somebody else kept changing nftables while it was read.
var ErrBusy = errors.New("nftables keeps changing")

// Dial opens a line (NETLINK_NETFILTER). Errors of the kernel are syscall.Errno:
// EPERM without CAP_NET_ADMIN, EPROTONOSUPPORT, EINVAL or EOPNOTSUPP where the
// kernel has no nftables.
func Dial() (*Conn, error) {
	const netfilter = 12
	nl, err := netlink.Dial(netfilter, nil)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &Conn{nl}, nil
}

// Close closes the line.
func (c *Conn) Close() error { return c.nl.Close() }

// Generation is a number that grows with every change of nftables in this
// namespace, by whomever.
func (c *Conn) Generation() (uint32, error) {
	answers, err := c.nl.Execute(message(getGen, 0, 0, func(*netlink.AttributeEncoder) {}))
	if err != nil {
		return 0, fmt.Errorf("read generation: %w", err)
	}
	for _, m := range answers {
		ad, err := attributes(m)
		if err != nil {
			return 0, err
		}
		for ad.Next() {
			if ad.Type() == attrGenID {
				return ad.Uint32(), ad.Err()
			}
		}
	}
	return 0, errors.New("read generation: no answer")
}

// Replace makes have, as Read returned it, into want in one transaction; nil is
// no table. Where nothing differs, nothing is sent. After an error the line is
// of no more use: close it.
func (c *Conn) Replace(ctx context.Context, have, want *Table) error {
	requests := changes(have, want)
	if len(requests) == 0 {
		return nil
	}
	if err := c.limit(ctx); err != nil {
		return err
	}
	if _, err := c.nl.SendMessages(batch(requests)); err != nil {
		return fmt.Errorf("send transaction: %w", err)
	}
	if _, err := c.nl.Receive(); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	return nil
}

// Read returns the table, or nil if there is none. What was read was all there
// at one instant: when somebody changes nftables meanwhile it reads again.
func (c *Conn) Read(ctx context.Context, family Family, name string) (*Table, error) {
	if err := c.limit(ctx); err != nil {
		return nil, err
	}
	for range 10 {
		before, err := c.Generation()
		if err != nil {
			return nil, err
		}
		t, err := c.readOnce(family, name)
		after, err2 := c.Generation()
		if err2 != nil {
			return nil, err2
		}
		if before == after {
			return t, err
		}
	}
	return nil, ErrBusy
}

func (c *Conn) readOnce(family Family, name string) (*Table, error) {
	answers, err := c.nl.Execute(message(getTable, family, 0, func(ae *netlink.AttributeEncoder) {
		ae.String(attrTableName, name)
	}))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read table: %w", err)
	}
	if len(answers) == 0 {
		return nil, errors.New("read table: no answer")
	}
	t, err := decodeTable(answers[0])
	if err != nil {
		return nil, err
	}
	for _, read := range []func(*Table) error{c.readSets, c.readChains, c.readRules} {
		if err := read(&t); err != nil {
			return nil, err
		}
	}
	return &t, nil
}

func (c *Conn) readSets(t *Table) error {
	answers, err := c.dump(getSet, t, func(ae *netlink.AttributeEncoder) { ae.String(attrSetTable, t.Name) })
	if err != nil {
		return err
	}
	for _, m := range answers {
		table, s, ok, err := decodeSet(m)
		if err != nil {
			return err
		}
		if table != t.Name || !ok {
			continue
		}
		parts, err := c.dump(getElement, t, func(ae *netlink.AttributeEncoder) {
			ae.String(attrElemsTable, t.Name)
			ae.String(attrElemsSet, s.Name)
		})
		if err != nil {
			return err
		}
		var bounds []boundary
		for _, part := range parts {
			some, err := decodeElements(part)
			if err != nil {
				return err
			}
			bounds = append(bounds, some...)
		}
		s.Elements = elements(s, bounds)
		t.Sets = append(t.Sets, s)
	}
	return nil
}

func (c *Conn) readChains(t *Table) error {
	answers, err := c.dump(getChain, t, func(ae *netlink.AttributeEncoder) { ae.String(attrChainTable, t.Name) })
	if err != nil {
		return err
	}
	for _, m := range answers {
		table, chain, err := decodeChain(m)
		if err != nil {
			return err
		}
		if table == t.Name {
			t.Chains = append(t.Chains, chain)
		}
	}
	return nil
}

func (c *Conn) readRules(t *Table) error {
	answers, err := c.dump(getRule, t, func(ae *netlink.AttributeEncoder) { ae.String(attrRuleTable, t.Name) })
	if err != nil {
		return err
	}
	for _, m := range answers {
		table, name, r, err := decodeRule(m)
		if err != nil {
			return err
		}
		if chain := t.chain(name); chain != nil && table == t.Name {
			chain.Rules = append(chain.Rules, r)
		}
	}
	return nil
}

func (c *Conn) dump(what command, t *Table, filter func(*netlink.AttributeEncoder)) ([]netlink.Message, error) {
	answers, err := c.nl.Execute(message(what, t.Family, netlink.Dump, filter))
	if err != nil {
		return nil, fmt.Errorf("read table %s: %w", t.Name, err)
	}
	return answers, nil
}

// limit lets the line wait no longer than ctx does, and never for ever.
func (c *Conn) limit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(10 * time.Second)
	}
	if err := c.nl.SetDeadline(deadline); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	return nil
}
