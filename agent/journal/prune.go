package journal

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
)

// Prune deletes what has grown older than the limits: lines of the history,
// threats that were resolved long ago, and intents that are closed and are undone,
// cannot be undone, or belong to such a threat. An intent that is open is never
// deleted, nor is its threat, nor one that can be undone while its threat is
// known or nobody knows its threat. Pruning what is within the limits does not
// touch the disk.
func (j *Journal) Prune(now time.Time) error {
	err := j.update(func(w *writing) error {
		if err := w.pruneHistory(j.limits.HistoryAge, now); err != nil {
			return err
		}
		return w.pruneThreats(j.limits.ResolvedAge, now)
	})
	if err != nil {
		return fmt.Errorf("prune journal: %w", err)
	}
	return nil
}

// pruneHistory deletes the lines older than age, once the oldest is a tenth
// older.
func (w *writing) pruneHistory(age time.Duration, now time.Time) error {
	due := false
	return w.dropLines(func(value []byte) (bool, error) {
		var e Entry
		if err := read(value, &e); err != nil {
			return false, err
		}
		due = due || age > 0 && now.Sub(e.At) > age+age/10
		return due && now.Sub(e.At) > age, nil
	})
}

// trimHistory deletes the oldest lines when there are a tenth more than may be,
// in number or in bytes. It is part of every write.
func (w *writing) trimHistory(l Limits) error {
	lines, bytes := l.HistoryEntries, largestHistory
	if lines <= 0 {
		lines = math.MaxInt32
	}
	if w.lines <= lines+lines/10 && w.bytes <= bytes+bytes/10 {
		return nil
	}
	return w.dropLines(func([]byte) (bool, error) {
		return w.lines > lines || w.bytes > bytes, nil
	})
}

// dropLines deletes lines of the history from the oldest on, while drop says so.
func (w *writing) dropLines(drop func(value []byte) (bool, error)) error {
	var keys [][]byte
	c := w.tx.Bucket(kindHistory.bucket()).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		old, err := drop(v)
		if err != nil {
			return err
		}
		if !old {
			break
		}
		keys = append(keys, slices.Clone(k))
		w.lines--
		w.bytes -= len(v)
	}
	for _, key := range keys {
		if err := w.remove(kindHistory, key); err != nil {
			return err
		}
	}
	return nil
}

func (w *writing) pruneThreats(age time.Duration, now time.Time) error {
	open := map[string]bool{} // threats with an open intent
	var intents []Intent
	err := each(w.tx, kindIntent, func(i Intent) {
		intents = append(intents, i)
		if i.Open {
			open[i.Threat] = true
		}
	})
	if err != nil {
		return err
	}
	gone, err := w.resolvedLongAgo(age, now, open)
	if err != nil {
		return err
	}
	for id := range gone {
		if err := w.remove(kindThreat, []byte(id)); err != nil {
			return err
		}
	}
	for _, i := range intents {
		if i.Open || i.undoable() && !gone[i.Threat] {
			continue
		}
		if err := w.remove(kindIntent, sequenceKey(i.Seq)); err != nil {
			return err
		}
	}
	return nil
}

func (w *writing) resolvedLongAgo(age time.Duration, now time.Time, open map[string]bool) (map[string]bool, error) {
	gone := map[string]bool{}
	if age <= 0 {
		return gone, nil
	}
	err := each(w.tx, kindThreat, func(t threat.Threat) {
		if t.Stage == threat.Resolved && now.Sub(t.ResolvedAt) > age && !open[t.ID] {
			gone[t.ID] = true
		}
	})
	return gone, err
}
