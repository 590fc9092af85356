// Package configs holds the files an operator edits, their JSON Schema, the
// embedded defaults, and the table of operating system lifecycles.
package configs

import (
	"slices"
	"time"
)

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

// Policy is the administrator's file: what is a threat here, and which plan
// answers it. DESIGN calls its YAML form version firebreak/v1.
type Policy struct {
	Version   string          `yaml:"version"`
	Name      string          `yaml:"name"`
	Revision  int             `yaml:"revision"`
	Mode      Mode            `yaml:"mode"`
	Contact   Contact         `yaml:"contact"`
	Ports     Ports           `yaml:"ports"`
	OS        OSRules         `yaml:"os"`
	Updates   UpdateRules     `yaml:"updates"`
	Plans     map[string]Plan `yaml:"plans"`
	Isolation IsolationRules  `yaml:"isolation"`
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
// names is judged by Default.
type Ports struct {
	Default PortDefault `yaml:"default"`
	Allow   []PortRule  `yaml:"allow"`
	Deny    []PortRule  `yaml:"deny"`
}

// PortDefault judges reachable listeners that no rule names.
type PortDefault struct {
	Severity Severity `yaml:"severity"`
	Plan     string   `yaml:"plan"` // "" reports only
}

// PortRule names listeners. All fields that are given must match; what is not
// given matches everything but loopback listeners, which only a rule with
// Reach loopback matches.
type PortRule struct {
	Ports      PortSet  `yaml:"port"`     // none: every port
	Protocol   string   `yaml:"protocol"` // tcp | udp; "" is both
	Process    string   `yaml:"process"`  // path of the executable
	User       string   `yaml:"user"`
	Unit       string   `yaml:"unit"`
	Reach      string   `yaml:"reach"`      // loopback | lan | any. In allow: at most this wide; in deny: at least this wide
	Namespaces string   `yaml:"namespaces"` // "" is the host's own and published ports; all: containers too
	OS         string   `yaml:"os"`         // linux | windows; "" is both
	Severity   Severity `yaml:"severity"`   // deny only; "" is high
	Plan       string   `yaml:"plan"`       // deny only; "" reports only
	Preempt    string   `yaml:"preempt"`    // deny only: block | bind
	Protected  string   `yaml:"protected"`  // deny only: override, for a rule of one single port
	Line       int      `yaml:"-"`          // line of the policy file where the rule begins
}

// PortSet is a set of ports: a number, a span "5900-5999", or a list of both.
type PortSet []PortSpan

// PortSpan is the ports First to Last, both included.
type PortSpan struct{ First, Last uint16 }

// Has tells whether the set holds port. The empty set holds every port.
func (s PortSet) Has(port uint16) bool {
	if len(s) == 0 {
		return true
	}
	return slices.ContainsFunc(s, func(p PortSpan) bool { return p.First <= port && port <= p.Last })
}

// Single tells whether the set is one single number.
func (s PortSet) Single() bool { return len(s) == 1 && s[0].First == s[0].Last }

// OSRules say when the operating system counts as outdated.
type OSRules struct {
	WarnBefore Duration `yaml:"warnBefore"` // end of support this near is a threat, low
	Extended   string   `yaml:"extended"`   // auto | none | lts | esm | esu
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
	Evidence  bool     `yaml:"evidence"` // keep evidence before the first act
	Mode      Mode     `yaml:"mode"`     // "" is the policy's; may only weaken it
	Approve   string   `yaml:"approve"`  // none | remediate | all; "" is none
	Window    string   `yaml:"window"`   // "22:00-05:00", the host's local time; "" is always
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
	Keep       []string `yaml:"keep"`
	Lease      Duration `yaml:"lease"`
	Max        Duration `yaml:"max"`
	OnLeaseEnd string   `yaml:"onLeaseEnd"` // open | closed
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
	Protocol string  `yaml:"protocol"`
	Process  string  `yaml:"process"`
	Detector string  `yaml:"detector"` // open-port if a port is given
	Owner    string  `yaml:"owner"`
	Reason   string  `yaml:"reason"`
	Until    Date    `yaml:"until"`
	Line     int     `yaml:"-"`
}

// Duration is a time.Duration that is written 90s, 15m, 4h or 7d.
type Duration time.Duration

// Date is a day, written 2027-03-31. The zero Date is none.
type Date struct{ time.Time }

// Source says whence a policy came.
type Source struct {
	Path string `json:"path"` // "" is the embedded default
	// SignedBy names who signed it; "" is nobody, a local file.
	SignedBy string `json:"signed_by"`
	// Hash is the SHA-256 of the file, lower-case hex.
	Hash string `json:"hash"`
}
