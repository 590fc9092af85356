package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/firebreak-sec/firebreak/platform"
)

// Begin writes an intent down and returns its number. It is on disk when Begin
// returns, with a line of the history that has the same number. After an error
// the act must not begin.
func (j *Journal) Begin(i Intent) (uint64, error) {
	err := j.update(func(w *writing) error {
		seq, err := w.line(Entry{
			At: i.At, Kind: "intent", Threat: i.Threat, Action: i.Action, By: i.By, Text: begins(i),
		})
		if err != nil {
			return err
		}
		i.Seq, i.Open, i.Undone = seq, true, false
		return w.put(kindIntent, sequenceKey(seq), i)
	})
	if err != nil {
		return 0, fmt.Errorf("write intent: %w", err)
	}
	return i.Seq, nil
}

func begins(i Intent) string {
	if i.Of != 0 {
		return "begins to undo: " + strings.Join(i.Steps, "; ")
	}
	if len(i.Steps) == 0 {
		return "begins"
	}
	return "begins: " + strings.Join(i.Steps, "; ")
}

// Record makes a batch durable: all of it or, on an error, none. What is in the
// journal already as it should be is not written again, and a batch of nothing
// but that does not touch the disk. An intent whose inverse was carried out is
// closed too; one that the journal does not know (damage took it) is no error.
func (j *Journal) Record(b Batch) error {
	err := j.update(func(w *writing) error {
		for _, t := range b.Threats {
			if err := w.put(kindThreat, []byte(t.ID), t); err != nil {
				return err
			}
		}
		if b.State != nil {
			if err := w.state(*b.State); err != nil {
				return err
			}
		}
		for _, e := range b.Entries {
			if _, err := w.line(e); err != nil {
				return err
			}
		}
		for _, seq := range b.Finished {
			if err := w.intent(seq, func(i *Intent) { i.Open = false }); err != nil {
				return err
			}
		}
		for _, seq := range b.Undone {
			if err := w.intent(seq, func(i *Intent) { i.Open, i.Undone = false, true }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// writing is one write of the journal, under way.
type writing struct {
	tx     *bbolt.Tx
	number uint64 // 0 until something changes
	lines  int    // of the history, as it is now
	bytes  int    // of these lines
}

// update carries out one write. It is durable when update returns, and leaves no
// trace on an error.
func (j *Journal) update(fn func(*writing) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.db == nil {
		return errClosed
	}
	return j.guard(func() error {
		if !names(j.path, j.file) {
			return fmt.Errorf("%w: it was removed or replaced while the agent runs", ErrDamaged)
		}
		tx, err := j.db.Begin(true)
		if err != nil {
			return cannotWrite(err)
		}
		w := &writing{tx: tx, lines: j.lines, bytes: j.bytes}
		// Lines are only ever added at the end, so their pages may be full.
		tx.Bucket(kindHistory.bucket()).FillPercent = 0.95
		err = fn(w)
		if err == nil {
			err = w.trimHistory(j.limits)
		}
		if err != nil || w.number == 0 {
			return errors.Join(err, tx.Rollback())
		}
		platform.FaultPoint("journal: before commit")
		if err := tx.Commit(); err != nil {
			return cannotWrite(err)
		}
		platform.FaultPoint("journal: after commit")
		j.lines, j.bytes = w.lines, w.bytes
		return nil
	})
}

// put writes one record, unless it is there already.
func (w *writing) put(k kind, key []byte, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if old, ok := decode(w.tx.Bucket(k.bucket()).Get(key)); ok && bytes.Equal(old.body, body) {
		return nil
	}
	if err := w.change(); err != nil {
		return err
	}
	r := record{schema: schema, kind: k, number: w.number, key: key, body: body}
	if k == kindHistory {
		w.lines++
		w.bytes += r.size()
	}
	return w.tx.Bucket(k.bucket()).Put(key, r.encode())
}

func (w *writing) remove(k kind, key []byte) error {
	if err := w.change(); err != nil {
		return err
	}
	return w.tx.Bucket(k.bucket()).Delete(key)
}

// change gives the write its number.
func (w *writing) change() (err error) {
	if w.number == 0 {
		w.number, err = w.tx.Bucket(kindAgent.bucket()).NextSequence()
	}
	return err
}

// line adds a line to the history.
func (w *writing) line(e Entry) (seq uint64, err error) {
	e.Seq, err = w.tx.Bucket(kindHistory.bucket()).NextSequence()
	if err != nil {
		return 0, err
	}
	return e.Seq, w.put(kindHistory, sequenceKey(e.Seq), e)
}

// state writes the policy by itself: it is by far the largest part, and hardly
// ever changes.
func (w *writing) state(s State) error {
	if err := w.put(kindAgent, []byte(keyPolicy), s.Policy); err != nil {
		return err
	}
	s.Policy = nil
	return w.put(kindAgent, []byte(keyState), s)
}

func (w *writing) intent(seq uint64, change func(*Intent)) error {
	value := w.tx.Bucket(kindIntent.bucket()).Get(sequenceKey(seq))
	if value == nil {
		return nil
	}
	var i Intent
	if err := read(value, &i); err != nil {
		return err
	}
	change(&i)
	return w.put(kindIntent, sequenceKey(seq), i)
}

var errClosed = errors.New("the journal is closed")

// reasons says in plain words why a disk takes nothing.
var reasons = []struct {
	is   error
	text string
}{
	{syscall.ENOSPC, "the disk is full"},
	{syscall.EDQUOT, "the quota of the disk is used up"},
	{syscall.EROFS, "the disk is read-only"},
	{syscall.EIO, "the disk fails"},
	{fs.ErrPermission, "this needs root"},
	{berrors.ErrMaxSizeReached, "it has reached its largest size"},
	{berrors.ErrDatabaseReadOnly, "it was opened to be read only"},
}

// cannotWrite wraps an error of the disk with a sentence a person understands.
func cannotWrite(err error) error {
	for _, r := range reasons {
		if errors.Is(err, r.is) {
			return fmt.Errorf("%w: %s (%w)", ErrCannotWrite, r.text, err)
		}
	}
	return fmt.Errorf("%w: %w", ErrCannotWrite, err)
}
