package nft

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// ErrBusy says that somebody else kept changing nftables while it was read.
var ErrBusy = errors.New("nftables keeps changing")

// Read returns those of the tables that there are, in the order asked for. What
// was read was all there at one instant: when somebody changes nftables
// meanwhile it reads again.
func (c *Conn) Read(ctx context.Context, keys ...Key) ([]*Table, error) {
	before, err := c.Generation()
	for range 10 {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		tables, failed := c.readOnce(keys)
		var after uint32
		if after, err = c.Generation(); err == nil && after == before {
			return tables, failed
		}
		before = after
	}
	if err != nil {
		return nil, err
	}
	return nil, ErrBusy
}

func (c *Conn) readOnce(keys []Key) ([]*Table, error) {
	var out []*Table
	for _, k := range keys {
		t, err := c.readTable(k)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read table %s: %w", k.Name, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func (c *Conn) readTable(k Key) (*Table, error) {
	answers, err := c.get(getTable, k.Family, func(ae *encoder) { ae.String(attrTableName, k.Name) })
	if err != nil {
		return nil, err
	}
	if len(answers) == 0 {
		return nil, errors.New("no answer")
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
	answers, err := c.dump(getSet, t.Family, func(ae *encoder) { ae.String(attrSetTable, t.Name) })
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
		if s.Elements, err = c.readElements(t, s); err != nil {
			return err
		}
		t.Sets = append(t.Sets, s)
	}
	return nil
}

func (c *Conn) readElements(t *Table, s Set) ([]Element, error) {
	answers, err := c.dump(getElement, t.Family, func(ae *encoder) {
		ae.String(attrElemsTable, t.Name)
		ae.String(attrElemsSet, s.Name)
	})
	if err != nil {
		return nil, err
	}
	var bounds []boundary
	for _, m := range answers {
		some, err := decodeElements(m)
		if err != nil {
			return nil, err
		}
		bounds = append(bounds, some...)
	}
	return elements(s, bounds), nil
}

func (c *Conn) readChains(t *Table) error {
	answers, err := c.dump(getChain, t.Family, func(ae *encoder) { ae.String(attrChainTable, t.Name) })
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
	answers, err := c.dump(getRule, t.Family, func(ae *encoder) { ae.String(attrRuleTable, t.Name) })
	if err != nil {
		return err
	}
	chains := map[string]*Chain{}
	for i := range t.Chains {
		chains[t.Chains[i].Name] = &t.Chains[i]
	}
	for _, m := range answers {
		table, name, r, err := decodeRule(m)
		if err != nil {
			return err
		}
		if chain := chains[name]; chain != nil && table == t.Name {
			chain.Rules = append(chain.Rules, r)
		}
	}
	return nil
}

// Flowtables lists the flowtables of the namespace, such as "inet fw4 ft".
// Packets of a connection that is in one pass by the forward hooks. A kernel
// that does not know flowtables has none.
func (c *Conn) Flowtables(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	const getFlowtable command = 23
	answers, err := c.dump(getFlowtable, 0, func(*encoder) {})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list flowtables: %w", err)
	}
	var out []string
	for _, m := range answers {
		name, err := decodeFlowtable(m)
		if err != nil {
			return nil, err
		}
		out = append(out, name)
	}
	return out, nil
}
