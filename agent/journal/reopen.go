package journal

import "fmt"

// Reopen opens a journal anew that was damaged, or taken away, while it was open
// (ErrDamaged). It saves what can be saved, as Open does, and can be called again
// after an error.
func (j *Journal) Reopen() error {
	_ = j.Close() // what is wrong with it is known
	fresh, err := Open(j.path, j.limits)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.file, j.db, j.lines, j.bytes = fresh.file, fresh.db, fresh.lines, fresh.bytes
	j.broken = nil
	if fresh.aside != "" {
		j.aside = fresh.aside
	}
	return nil
}

// Restore writes intents that the agent still knows into a journal that lost
// them, under the numbers they have. No later record gets one of these.
func (j *Journal) Restore(intents []Intent) error {
	err := j.update(func(w *writing) error {
		history := w.tx.Bucket(kindHistory.bucket())
		for _, i := range intents {
			if err := w.put(kindIntent, sequenceKey(i.Seq), i); err != nil {
				return err
			}
			if history.Sequence() < i.Seq {
				if err := history.SetSequence(i.Seq); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("restore intents: %w", err)
	}
	return nil
}
