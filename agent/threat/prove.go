package threat

import (
	"fmt"
	"time"

	"github.com/firebreak-sec/firebreak/agent/detect"
)

// MaxAttempts is how often a remediation is tried before a person is asked.
const MaxAttempts = 3

// maxProofs is how many proofs a threat keeps: the newest.
const maxProofs = 24

// Prove draws the conclusion of one look, made of the proofs it brought. One
// proof that it is still there outweighs all others, and one that could not be
// had makes the whole look unknown, which moves nothing. Nothing moves a threat
// that somebody decided to leave open either. It returns the verdict.
func (t *Threat) Prove(proofs []Proof, now time.Time) (detect.Verdict, error) {
	t.Proofs = append(t.Proofs, proofs...)
	if n := len(t.Proofs); n > maxProofs {
		t.Proofs = append([]Proof(nil), t.Proofs[n-maxProofs:]...)
	}
	t.Verdict = Conclude(proofs)
	switch {
	case t.Stage == Excepted:
	case t.Verdict == detect.Cleared:
		return t.Verdict, t.resolve(now)
	case t.Verdict == detect.Persists:
		return t.Verdict, t.persist()
	}
	return t.Verdict, nil
}

// Conclude returns the verdict that several proofs add up to. No proof at all
// is unknown.
func Conclude(proofs []Proof) detect.Verdict {
	if len(proofs) == 0 {
		return detect.Unknown
	}
	verdict := detect.Cleared
	for _, p := range proofs {
		switch p.Verdict {
		case detect.Persists:
			return detect.Persists
		case detect.Unknown:
			verdict = detect.Unknown
		}
	}
	return verdict
}

func (t *Threat) resolve(now time.Time) error {
	if t.Stage == Resolved {
		return nil
	}
	if err := t.move(Resolved); err != nil {
		return err
	}
	t.ResolvedAt = now
	t.Attempts = 0
	t.Approved = ""
	t.HoldOff = nil
	return nil
}

// persist takes back a stage that turned out to be too hopeful.
func (t *Threat) persist() error {
	switch {
	case t.Stage == Resolved:
		t.Recurrences++
		return t.move(Identified)
	case t.Stage != Remediated:
		return nil
	}
	t.Attempts++
	if t.Attempts >= MaxAttempts {
		return t.Wait(ForPerson)
	}
	if len(t.InForce) > 0 {
		return t.move(Mitigated)
	}
	return t.move(Identified)
}

// Over tells whether until has come, by the clock on the wall or by the one that
// only ever goes on: the first jumps when it is set, the second stands still
// while the computer sleeps.
func Over(until, now time.Time) bool {
	return !now.Before(until) || !now.Round(0).Before(until.Round(0))
}

// LastDay writes the last day of what lasts until an instant: what ends at
// midnight ends with the day before.
func LastDay(until time.Time) string { return until.Add(-time.Second).Format("2 January 2006") }

// Expire ends an exception and a hold-off whose time has passed, and says
// whether it did. exe is the SHA-256 of the executable now, or "" if unknown:
// an exception was given to one executable, not to whatever replaces it.
func (t *Threat) Expire(now time.Time, exe string) (ended string, err error) {
	if h := t.HoldOff; h != nil && Over(h.Until, now) {
		t.HoldOff = nil
		ended = "the pause that " + h.By + " asked for is over"
	}
	e := t.Exception
	if e == nil {
		return ended, nil
	}
	switch {
	case Over(e.Until, now):
		ended = fmt.Sprintf("the exception of %s ended on %s", e.Owner, LastDay(e.Until))
	case e.Exe != "" && exe != "" && e.Exe != exe:
		ended = fmt.Sprintf("the exception of %s ended: the program was changed", e.Owner)
	default:
		return ended, nil
	}
	t.Exception = nil
	if t.Stage == Excepted {
		err = t.move(Identified)
	}
	return ended, err
}
