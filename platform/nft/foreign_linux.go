package nft

import (
	"context"
	"fmt"
)

// ReadForeign reads all tables of the namespace but those that own names, and the
// generation they are of. It reads again when somebody changes nftables meanwhile.
//
// A set of more than most elements is Changing: what is in it is not known.
func (c *Conn) ReadForeign(ctx context.Context, own func(Key) bool, most int) ([]*ForeignTable, uint32, error) {
	before, err := c.Generation()
	for range 10 {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, 0, err
		}
		r := foreignReading{conn: c, own: own, most: most, byKey: map[Key]*ForeignTable{}}
		failed := r.read()
		var after uint32
		if after, err = c.Generation(); err == nil && after == before {
			return r.tables, after, failed
		}
		before = after
	}
	if err != nil {
		return nil, 0, err
	}
	return nil, 0, ErrBusy
}

// foreignReading is one attempt at reading all tables.
type foreignReading struct {
	conn   *Conn
	own    func(Key) bool
	most   int
	tables []*ForeignTable
	byKey  map[Key]*ForeignTable
}

func (r *foreignReading) read() error {
	for _, read := range []func() error{r.readTables, r.readChains, r.readSets, r.readRules} {
		if err := read(); err != nil || len(r.tables) == 0 {
			return err
		}
	}
	return nil
}

func (r *foreignReading) readTables() error {
	answers, err := r.conn.dump(getTable, 0, func(*encoder) {})
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	for _, m := range answers {
		t, err := decodeTable(m)
		if err != nil {
			return err
		}
		if !r.own(t.Key()) {
			f := &ForeignTable{Family: t.Family, Name: t.Name, Dormant: t.Flags&Dormant != 0}
			r.tables, r.byKey[t.Key()] = append(r.tables, f), f
		}
	}
	return nil
}

func (r *foreignReading) readChains() error {
	answers, err := r.conn.dump(getChain, 0, func(*encoder) {})
	if err != nil {
		return fmt.Errorf("list chains: %w", err)
	}
	for _, m := range answers {
		table, chain, err := decodeChain(m)
		if err != nil {
			return err
		}
		if t := r.byKey[Key{Family(m.Data[0]), table}]; t != nil {
			t.Chains = append(t.Chains, ForeignChain{Name: chain.Name, Hook: chain.Hook})
		}
	}
	return nil
}

func (r *foreignReading) readRules() error {
	answers, err := r.conn.dump(getRule, 0, func(*encoder) {})
	if err != nil {
		return fmt.Errorf("list rules: %w", err)
	}
	chains := map[Key]map[string]*ForeignChain{}
	for k, t := range r.byKey {
		chains[k] = map[string]*ForeignChain{}
		for i := range t.Chains {
			chains[k][t.Chains[i].Name] = &t.Chains[i]
		}
	}
	for _, m := range answers {
		k, name, exprs, err := decodeForeignRule(m)
		if err != nil {
			return err
		}
		if chain := chains[k][name]; chain != nil {
			chain.Rules = append(chain.Rules, exprs)
		}
	}
	return nil
}

func (r *foreignReading) readSets() error {
	answers, err := r.conn.dump(getSet, 0, func(*encoder) {})
	if err != nil {
		return fmt.Errorf("list sets: %w", err)
	}
	for _, m := range answers {
		k, s, interval, err := decodeForeignSet(m)
		if err != nil {
			return err
		}
		t := r.byKey[k]
		if t == nil {
			continue
		}
		if !s.Changing {
			if err := r.readElements(k, &s, interval); err != nil {
				return fmt.Errorf("list set %s of table %s: %w", s.Name, k.Name, err)
			}
		}
		t.Sets = append(t.Sets, s)
	}
	return nil
}

func (r *foreignReading) readElements(k Key, s *ForeignSet, interval bool) error {
	answers, err := r.conn.dump(getElement, k.Family, func(ae *encoder) {
		ae.String(attrElemsTable, k.Name)
		ae.String(attrElemsSet, s.Name)
	})
	if err != nil {
		return err
	}
	var bounds []foreignBoundary
	for _, m := range answers {
		some, err := decodeForeignElements(m)
		if err != nil {
			return err
		}
		if bounds = append(bounds, some...); len(bounds) > r.most {
			s.Changing = true
			return nil
		}
	}
	s.Elements = foreignElements(bounds, interval)
	return nil
}
