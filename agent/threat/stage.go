package threat

import (
	"fmt"
	"slices"
)

// next is the diagram of Stage as a table: where a threat may go from each
// stage.
var next = map[Stage][]Stage{
	Identified: {Mitigated, Remediated, Waiting, Excepted, Resolved},
	Mitigated:  {Remediated, Waiting, Excepted, Resolved, Identified},
	Remediated: {Resolved, Mitigated, Identified, Waiting},
	Waiting:    {Identified, Mitigated, Remediated, Excepted, Resolved},
	Excepted:   {Identified},
	Resolved:   {Identified},
}

// Move takes the threat to another stage; it is the only way there. Moving to
// the stage it is in changes nothing. Resolved is not to be had this way: see
// Prove.
func (t *Threat) Move(to Stage) error {
	if to == Resolved {
		return fmt.Errorf("move %s to resolved: only a proof resolves a threat", t.ID)
	}
	return t.move(to)
}

// Wait takes the threat to waiting, and says for what.
func (t *Threat) Wait(why Wait) error {
	if err := t.move(Waiting); err != nil {
		return err
	}
	t.WaitingFor = why
	return nil
}

func (t *Threat) move(to Stage) error {
	if t.Stage == to {
		return nil
	}
	if !slices.Contains(next[t.Stage], to) {
		return fmt.Errorf("move %s from %s to %s: not a step a threat can take", t.ID, t.Stage, to)
	}
	t.Stage = to
	t.WaitingFor = ""
	return nil
}

// Open tells whether the threat is neither proved gone nor left open on
// purpose.
func (t *Threat) Open() bool { return t.Stage != Resolved && t.Stage != Excepted }

// Reopen takes the threat to identified from wherever it is.
func (t *Threat) Reopen() error {
	if t.Stage == Identified {
		return nil
	}
	return t.move(Identified)
}
