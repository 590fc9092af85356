package localapi

import (
	"time"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// Schema is the version of the JSON that the command line prints and that this
// API speaks. Fields are added under the same number; it grows when one is
// renamed, removed or means something else.
const Schema = 1

// Status is the answer to `firebreak status --json`. In this and all types of
// this file what is absent is null, lists are never null unless said, and times
// are RFC 3339 in UTC.
type Status struct {
	Schema    int                      `json:"schema"`
	State     agent.State              `json:"state"`
	Host      string                   `json:"host"`
	Mode      configs.Mode             `json:"mode"`
	Isolated  bool                     `json:"isolated"`
	Isolation *Isolation               `json:"isolation"`
	Paused    *Pause                   `json:"paused"`
	Open      map[configs.Severity]int `json:"open"`    // always all four severities
	Threats   []Threat                 `json:"threats"` // the open ones, worst first
	Blocked   []Ports                  `json:"blocked"` // ports shut at the firewall now
	// Restricted says which way the host's network is shut but for who is kept:
	// "inbound", or "both". Null: neither.
	Restricted *string    `json:"restricted"`
	Flags      []Flag     `json:"flags"`
	Policy     Policy     `json:"policy"`
	LastLook   *time.Time `json:"last_look"`
	Gaps       []Gap      `json:"gaps"`
	Troubles   []string   `json:"troubles"` // what the agent itself cannot do now
	Agent      Self       `json:"agent"`
	Contact    *Contact   `json:"contact"`
	Next       *string    `json:"next"`
	// Redacted is true if the caller may not see paths, users and command lines.
	Redacted bool `json:"redacted"`
}

// Isolation says how and why the host is cut off.
type Isolation struct {
	Since  *time.Time `json:"since"`
	Until  *time.Time `json:"until"` // ends by itself
	Reason *string    `json:"reason"`
	By     *string    `json:"by"`     // the person, or the plan
	Threat *string    `json:"threat"` // null for a person's
	Proved bool       `json:"proved"`
	Detail *string    `json:"detail"`
	Keep   []string   `json:"keep"` // what still works
	// State says how well it holds; null until it was tried. Reasons say why it
	// is degraded or failed.
	State        *agent.IsolationState `json:"state"`
	Reasons      []string              `json:"reasons"`
	LeaseSeconds int64                 `json:"lease_seconds"`     // the kernel ends it so long after the agent stops; 0: never
	Closed       bool                  `json:"closed"`            // it does not: the host stays shut until it ends
	Ended        int                   `json:"ended_connections"` // connections that were ended
	Told         []string              `json:"told"`              // users who were told
}

// Pause is a time in which blocks are lifted.
type Pause struct {
	By    *string    `json:"by"`
	Until *time.Time `json:"until"`
}

// Ports is a span of ports of one protocol.
type Ports struct {
	Protocol platform.Protocol `json:"protocol"`
	First    uint16            `json:"first"`
	Last     uint16            `json:"last"`
}

// Flag is a note that something is left for a person to do.
type Flag struct {
	Name   string     `json:"name"`
	Threat *string    `json:"threat"`
	Text   *string    `json:"text"`
	To     *string    `json:"to"`
	By     *time.Time `json:"by"`
	Set    *time.Time `json:"set"`
	Told   []string   `json:"told"` // users who were told
}

// Policy says which policy is in force and whence it came.
type Policy struct {
	Version  *string      `json:"version"` // "workstations r41"
	Name     *string      `json:"name"`
	Revision int          `json:"revision"`
	Mode     configs.Mode `json:"mode"`
	Source   *string      `json:"source"`
	SignedBy *string      `json:"signed_by"`
	Valid    bool         `json:"valid"` // false: a newer file was refused
	Error    *string      `json:"error"` // why it was refused
}

// Gap is a part of the host that could not be read, or not wholly.
type Gap struct {
	Part    platform.Part `json:"part"`
	Reason  *string       `json:"reason"`
	Partial bool          `json:"partial"`
}

// Self is what the agent itself costs.
type Self struct {
	Version    *string    `json:"version"`
	Started    *time.Time `json:"started"`
	RSSBytes   uint64     `json:"rss_bytes"`
	CPUSeconds float64    `json:"cpu_seconds"`
}

// Contact is who helps.
type Contact struct {
	Phone *string `json:"phone"`
	Text  *string `json:"text"`
}

// Threat is one threat, as every command shows it.
type Threat struct {
	ID          string           `json:"id"`
	Detector    string           `json:"detector"`
	Subject     Subject          `json:"subject"`
	Severity    configs.Severity `json:"severity"`
	Stage       threat.Stage     `json:"stage"`
	WaitingFor  *threat.Wait     `json:"waiting_for"`
	InForce     []string         `json:"in_force"` // mitigations now
	Summary     *string          `json:"summary"`
	Next        *string          `json:"next"` // who does what next
	FirstSeen   *time.Time       `json:"first_seen"`
	LastSeen    *time.Time       `json:"last_seen"`
	ResolvedAt  *time.Time       `json:"resolved_at"`
	Recurrences int              `json:"recurrences"`
	Flaps       int              `json:"flaps"`       // how often it closed and opened again since
	FlapsSince  *time.Time       `json:"flaps_since"` // null if it did not
	Actions     []Act            `json:"actions"`
	Verdict     *detect.Verdict  `json:"verdict"`
	Proofs      []Proof          `json:"proofs"`
	Looks       []Look           `json:"looks"`    // validations still to come
	Evidence    []string         `json:"evidence"` // names of bundles; null if none was kept
	Plan        *string          `json:"plan"`
	Because     *string          `json:"because"` // the rule that made it a threat
	Attempts    int              `json:"attempts"`
	Approved    *string          `json:"approved_by"`
	Exception   *Exception       `json:"exception"`
	HoldOff     *HoldOff         `json:"hold_off"`
}

// Act is one action carried out for a threat.
type Act struct {
	Seq      uint64       `json:"seq"` // of its intent in the journal
	Name     string       `json:"name"`
	Kind     string       `json:"kind"` // mitigation | remediation
	At       *time.Time   `json:"at"`
	By       *string      `json:"by"`
	Result   ActionResult `json:"result"`
	Detail   *string      `json:"detail"`
	Undoable bool         `json:"undoable"`
	Costs    []string     `json:"costs"` // what the user loses by it
}

// ActionResult is done, failed, cannot, lifted, undone or pending. Lifted is a
// mitigation that is no longer needed.
type ActionResult string

// Proof is one look that was taken to see whether a threat is gone.
type Proof struct {
	At      *time.Time     `json:"at"`
	Look    string         `json:"look"`
	How     string         `json:"how"` // snapshot | probe
	Verdict detect.Verdict `json:"verdict"`
	Detail  *string        `json:"detail"`
}

// Look is a validation that is still to come.
type Look struct {
	Name string     `json:"name"`
	Due  *time.Time `json:"due"` // null for the one after a reboot
}

// Exception is a dated decision to leave a threat open.
type Exception struct {
	Owner  *string    `json:"owner"`
	Reason *string    `json:"reason"`
	Until  *time.Time `json:"until"`
}

// HoldOff is a dated pause of what the agent would do by itself.
type HoldOff struct {
	Reason *string    `json:"reason"`
	By     *string    `json:"by"`
	Until  *time.Time `json:"until"`
}

// Threats is the answer to `firebreak threats --json`.
type Threats struct {
	Schema   int      `json:"schema"`
	Threats  []Threat `json:"threats"`
	Redacted bool     `json:"redacted"`
}

// Explained is the answer to `firebreak explain ID --json`.
type Explained struct {
	Schema int    `json:"schema"`
	Threat Threat `json:"threat"`
	// Owner says of an open port who holds it now, what starts that, and who can
	// reach it through what: a sentence each. Empty for other threats.
	Owner    []string `json:"owner"`
	Redacted bool     `json:"redacted"`
}

// Entry is one line of `firebreak history --json`.
type Entry struct {
	Schema int        `json:"schema"`
	Seq    uint64     `json:"seq"`
	At     *time.Time `json:"at"`
	Kind   string     `json:"kind"`
	Threat *string    `json:"threat"`
	Action *string    `json:"action"`
	By     *string    `json:"by"`
	Text   *string    `json:"text"`
}

// Entries is one page of the history.
type Entries struct {
	Schema  int     `json:"schema"`
	Entries []Entry `json:"entries"`
}

// PolicyInForce is the answer to `firebreak policy show --json`.
type PolicyInForce struct {
	Schema int    `json:"schema"`
	Policy Policy `json:"policy"`
	YAML   string `json:"yaml"` // the file in force as it is written
}

// Reply is what became of an order, as `isolate --json` and its like print it.
type Reply struct {
	Schema int      `json:"schema"`
	Verb   string   `json:"verb"`
	Text   *string  `json:"text"`
	Done   bool     `json:"done"` // carried out and proved
	Lines  []string `json:"lines"`
	// Changed says that something was left alone because somebody changed it in
	// between; the same order with keep leaves it so for good.
	Changed bool    `json:"changed"`
	Threat  *Threat `json:"threat"`
	Status  *Status `json:"status"`
}

// Order is what a person asks of the agent.
type Order struct {
	Threat string     `json:"threat,omitempty"`
	Reason string     `json:"reason,omitempty"`
	For    string     `json:"for,omitempty"` // "4h", "90m", "2d"
	Until  *time.Time `json:"until,omitempty"`
	Force  bool       `json:"force,omitempty"`
	CutMe  bool       `json:"cut_me,omitempty"`
	Keep   bool       `json:"keep,omitempty"` // undo: what somebody changed in between stays as it is now
	DryRun bool       `json:"dry_run,omitempty"`
	NoWait bool       `json:"no_wait,omitempty"`
}
