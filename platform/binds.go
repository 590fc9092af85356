package platform

import (
	"context"
	"slices"
	"time"
)

// BindRule is a span of ports that no program of this host may open, in the
// agent's own network namespace, but for those that are excepted.
type BindRule struct {
	PortRule
	Except []BindException `json:"except"`
}

// BindException names programs that may open the ports of a rule all the same.
// All fields that are given must match.
type BindException struct {
	Exe  string `json:"exe"`  // path of the executable
	User string `json:"user"` // name of the account
	Unit string `json:"unit"` // service, with its suffix
}

// BindAttempt is one program that was kept from opening a port.
type BindAttempt struct {
	At       time.Time `json:"at"`
	Protocol Protocol  `json:"protocol"`
	Port     uint16    `json:"port"`
	PID      int       `json:"pid"`
	Process  string    `json:"process"` // comm
	Exe      string    `json:"exe"`     // "" if it was gone before it could be read
	User     string    `json:"user"`
	Unit     string    `json:"unit"`
	Times    int       `json:"times"` // how often since it was last told of
}

// Binds keeps programs from opening ports. What is in force outlives the agent.
type Binds interface {
	// Deny brings the rules in force to exactly these; none takes away all that
	// was ever put in force. ErrUnsupported says that this kernel cannot.
	Deny(ctx context.Context, rules []BindRule) error
	// Denied reads back what is in force.
	Denied(ctx context.Context) ([]BindRule, error)
	// Attempts tells who was refused. It may merge attempts, counting them, and
	// is closed when ctx ends.
	Attempts(ctx context.Context) <-chan BindAttempt
}

// BindError says that the kernel cannot tell those apart who are excepted from a
// rule. Then nothing of the rules was put in force.
type BindError struct {
	Rule BindRule
	Why  error
}

func (e *BindError) Error() string {
	return "who may open " + PortList([]PortRule{e.Rule.PortRule}) + " all the same cannot be told in the kernel: " + e.Why.Error()
}

func (e *BindError) Unwrap() error { return e.Why }

// EqualBinds tells whether two lists of rules are the same, in the same order.
func EqualBinds(a, b []BindRule) bool {
	return slices.EqualFunc(a, b, func(x, y BindRule) bool {
		return x.PortRule == y.PortRule && slices.Equal(x.Except, y.Except)
	})
}
