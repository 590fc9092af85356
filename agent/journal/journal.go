// Package journal is the durable record: intents before acts, results after
// them, and the threats and decisions that must outlive the agent.
package journal

import (
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

// Intent is an act that is about to happen, written down and synced to disk
// before it does.
type Intent struct {
	Seq     uint64           `json:"seq"`
	At      time.Time        `json:"at"`
	Threat  string           `json:"threat"`
	Action  string           `json:"action"`
	Kind    string           `json:"kind"` // mitigation | remediation | undo
	By      string           `json:"by"`
	Because string           `json:"because"`
	Subject platform.Subject `json:"subject"`
	Steps   []string         `json:"steps"`
	Inverse json.RawMessage  `json:"inverse"` // the state before, as the action's Undo needs it
	// Final says that undoing it puts nothing back.
	Final bool `json:"final,omitempty"`
	// Of is the intent that this one takes back, of kind undo; else 0.
	Of uint64 `json:"of,omitempty"`
	// Until is, of an undo, when its threat is acted on again.
	Until time.Time `json:"until,omitzero"`
	// Open is true until a result is recorded. An open intent at start-up is an
	// act that a crash may have cut short.
	Open bool `json:"open"`
	// Undone is true once the inverse was carried out.
	Undone bool `json:"undone"`
}

// Entry is one line of the history.
type Entry struct {
	Seq    uint64    `json:"seq"`
	At     time.Time `json:"at"`
	Kind   string    `json:"kind"` // found | intent | result | verdict | stage | order | policy | agent
	Threat string    `json:"threat"`
	Action string    `json:"action"`
	By     string    `json:"by"`   // "agent", "policy", or the person: "jd (uid 1000)"
	Text   string    `json:"text"` // one sentence
}

// State is what the agent must remember beside threats.
type State struct {
	// Isolation is the isolation a person asked for; nil if none.
	Isolation *Isolation `json:"isolation"`
	// IsolationHoldOff is set after isolation was taken back, so that an open
	// threat does not isolate again at once.
	IsolationHoldOff *threat.HoldOff `json:"isolation_hold_off"`
	// Pause is set while blocks are lifted; zero: not paused.
	Pause *Pause `json:"pause"`
	// Disruptive are the times of the disruptive actions of the last hour.
	Disruptive []time.Time `json:"disruptive"`
	// Boot is the boot the agent last ran in.
	Boot string `json:"boot"`
	// Policy is the last good policy file, whole, so that a bad file or a lost
	// one never leaves the agent without.
	Policy []byte `json:"policy"`
	// Restrictions is the last state that was put in force: what a start without
	// a readable policy keeps in force.
	Restrictions platform.Restrictions `json:"restrictions"`
	// Denied are the ports that no program was to open, as they were in force last.
	Denied []platform.BindRule `json:"denied,omitempty"`
	// Addresses are those of the names that stay reachable in isolation, as last
	// looked up: an isolated host may not be able to look them up again.
	Addresses map[string][]netip.Addr `json:"addresses,omitempty"`
	// Isolated is the isolation in force, and how well it holds.
	Isolated IsolationProof `json:"isolated"`
	// Counted is up to when what is spent of isolations was counted.
	Counted Counted `json:"counted,omitzero"`
}

// Isolation is an isolation that a person asked for.
type Isolation struct {
	Reason string        `json:"reason"`
	By     string        `json:"by"`
	Since  time.Time     `json:"since"`
	For    time.Duration `json:"for"`   // how long it may last
	Spent  time.Duration `json:"spent"` // of it, sleep included
}

// IsolationProof is the isolation in force, and its last proof.
type IsolationProof struct {
	Since time.Time     `json:"since,omitzero"`
	Spent time.Duration `json:"spent,omitempty"` // of the longest that policy allows, sleep included
	// Plan is true while policy wants it, whatever a person asked for.
	Plan bool `json:"plan,omitempty"`
	// Ended is how many connections were ended, Told who was told of it.
	Ended int      `json:"ended,omitempty"`
	Told  []string `json:"told,omitempty"`

	At     time.Time `json:"at,omitzero"`
	Proved bool      `json:"proved"`
	Detail string    `json:"detail"`
	// State is full, degraded or failed, and Reasons why not better; "" until it
	// was tried for the first time.
	State   string   `json:"state,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
}

// Counted is an instant, told by the boot it is in rather than by a clock that
// can be set.
type Counted struct {
	Boot   string        `json:"boot"`
	Uptime time.Duration `json:"uptime"` // since that boot, sleep included
	At     time.Time     `json:"at"`     // for the time that the computer is off
}

// Pause is a time in which blocks are lifted.
type Pause struct {
	By    string    `json:"by"`
	Until time.Time `json:"until"`
}

// Batch is what is recorded in one durable step: all of it, or none.
type Batch struct {
	Threats  []threat.Threat // replaced by ID
	State    *State          // nil: unchanged
	Entries  []Entry         // appended to the history; Seq is given by the journal
	Finished []uint64        // intents that have their result now
	Undone   []uint64        // intents whose inverse was carried out
}

// Contents is all that a journal holds, but for the history.
type Contents struct {
	Threats []threat.Threat
	State   State
	Intents []Intent // those that are open, and those that can still be undone
}

// Limits bound what is kept; zero is no bound. A bound may be passed by a tenth,
// so that an agent at the bound does not write for every line it adds.
type Limits struct {
	HistoryEntries int           // oldest go first
	HistoryAge     time.Duration // older entries go
	ResolvedAge    time.Duration // threats resolved longer ago than this go
}

// DefaultLimits keep a year of history, of at most some 16 MB.
func DefaultLimits() Limits {
	return Limits{HistoryEntries: 50_000, HistoryAge: 400 * 24 * time.Hour, ResolvedAge: 180 * 24 * time.Hour}
}

var (
	// ErrNewer says that the journal was written by a newer agent.
	ErrNewer = errors.New("the journal was written by a newer agent")
	// ErrInUse says that another agent has the journal open.
	ErrInUse = errors.New("another agent is running")
	// ErrCannotWrite says that the disk takes nothing now. What was recorded
	// before stays, and writing works again as soon as the disk does.
	ErrCannotWrite = errors.New("the journal cannot be written")
	// ErrDamaged says that the journal was damaged, or taken away, while it was
	// open. It is of no more use: close it and open it again, which saves what
	// can be saved.
	ErrDamaged = errors.New("the journal is damaged")
)
