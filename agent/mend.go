package agent

import (
	"maps"
	"slices"
	"time"
)

// mend opens a journal anew that was damaged, or taken away, under the agent,
// and writes into it all that the agent knows: nothing is lost but what of the
// history could not be saved.
func (a *Agent) mend(now time.Time) {
	if !a.damaged || now.Before(a.recordAt) {
		return
	}
	err := a.cfg.Journal.Reopen()
	if err == nil {
		err = a.cfg.Journal.Restore(slices.Collect(maps.Values(a.intents)))
	}
	if err != nil {
		a.trouble(troubleJournal, err)
		a.recordAt = now.Add(applyRetry)
		return
	}
	a.damaged = false
	clear(a.recorded)
	for i := range a.threats {
		a.touch(&a.threats[i])
	}
	a.keepState()
	text := "the journal was taken away while the agent ran; it is written anew"
	if aside := a.cfg.Journal.Aside(); aside != "" {
		text = "the journal was damaged while the agent ran; it is written anew, and the damaged one is kept at " + aside
	}
	a.note("agent", "", "", text)
}
