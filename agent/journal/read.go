package journal

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/firebreak-sec/firebreak/agent/threat"
)

// Contents returns all that the journal holds, but for the history: threats by
// ID, intents from the oldest to the newest.
func (j *Journal) Contents() (Contents, error) {
	var c Contents
	err := j.view(func(tx *bbolt.Tx) error {
		agent := tx.Bucket(kindAgent.bucket())
		if err := readIf(agent.Get([]byte(keyState)), &c.State); err != nil {
			return err
		}
		if err := readIf(agent.Get([]byte(keyPolicy)), &c.State.Policy); err != nil {
			return err
		}
		err := each(tx, kindThreat, func(t threat.Threat) { c.Threats = append(c.Threats, t) })
		if err != nil {
			return err
		}
		return each(tx, kindIntent, func(i Intent) {
			if i.Open || i.undoable() {
				c.Intents = append(c.Intents, i)
			}
		})
	})
	if err != nil {
		return Contents{}, fmt.Errorf("read journal: %w", err)
	}
	return c, nil
}

// undoable tells whether the act is done and its inverse is not.
func (i Intent) undoable() bool {
	return !i.Open && !i.Undone && len(i.Inverse) > 0 && string(i.Inverse) != "null"
}

// History returns lines numbered higher than after, oldest first: the first
// limit ones, the last -limit ones if limit is less than 0, all if it is 0.
func (j *Journal) History(after uint64, limit int) ([]Entry, error) {
	if after == math.MaxUint64 {
		return nil, nil
	}
	var entries []Entry
	err := j.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(kindHistory.bucket()).Cursor()
		k, v := c.Seek(sequenceKey(after + 1))
		step := c.Next
		if limit < 0 {
			k, v = c.Last()
			step = c.Prev
		}
		for ; k != nil && sequenceOf(k) > after; k, v = step() {
			var e Entry
			if err := read(v, &e); err != nil {
				return err
			}
			entries = append(entries, e)
			if limit != 0 && len(entries) == max(limit, -limit) {
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	if limit < 0 {
		slices.Reverse(entries)
	}
	return entries, nil
}

func (j *Journal) view(fn func(*bbolt.Tx) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.db == nil {
		return errClosed
	}
	return j.guard(func() error { return j.db.View(fn) })
}

func each[T any](tx *bbolt.Tx, k kind, visit func(T)) error {
	return tx.Bucket(k.bucket()).ForEach(func(_, value []byte) error {
		var v T
		if err := read(value, &v); err != nil {
			return err
		}
		visit(v)
		return nil
	})
}

// read decodes a value in the journal.
func read(value []byte, into any) error {
	r, ok := decode(value)
	if !ok {
		return fmt.Errorf("%w: a record has a wrong checksum", ErrDamaged)
	}
	if err := json.Unmarshal(r.body, into); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

func readIf(value []byte, into any) error {
	if value == nil {
		return nil
	}
	return read(value, into)
}
