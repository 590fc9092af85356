package threat

import (
	"cmp"
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/configs"
)

// Followed is what one look means for the threats that are known.
type Followed struct {
	Threats []Threat // all of them, as they are now
	New     []string // IDs of threats seen for the first time
	Back    []string // IDs of threats that had been resolved
	Gone    []string // IDs of open threats that were not found: candidates for a proof
}

// Follow matches the findings of one look with the known threats by their keys.
// looked names the detectors that could look: what another detector found
// before is neither there nor gone.
func Follow(known []Threat, found []detect.Finding, looked []string, now time.Time) (Followed, error) {
	f := Followed{Threats: slices.Clone(known)}
	byKey := make(map[string]int, len(known))
	ids := make(map[string]bool, len(known))
	for i, t := range f.Threats {
		byKey[t.Key] = i
		ids[t.ID] = true
	}
	seen := make(map[string]bool, len(found))
	for _, x := range found {
		if x.Allowed {
			continue
		}
		seen[x.Key] = true
		i, ok := byKey[x.Key]
		if !ok {
			t := fresh(x, NewID(x.Key, func(id string) bool { return ids[id] }), now)
			ids[t.ID] = true
			byKey[x.Key] = len(f.Threats)
			f.Threats = append(f.Threats, t)
			f.New = append(f.New, t.ID)
			continue
		}
		back, err := f.Threats[i].seen(x, now)
		if err != nil {
			return f, err
		}
		if back {
			f.Back = append(f.Back, f.Threats[i].ID)
		}
	}
	for _, t := range f.Threats {
		if t.Open() && !seen[t.Key] && slices.Contains(looked, t.Detector) {
			f.Gone = append(f.Gone, t.ID)
		}
	}
	return f, nil
}

func fresh(x detect.Finding, id string, now time.Time) Threat {
	return Threat{
		ID: id, Key: x.Key, Detector: x.Detector, Subject: x.Subject, Severity: x.Severity,
		Stage: Identified, Summary: x.Summary, Plan: x.Plan, Because: x.Because,
		FirstSeen: now, LastSeen: now,
	}
}

// seen brings the threat up to date with a finding of it, and tells whether it
// had been resolved.
func (t *Threat) seen(x detect.Finding, now time.Time) (back bool, err error) {
	t.LastSeen = now
	t.Subject, t.Severity, t.Summary = x.Subject, x.Severity, x.Summary
	if x.Plan != t.Plan {
		if err := t.replan(); err != nil {
			return false, err
		}
	}
	t.Plan, t.Because = x.Plan, x.Because
	if t.Stage != Resolved {
		return false, nil
	}
	t.Recurrences++
	t.Verdict, t.ResolvedAt = "", time.Time{}
	t.Looks = nil
	return true, t.move(Identified)
}

// replan forgets what was said of the plan before: another one needs its own
// approval, and has its own attempts.
func (t *Threat) replan() error {
	t.Approved, t.Attempts = "", 0
	if t.Stage == Waiting {
		return t.move(Identified)
	}
	return nil
}

// Worst sorts threats as a person should read them: open before excepted
// before resolved, the most severe first, then the oldest.
func Worst(threats []Threat) {
	rank := func(t Threat) int {
		switch t.Stage {
		case Resolved:
			return 2
		case Excepted:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(threats, func(a, b Threat) int {
		return cmp.Or(
			cmp.Compare(rank(a), rank(b)),
			cmp.Compare(slices.Index(configs.Severities, b.Severity), slices.Index(configs.Severities, a.Severity)),
			a.FirstSeen.Compare(b.FirstSeen),
			cmp.Compare(a.ID, b.ID),
		)
	})
}
