package agent

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/threat"
)

// find returns the threat with that ID, or nil. The pointer is good until the
// next look.
func (a *Agent) find(id string) *threat.Threat {
	for i := range a.threats {
		if a.threats[i].ID == id {
			return &a.threats[i]
		}
	}
	return nil
}

// touch marks a threat for the next record.
func (a *Agent) touch(t *threat.Threat) {
	i := slices.IndexFunc(a.batch.Threats, func(x threat.Threat) bool { return x.ID == t.ID })
	if i < 0 {
		a.batch.Threats = append(a.batch.Threats, *t)
	}
}

// note adds a line to the history, by the agent itself.
func (a *Agent) note(kind, id, action, text string) { a.noteBy("agent", kind, id, action, text) }

// noteBy adds a line to the history.
func (a *Agent) noteBy(by, kind, id, action, text string) {
	if len(a.batch.Entries) >= maxPending {
		a.batch.Entries = slices.Delete(a.batch.Entries, 0, maxPending/2)
		a.lost += maxPending / 2
	}
	a.batch.Entries = append(a.batch.Entries, journal.Entry{
		At: a.cfg.Now(), Kind: kind, Threat: id, Action: action, By: by, Text: text,
	})
	a.cfg.Log.Info(kind, zap.String("threat", id), zap.String("action", action), zap.String("by", by), zap.String("text", text))
}

// maxPending is how many lines of the history wait in memory for a journal that
// cannot be written; then the older half of them is given up.
const maxPending = 1000

// keepState marks the agent's state for the next record.
func (a *Agent) keepState() { a.batch.State = &a.state }

// record makes everything that was marked durable in one step. What cannot be
// written stays marked: the next turn tries again.
func (a *Agent) record(now time.Time) {
	a.mend(now)
	b := a.batch
	for i := range b.Threats {
		if t := a.find(b.Threats[i].ID); t != nil {
			b.Threats[i] = *t
		}
	}
	b.Threats = a.differing(b.Threats)
	if a.lost > 0 {
		b.Entries = append(slices.Clone(b.Entries), journal.Entry{
			At: now, Kind: "agent", By: "agent",
			Text: fmt.Sprintf("%d lines of the history are missing: the journal could not be written", a.lost),
		})
	}
	if len(b.Threats) == 0 && len(b.Entries) == 0 && b.State == nil && len(b.Finished) == 0 && len(b.Undone) == 0 {
		a.batch = journal.Batch{}
		return
	}
	err := a.cfg.Journal.Record(b)
	a.trouble(troubleJournal, err)
	if err != nil {
		a.recordAt = now.Add(applyRetry)
		return
	}
	a.lines += uint64(len(b.Entries))
	a.lost, a.recordAt = 0, time.Time{}
	for _, t := range b.Threats {
		a.recorded[t.ID] = digest(t)
	}
	a.batch = journal.Batch{}
	if now.Sub(a.prunedAt) > 24*time.Hour || now.Before(a.prunedAt) {
		a.prunedAt = now
		a.trouble("journal prune", a.prune(now))
	}
}

// prune lets go of what is older than the journal's limits: there and here.
func (a *Agent) prune(now time.Time) error {
	if err := a.cfg.Journal.Prune(now); err != nil {
		return err
	}
	kept, err := a.cfg.Journal.Contents()
	if err != nil {
		return err
	}
	a.threats = slices.DeleteFunc(a.threats, func(t threat.Threat) bool {
		return t.Stage == threat.Resolved && !slices.ContainsFunc(kept.Threats, func(k threat.Threat) bool { return k.ID == t.ID })
	})
	maps.DeleteFunc(a.recorded, func(id string, _ [32]byte) bool { return a.find(id) == nil })
	maps.DeleteFunc(a.retry, func(id string, _ time.Time) bool { return a.find(id) == nil })
	maps.DeleteFunc(a.intents, func(seq uint64, i journal.Intent) bool {
		return !i.Open && !slices.ContainsFunc(kept.Intents, func(k journal.Intent) bool { return k.Seq == seq })
	})
	return nil
}

// differing leaves out threats that the journal has already as they are. What it
// is given stays whole: a record that fails is tried again.
// LastSeen alone is no difference, or an idle agent would write at every look.
func (a *Agent) differing(threats []threat.Threat) []threat.Threat {
	return slices.DeleteFunc(slices.Clone(threats), func(t threat.Threat) bool {
		return a.recorded[t.ID] == digest(t)
	})
}

// trouble remembers what the agent cannot do, for status; no error ends it. It
// logs only when it begins and when it ends.
func (a *Agent) trouble(about string, err error) {
	_, had := a.troubles[about]
	if err == nil {
		if had {
			delete(a.troubles, about)
			a.cfg.Log.Info("trouble over", zap.String("about", about))
		}
		return
	}
	if !had {
		a.cfg.Log.Warn("trouble", zap.String("about", about), zap.Error(err))
		if about == troubleJournal {
			// A line that waits for the journal, or nothing would ever try it again.
			a.note("agent", "", "", "the journal could not be written for a time: nothing was remediated then")
		}
	}
	a.damaged = a.damaged || errors.Is(err, journal.ErrDamaged)
	a.troubles[about] = err.Error()
}
