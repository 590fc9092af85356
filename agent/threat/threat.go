// Package threat follows one finding over time, from identified to resolved.
package threat

import (
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// Stage is how far a threat has come.
//
//	identified --> mitigated --> remediated --> resolved
//	    |              |             |  ^
//	    |              |             v  |
//	    +--------------+---------> waiting     (approval, person, reboot, window, limit)
//	    |
//	    +--> excepted                          (an owner, a reason, an end date)
type Stage string

// The stages of a threat.
const (
	Identified Stage = "identified"
	Mitigated  Stage = "mitigated"  // its impact is lessened; it is still there
	Remediated Stage = "remediated" // acted on; not yet proved
	Resolved   Stage = "resolved"   // proved gone
	Waiting    Stage = "waiting"
	Excepted   Stage = "excepted"
)

// Wait is what a waiting threat waits for.
type Wait string

// What a threat can wait for.
const (
	ForApproval Wait = "approval"
	ForPerson   Wait = "person"
	ForReboot   Wait = "reboot"
	ForWindow   Wait = "window"
	ForLimit    Wait = "limit"
)

// Threat is a finding followed over time. Its JSON is a contract: it is what
// `firebreak threats --json` prints and what the journal keeps.
type Threat struct {
	ID          string           `json:"id"`
	Key         string           `json:"key"`
	Detector    string           `json:"detector"`
	Subject     platform.Subject `json:"subject"`
	Severity    configs.Severity `json:"severity"`
	Stage       Stage            `json:"stage"`
	WaitingFor  Wait             `json:"waiting_for,omitempty"`
	InForce     []string         `json:"in_force"` // mitigations now
	Summary     string           `json:"summary"`
	Next        string           `json:"next"` // who does what next
	FirstSeen   time.Time        `json:"first_seen"`
	LastSeen    time.Time        `json:"last_seen"`
	Recurrences int              `json:"recurrences"`
	Actions     []Act            `json:"actions"`
	Verdict     detect.Verdict   `json:"verdict,omitempty"`
	Proofs      []Proof          `json:"proofs"`
	Evidence    []string         `json:"evidence"` // names of bundles
	Plan        string           `json:"plan"`
	Because     string           `json:"because"`

	// Attempts counts remediations in a row that a look found to have failed.
	Attempts int `json:"attempts"`
	// Approved is who approved its plan; "" nobody yet.
	Approved string `json:"approved,omitempty"`
	// Exception is set while a person has decided to leave the threat open.
	Exception *Exception `json:"exception,omitempty"`
	// HoldOff is set while the agent must not act on it by itself.
	HoldOff *HoldOff `json:"hold_off,omitempty"`
	// Looks are the validations still to come.
	Looks []Look `json:"looks,omitempty"`
	// Flaps counts how often it closed and opened again since FlapsSince, the last
	// time at FlappedAt, with less than FlapWindow between.
	Flaps      int       `json:"flaps,omitempty"`
	FlapsSince time.Time `json:"flaps_since,omitzero"`
	FlappedAt  time.Time `json:"flapped_at,omitzero"`
	// Resolved is when it was last proved gone.
	ResolvedAt time.Time `json:"resolved_at,omitzero"`
}

// maxActs is how many acts a threat keeps: the newest.
const maxActs = 60

// Did adds an act to those of the threat. An old one that could still be undone
// stays undoable: the journal knows it.
func (t *Threat) Did(a Act) {
	kept := t.Actions[max(0, len(t.Actions)+1-maxActs):]
	t.Actions = append(slices.Clone(kept), a)
}

// Act is one action carried out for a threat.
type Act struct {
	Seq      uint64    `json:"seq"` // of its intent in the journal
	Name     string    `json:"name"`
	Kind     string    `json:"kind"` // mitigation | remediation
	At       time.Time `json:"at"`
	By       string    `json:"by"`     // "policy", or the person
	Result   string    `json:"result"` // pending | done | failed | cannot | lifted | undone
	Detail   string    `json:"detail"` // one sentence: what was done, or why not
	Undoable bool      `json:"undoable"`
	Costs    []string  `json:"costs,omitempty"` // what the user loses by it, as previewed
}

// Proof is one look that was taken to see whether a threat is gone.
type Proof struct {
	At      time.Time      `json:"at"`
	Look    string         `json:"look"` // "at once", "after 1m", "after reboot", "asked by a person"
	How     string         `json:"how"`  // snapshot | probe | policy (it is there, and allowed)
	Verdict detect.Verdict `json:"verdict"`
	Detail  string         `json:"detail"` // one sentence
}

// Look is a validation that is still to come.
type Look struct {
	Name string    `json:"name"`          // "after 1m", "after reboot"
	Due  time.Time `json:"due,omitzero"`  // zero for after reboot
	Boot string    `json:"boot,omitzero"` // after reboot: the boot it must not be any more
}

// Exception is a dated decision of a person to leave a threat open.
type Exception struct {
	Owner  string    `json:"owner"`
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"`
	// Exe is the SHA-256 of the executable when it was decided: a changed one
	// ends the exception. "" does not compare.
	Exe string `json:"exe,omitempty"`
}

// HoldOff is a dated pause of what the agent would do by itself.
type HoldOff struct {
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Until  time.Time `json:"until"`
}
