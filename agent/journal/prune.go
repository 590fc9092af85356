package journal

import (
	"fmt"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
)

// Prune deletes what the limits no longer keep: old lines of the history,
// threats that were resolved long ago, and intents that are closed and are undone,
// cannot be undone, or belong to such a threat. An intent that is open is never
// deleted, nor is its threat, nor one that can be undone while its threat is
// known or nobody knows its threat. Pruning what is within the limits does not
// touch the disk.
func (j *Journal) Prune(now time.Time) error {
	err := j.update(func(w *writing) error {
		if err := w.pruneHistory(j.limits, j.lines, now); err != nil {
			return err
		}
		return w.pruneThreats(j.limits.ResolvedAge, now)
	})
	if err != nil {
		return fmt.Errorf("prune journal: %w", err)
	}
	return nil
}

// pruneHistory deletes from the oldest line on. It begins only when a tenth more
// is there than should be.
func (w *writing) pruneHistory(l Limits, lines int, now time.Time) error {
	excess := 0
	if l.HistoryEntries > 0 && lines > l.HistoryEntries+l.HistoryEntries/10 {
		excess = lines - l.HistoryEntries
	}
	due := false
	var old [][]byte
	c := w.tx.Bucket(kindHistory.bucket()).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		var e Entry
		if err := read(v, &e); err != nil {
			return err
		}
		age := now.Sub(e.At)
		due = due || l.HistoryAge > 0 && age > l.HistoryAge+l.HistoryAge/10
		if len(old) >= excess && !(due && age > l.HistoryAge) {
			break
		}
		old = append(old, append([]byte(nil), k...))
	}
	for _, key := range old {
		if err := w.remove(kindHistory, key); err != nil {
			return err
		}
		w.lines--
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
