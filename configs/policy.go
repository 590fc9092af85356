// Package configs holds the files an operator edits, their JSON Schema, the
// embedded defaults, and the table of operating system lifecycles.
package configs

import "slices"

// Mode says whether the agent acts.
type Mode string

// The modes, the weaker first.
const (
	Audit   Mode = "audit"   // look, decide, show the plan; change nothing
	Enforce Mode = "enforce" // carry the plan out
)

// Severity is how bad a threat is.
type Severity string

// The severities, from least to most.
const (
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

// Severities lists all severities from least to most.
var Severities = []Severity{Low, Medium, High, Critical}

// AtLeast tells whether s is as bad as other or worse.
func (s Severity) AtLeast(other Severity) bool {
	return slices.Index(Severities, s) >= slices.Index(Severities, other)
}

// Version is the only version of the policy's YAML form that there is.
const Version = "firebreak/v1"

// Policy is the administrator's file: what is a threat here, and which plan
// answers it. The tag oneof lists the only values a field may have; what a file
// leaves out has the value that unset gives it.
type Policy struct {
	Version   string          `yaml:"version" oneof:"firebreak/v1"`
	Name      string          `yaml:"name"`
	Revision  int             `yaml:"revision"`
	Mode      Mode            `yaml:"mode" oneof:"audit|enforce"`
	Contact   Contact         `yaml:"contact"`
	Ports     Ports           `yaml:"ports"`
	OS        OSRules         `yaml:"os"`
	Updates   UpdateRules     `yaml:"updates"`
	Plans     map[string]Plan `yaml:"plans"`
	Isolation IsolationRules  `yaml:"isolation"`
	Restrict  RestrictRules   `yaml:"restrict"`
	Limits    Limits          `yaml:"limits"`
	Protect   Protect         `yaml:"protect"`
	Except    []Exception     `yaml:"except"`
}

// Contact is who helps, shown to the user before and while he is cut off.
type Contact struct {
	Phone string `yaml:"phone" json:"phone"`
	Text  string `yaml:"text" json:"text"`
}

// Ports are the rules about open ports. Allow beats deny, and what neither
// names is judged by Default. Of several deny rules the most severe counts, so
// that the order of a file weakens nothing; of equally severe ones the first
// that names a plan.
type Ports struct {
	Default PortDefault `yaml:"default"`
	Allow   []PortRule  `yaml:"allow"`
	Deny    []PortRule  `yaml:"deny"`
}

// PortDefault judges reachable listeners that no rule names.
type PortDefault struct {
	Severity Severity `yaml:"severity" oneof:"low|medium|high|critical"` // low unless given
	Plan     string   `yaml:"plan"`                                      // "" reports only
}

// PortRule names listeners. All fields that are given must match; what is not
// given matches everything but loopback listeners, which only a rule with
// Reach loopback matches.
type PortRule struct {
	Ports      PortSet  `yaml:"port"`                                      // none: every port
	Protocol   string   `yaml:"protocol" oneof:"tcp|udp"`                  // "" is both
	Process    string   `yaml:"process"`                                   // path of the executable
	User       string   `yaml:"user"`                                      // name of the account
	Unit       string   `yaml:"unit"`                                      // with or without ".service"
	Reach      string   `yaml:"reach" oneof:"loopback|lan|any"`            // in allow: at most this wide; in deny: at least this wide
	Namespaces string   `yaml:"namespaces" oneof:"all"`                    // "" is the host's own and published ports; all: containers too
	OS         string   `yaml:"os" oneof:"linux|windows"`                  // "" is both
	Severity   Severity `yaml:"severity" oneof:"low|medium|high|critical"` // deny only; high unless given
	Plan       string   `yaml:"plan"`                                      // deny only; "" reports only
	Preempt    string   `yaml:"preempt" oneof:"block|bind"`                // deny only; "" waits for a listener
	Protected  string   `yaml:"protected" oneof:"override"`                // deny only, for a rule of one single port
	Line       int      `yaml:"-"`                                         // line of the policy file where the rule begins
}

// OSRules say when the operating system counts as outdated.
type OSRules struct {
	WarnBefore Duration `yaml:"warnBefore"`                             // end of support this near is a threat, low
	Extended   string   `yaml:"extended" oneof:"auto|none|lts|esm|esu"` // auto: what is found on the host
	Plan       string   `yaml:"plan"`
}

// UpdateRules say how long a missing update may wait.
type UpdateRules struct {
	Security    Duration `yaml:"security"`
	KEV         Duration `yaml:"kev"`
	ListsMaxAge Duration `yaml:"listsMaxAge"`
	Plan        string   `yaml:"plan"`
}

// Plan is the answer to a threat: which actions, when, and who must agree.
type Plan struct {
	Mitigate  []string `yaml:"mitigate"`
	Remediate []string `yaml:"remediate"`
	Evidence  bool     `yaml:"evidence"`                           // keep evidence before the first act
	Mode      Mode     `yaml:"mode" oneof:"audit|enforce"`         // "" is the policy's; may only weaken it
	Approve   string   `yaml:"approve" oneof:"none|remediate|all"` // "" is none
	Shared    string   `yaml:"shared" oneof:"keep|stop"`           // of an owner that serves allowed ports too; "" is keep
	Window    string   `yaml:"window"`                             // "22:00-05:00", the host's local time; "" is always
	Escalate  Escalate `yaml:"escalate"`
	On        string   `yaml:"on"`    // the plan this one takes over from ...
	Times     int      `yaml:"times"` // ... when its threat comes back for this many times
	Line      int      `yaml:"-"`
}

// Escalate strengthens a plan when its threat has been open for too long.
type Escalate struct {
	After    Duration `yaml:"after"` // counted from first_seen; 0: never
	Mitigate []string `yaml:"mitigate"`
}

// IsolationRules say what an isolated host may still reach.
type IsolationRules struct {
	Keep       []string `yaml:"keep"` // as ParseKeep reads them
	Lease      Duration `yaml:"lease"`
	Max        Duration `yaml:"max"`
	OnLeaseEnd string   `yaml:"onLeaseEnd" oneof:"open|closed"`
}

// RestrictRules say what a restricted host may do that nobody may connect to but
// who is in isolation.keep.
type RestrictRules struct {
	Outbound string `yaml:"outbound" oneof:"any|keep"` // whom it may connect to itself
}

// Limits are the circuit breaker.
type Limits struct {
	DisruptivePerHour int `yaml:"disruptivePerHour"`
}

// Protect names what is never acted on, in addition to the built-in list.
type Protect struct {
	Ports     PortSet  `yaml:"ports"`
	Units     []string `yaml:"units"`
	Processes []string `yaml:"processes"` // paths of executables
}

// Exception is a dated decision of a person to leave a threat open.
type Exception struct {
	Ports    PortSet `yaml:"port"`
	Protocol string  `yaml:"protocol" oneof:"tcp|udp"`
	Process  string  `yaml:"process"`
	Detector string  `yaml:"detector"` // open-port unless given
	Owner    string  `yaml:"owner"`
	Reason   string  `yaml:"reason"`
	Until    Date    `yaml:"until"`
	Line     int     `yaml:"-"`
}

// Source says whence a policy came.
type Source struct {
	Path string `json:"path"` // "" is the embedded default
	// SignedBy names who signed it; "" is nobody, a local file.
	SignedBy string `json:"signed_by"`
	// Hash is the SHA-256 of the file, lower-case hex.
	Hash string `json:"hash"`
}
