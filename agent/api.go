package agent

import (
	"time"

	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// State is the one-word answer to "is this computer all right?".
type State string

// The states a host can be in, as status tells them.
const (
	StateOK        State = "ok"
	StateAttention State = "attention" // threats are open
	StateIsolated  State = "isolated"
	StateUnsure    State = "unsure" // something could not be read or done
)

// Status is the host at one glance.
type Status struct {
	State     State                    `json:"state"`
	Host      string                   `json:"host"`
	Mode      configs.Mode             `json:"mode"`
	Isolated  bool                     `json:"isolated"`
	Isolation *IsolationStatus         `json:"isolation"`
	Paused    *journal.Pause           `json:"paused"`
	Open      map[configs.Severity]int `json:"open"`
	Threats   []threat.Threat          `json:"threats"` // the open ones, worst first
	Blocked   []platform.PortRule      `json:"blocked"` // ports shut at the firewall now
	Wall      *platform.Wall           `json:"wall"`    // nil: the host may be connected to
	Flags     []platform.Flag          `json:"flags"`
	Policy    PolicyStatus             `json:"policy"`
	LastLook  time.Time                `json:"last_look"`
	Gaps      []platform.Gap           `json:"gaps"`
	Troubles  []string                 `json:"troubles"` // what the agent itself cannot do now, one sentence each
	Agent     SelfStatus               `json:"agent"`
	Contact   configs.Contact          `json:"contact"`
	Next      string                   `json:"next"`
}

// IsolationStatus says how and why the host is cut off.
type IsolationStatus struct {
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"` // ends by itself; by the clock as it is now
	Reason string    `json:"reason"`
	By     string    `json:"by"`     // the person, or the plan
	Threat string    `json:"threat"` // its ID, or "" for a person's
	Proved bool      `json:"proved"`
	Detail string    `json:"detail"` // what was proved, or why it is not
	Keep   []string  `json:"keep"`   // what still works

	// State says how well it holds, and Reasons why not better, one sentence
	// each; "" until it was tried for the first time.
	State   IsolationState `json:"state"`
	Reasons []string       `json:"reasons"`
	Left    time.Duration  `json:"-"`      // until it ends by itself
	Lease   time.Duration  `json:"lease"`  // after how long the kernel ends it if the agent stops
	Closed  bool           `json:"closed"` // it then stays shut until Until
	Ended   int            `json:"ended"`  // connections that were ended
	Told    []string       `json:"told"`   // users who were told
}

// IsolationState is how well an isolation holds.
type IsolationState string

// The states of an isolation.
const (
	IsolationFull     IsolationState = "full"     // proved, in every way there is
	IsolationDegraded IsolationState = "degraded" // proved, and this system lacks a part of it
	IsolationFailed   IsolationState = "failed"   // tried, and not cut off as it should be
)

// PolicyStatus says which policy is in force.
type PolicyStatus struct {
	Version  string       `json:"version"` // "workstations r41"
	Name     string       `json:"name"`
	Revision int          `json:"revision"`
	Mode     configs.Mode `json:"mode"`
	Source   string       `json:"source"`
	SignedBy string       `json:"signed_by"`
	Valid    bool         `json:"valid"` // false: a newer file was refused, the last good one stays
	Error    string       `json:"error"` // why it was refused
	// Text is the file in force as it is written, comments and all.
	Text string `json:"-"`
}

// SelfStatus is what the agent itself costs.
type SelfStatus struct {
	Version    string    `json:"version"`
	Started    time.Time `json:"started"`
	RSSBytes   uint64    `json:"rss_bytes"`
	CPUSeconds float64   `json:"cpu_seconds"`
}

// Order is what a person asks of the agent.
type Order struct {
	Verb   Verb          `json:"verb"`
	Threat string        `json:"threat"`
	Reason string        `json:"reason"`
	For    time.Duration `json:"for"`   // isolate, pause
	Until  time.Time     `json:"until"` // except, undo
	Force  bool          `json:"force"` // release
	CutMe  bool          `json:"cut_me"`
	// Keep lets an undo be done although somebody changed what it would put back:
	// that stays as it is now.
	Keep   bool   `json:"keep"`
	DryRun bool   `json:"dry_run"`
	NoWait bool   `json:"no_wait"`
	By     string `json:"-"`      // who asks: "jd (uid 1000)"; set by the local API from the peer's credentials
	Remote string `json:"remote"` // the address the asking person's own session comes from, or ""
}

// Verb is one thing a person can ask.
type Verb string

// The verbs.
const (
	Isolate Verb = "isolate"
	Release Verb = "release"
	Approve Verb = "approve"
	Except  Verb = "except"
	Undo    Verb = "undo"
	Recheck Verb = "recheck"
	PauseIt Verb = "pause"
	Resume  Verb = "resume"
)

// Reply is what became of an order.
type Reply struct {
	Text  string   `json:"text"`  // one sentence, or a few lines for a dry run
	Done  bool     `json:"done"`  // the order was carried out and proved
	Lines []string `json:"lines"` // what was or would be done
	// Changed says that something was left alone because somebody changed it in
	// between, and that the same order with Keep would leave it so for good.
	Changed bool           `json:"changed"`
	Threat  *threat.Threat `json:"threat"`
	Status  *Status        `json:"status"`

	refused *RefusedError // it turned out that the order must not be carried out
}

// RefusedError says why an order was not carried out, in words for the person
// who gave it.
type RefusedError struct {
	Reason string
	// CutsOff says that it would cut the asking person's own session, and that
	// the same order with CutMe would be carried out.
	CutsOff bool
}

func (e *RefusedError) Error() string { return e.Reason }
