package localapi

import (
	"time"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// Check is the answer to `firebreak check --json`. The types of this file are
// of commands that need no agent; they are here because all of the JSON is one
// contract.
type Check struct {
	Schema  int                      `json:"schema"`
	Host    string                   `json:"host"`
	Taken   *time.Time               `json:"taken"`
	Mode    configs.Mode             `json:"mode"`
	Policy  Policy                   `json:"policy"`
	Open    map[configs.Severity]int `json:"open"`    // always all four severities
	Threats []Threat                 `json:"threats"` // worst first
	Ports   PortCount                `json:"ports"`
	Allowed []Allowed                `json:"allowed"` // what was looked at and is no threat
	Plan    []Step                   `json:"plan"`    // what policy would do, in order
	Gaps    []Gap                    `json:"gaps"`
}

// PortCount counts open ports by what they are; Open is the sum of the others.
type PortCount struct {
	Open     int `json:"open"`
	Threats  int `json:"threats"`
	Usual    int `json:"usual"`    // reachable, and allowed by a rule
	Loopback int `json:"loopback"` // only from this computer
}

// Allowed is a subject that was looked at and is no threat.
type Allowed struct {
	Detector string  `json:"detector"`
	Subject  Subject `json:"subject"`
	Summary  *string `json:"summary"`
	Because  *string `json:"because"`
}

// Step is one action that policy wants for one threat.
type Step struct {
	Threat   string  `json:"threat"`
	Action   string  `json:"action"`
	Kind     string  `json:"kind"` // mitigation | remediation
	Because  *string `json:"because"`
	Enforced bool    `json:"enforced"` // false: only shown
	WaitsFor *string `json:"waits_for"`
	Why      *string `json:"why"`
	// Steps are what it does, Costs what the user loses by it, and Refused is why
	// it must not be done here, as far as that was worked out.
	Steps   []string `json:"steps"`
	Costs   []string `json:"costs"`
	Refused *string  `json:"refused"`
}

// Doctor is the answer to `firebreak doctor --json`.
type Doctor struct {
	Schema int           `json:"schema"`
	Host   string        `json:"host"`
	Checks []DoctorCheck `json:"checks"`
}

// DoctorCheck is one thing the agent can or cannot do here.
type DoctorCheck struct {
	Name   string  `json:"name"`
	Result Ability `json:"result"`
	Detail *string `json:"detail"`
	Hint   *string `json:"hint"` // what would help
}

// Ability says whether the agent can do something on this host.
type Ability string

// The abilities.
const (
	Works        Ability = "works"
	DoesNot      Ability = "does-not"
	CouldNotTell Ability = "could-not-tell"
)

// PolicyCheck is the answer to `firebreak policy check FILE --json`.
type PolicyCheck struct {
	Schema   int             `json:"schema"`
	File     string          `json:"file"`
	Valid    bool            `json:"valid"`
	Version  *string         `json:"version"`
	Problems []PolicyProblem `json:"problems"`
	Warnings []string        `json:"warnings"` // what is valid, and widens what gets in or out
	// WouldShut are the open ports of this host that it would shut now.
	WouldShut []PortJudgement `json:"would_shut"`
	// Preempts are the ports that it shuts before anything listens there, each with
	// who listens there now.
	Preempts []string `json:"preempts"`
	Gaps     []Gap    `json:"gaps"`
}

// PolicyProblem is one mistake in a policy file.
type PolicyProblem struct {
	File       string  `json:"file"`
	Line       int     `json:"line"`
	Column     int     `json:"column"`
	Problem    string  `json:"problem"`
	Suggestion *string `json:"suggestion"`
}

// PortVerdict is the answer to `firebreak policy explain --port N --json`.
type PortVerdict struct {
	Schema    int            `json:"schema"`
	Port      uint16         `json:"port"`
	Protocols []PortProtocol `json:"protocols"`
}

// PortProtocol is what policy says of a port of one protocol.
type PortProtocol struct {
	Protocol  platform.Protocol `json:"protocol"`
	Listeners []PortJudgement   `json:"listeners"` // what listens there now
	// Otherwise is what an unknown program that any network could reach there
	// would be.
	Otherwise PortJudgement `json:"otherwise"`
	// Preempt are the rules that shut it whether or not anything listens.
	Preempt   []string `json:"preempt"`
	Protected *string  `json:"protected"` // why it is protected; null if it is not
}

// PortJudgement is what policy says of one listener.
type PortJudgement struct {
	Subject  Subject           `json:"subject"`
	Threat   bool              `json:"threat"`
	Severity *configs.Severity `json:"severity"`
	Plan     *string           `json:"plan"`
	Because  *string           `json:"because"`
	// Owner tells who opened it and what starts that, who can reach it and through
	// what, one sentence each; null where that is not told.
	Owner []string `json:"owner"`
}

// ServiceReply is the answer to `firebreak install --json`, and to uninstall,
// start, stop and restart.
type ServiceReply struct {
	Schema int      `json:"schema"`
	Done   string   `json:"done"` // installed | uninstalled | running | stopped
	Lines  []string `json:"lines"`
}

// Version is the answer to `firebreak version --json`.
type Version struct {
	Schema  int    `json:"schema"`
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// Evidence is the answer to `firebreak evidence ID --json`.
type Evidence struct {
	Schema  int      `json:"schema"`
	Threat  string   `json:"threat"`
	Bundles []Bundle `json:"bundles"`
}

// Bundle is one bundle of evidence.
type Bundle struct {
	Name    string     `json:"name"`
	Path    string     `json:"path"`
	Bytes   int64      `json:"bytes"`
	Written *time.Time `json:"written"`
	Intact  bool       `json:"intact"` // as it was written
}

// BundleReply is the answer to `firebreak doctor --bundle FILE --json`.
type BundleReply struct {
	Schema   int      `json:"schema"`
	File     string   `json:"file"`
	Contents []string `json:"contents"`
}

// Failure is what every command prints with --json when it could not do what
// was asked.
type Failure struct {
	Schema int   `json:"schema"`
	Error  Error `json:"error"`
}
