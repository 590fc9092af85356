// Package detect finds threats in a snapshot. One file is one detector; each is
// a pure function of the snapshot and of the policy.
package detect

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// Detector finds one kind of threat.
type Detector struct {
	Name string // "open-port"
	Doc  string // first sentence is shown to the helpdesk
	// Parts are the parts of a snapshot whose change may change its findings. Where
	// it needs another as well, that part as it was the last time is good enough.
	Parts platform.Parts
	// Find returns the findings in a snapshot. An error means that it could not
	// look: what it would have found is unknown, not absent.
	Find func(Input) ([]Finding, error)
}

// Input is all that a detector may know.
type Input struct {
	Snapshot  platform.Snapshot
	Policy    configs.Policy
	Lifecycle configs.Lifecycle
	Now       time.Time // the day the host is judged by; not always today
	// FirstSeen is when the agent first saw updates that are missing. Package data
	// tells when it was written, not when a fix came into it.
	FirstSeen map[UpdateID]time.Time
}

// Finding is one detector's claim about one subject in one snapshot.
type Finding struct {
	Detector string
	// Key is what makes two findings the same threat: never a pid or an inode.
	Key      string
	Subject  platform.Subject
	Severity configs.Severity
	Summary  string // one sentence that can be read out on the phone
	Plan     string // the plan policy names for it; "" reports only
	Because  string // the rule that made it a threat: "deny rule in line 12"
	Allowed  bool   // true for what was looked at and is no threat, with Because; never followed
	Unlisted bool   // true if no rule names it, only the default: screens sum these up in one line
	// Unsure is true if the look could not tell what it looked at. It is a threat
	// of its own, and it proves no other threat gone that it may be.
	Unsure bool
}

// All returns every detector, in the order the documentation lists them.
func All() []*Detector { return []*Detector{OpenPort, OutdatedOS, MissingUpdates} }

// Verdict is what a second look says.
type Verdict string

// The verdicts. Only Cleared closes a threat; Unknown moves nothing.
const (
	Cleared  Verdict = "cleared"  // looked again, and it is gone
	Persists Verdict = "persists" // looked again, and it is still there
	Unknown  Verdict = "unknown"  // could not look
)

// Verify puts the same question to the same detector on a fresh look, so there
// is no second meaning of "fixed". The reason is one sentence.
func (d *Detector) Verify(key string, in Input) (Verdict, string) {
	found, err := d.Find(in)
	if err != nil {
		return Unknown, fmt.Sprintf("could not look again: %v", err)
	}
	for _, f := range found {
		switch {
		case f.Key == key && f.Allowed:
			return Cleared, "it is still there, and is no threat now: " + f.Because
		case f.Key == key:
			return Persists, f.Summary
		}
	}
	for _, f := range found {
		if f.Unsure && f.MayBe(key) {
			return Unknown, "could not tell whether it is still there: " + f.Summary
		}
	}
	return Cleared, d.Name + " finds it no longer"
}

// Allows tells whether what has the key is still there, and policy allows it.
func (d *Detector) Allows(key string, in Input) bool {
	found, err := d.Find(in)
	return err == nil && slices.ContainsFunc(found, func(f Finding) bool { return f.Key == key && f.Allowed })
}

// MayBe tells whether an unsure finding could be the threat with that key: on
// another port than its own it is not.
func (f Finding) MayBe(key string) bool {
	p := f.Subject.Port
	return p == nil || strings.HasPrefix(key, portPrefix(p.Protocol, p.Port))
}
