// Package actions is what the agent can do about a threat. One file is one
// action, with everything that is known about it: what it does, what it costs,
// how it is proved, and how it is undone.
package actions

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
)

// Kind tells lessening the impact from eliminating the threat.
type Kind string

// The kinds of action.
const (
	Mitigation  Kind = "mitigation"  // the threat is still there
	Remediation Kind = "remediation" // the threat is eliminated
)

// Action changes the host on account of one threat, and takes the change back.
type Action struct {
	Name       string // as written in a policy, "close-port"
	Doc        string // first sentence is shown to the helpdesk
	Kind       Kind
	Disruptive bool // counts for the circuit breaker

	// Restrict is what a mitigation adds to the host's restrictions. The agent
	// derives the whole of them from all open threats and hands it to Do in
	// Order.Restrictions. Nil for an action that restricts no network. Pure.
	Restrict func(platform.Subject, Terms) platform.Restrictions

	// Preview says what Do would do, reading only. Its Inverse goes into the
	// journal before the act.
	Preview func(context.Context, *platform.Host, Order) (Preview, error)
	// Do is safe to repeat: done twice, it leaves the host as done once. It
	// returns ErrCannot if it cannot be done here, having changed nothing or
	// taken back what it changed.
	Do func(context.Context, *platform.Host, Order) (Result, error)
	// Verify asks the operating system whether the action's own effect is in
	// force. It does not decide whether the threat is gone: validation does.
	Verify func(context.Context, *platform.Host, Order) (Effect, error)
	// Undo puts back exactly what Preview recorded in Order.Inverse. Done twice
	// it changes nothing.
	Undo func(context.Context, *platform.Host, Order) error
}

// Order is one action about to be carried out for one threat.
type Order struct {
	Threat  string // its ID
	Subject platform.Subject
	Terms   Terms
	// Restrictions is the whole of what should be in force on the host when the
	// action is done (in Undo: when it is undone).
	Restrictions platform.Restrictions
	Inverse      json.RawMessage // what Preview recorded; in Undo and Verify
	// Earlier is what Preview of this action recorded for this threat before: what
	// comes back shows who starts it again.
	Earlier []json.RawMessage
	// Snapshot is the host as it was last seen: whom else the owner serves. Nil
	// if there is none.
	Snapshot *platform.Snapshot
	Now      time.Time
}

// Terms are what policy says about how actions are done.
type Terms struct {
	Isolation platform.Isolation // the isolation to use, names resolved
	WallShut  bool               // a restricted host connects to nobody but who is kept
	Protected Protected
	Logins    []platform.PortRule // ports at which people log in from afar
	StateDir  string              // where the agent keeps its state; "" is /var/lib/firebreak
	// Allows tells whether a rule of the policy allows a listener: an owner that
	// serves one as well is not closed on account of another port, unless Shared.
	// nil allows none.
	Allows  func(platform.Listener) bool
	Shared  bool
	Contact string    // sentence with the phone number, for notices
	By      time.Time // deadline a person is told for flagged work; zero: none
}

func (t Terms) stateDir() string { return cmp.Or(t.StateDir, "/var/lib/firebreak") }

// Protected is what is never acted on.
type Protected struct {
	Ports     []platform.PortRule
	Units     []string
	Processes []string // paths of executables
}

// Preview is what an action would do.
type Preview struct {
	Steps []string // what it does, in order: "stop smbd.service"
	Costs []string // what the user loses by it: "file shares of this computer stop"
	// Inverse is the state before, as Undo needs it; null if nothing is undone.
	Inverse json.RawMessage
	// Final says that Undo can put nothing back: the inverse is for people to
	// read, such as the command line of a program that was ended.
	Final bool
	// Ends are the processes that it ends itself, of which nothing else is left then:
	// they are held still while evidence is kept.
	Ends []platform.ProcessID
	// Refused says why it must not be done here; "" if it may. A refused
	// remediation leaves its threat mitigated, and a person is asked.
	Refused string
}

// Result is what an action did.
type Result struct {
	Done []string // what was done, in order, for the history
	// Waits says for whom the threat now waits: "person" for flagged work, ""
	// for nobody.
	Waits string
}

// Effect is what Verify found: whether the action's own effect is in force.
type Effect struct {
	InForce bool
	Detail  string // one sentence
}

// ErrCannot says that an action cannot be done on this subject; the error that
// wraps it says why in words a person understands.
var ErrCannot = errors.New("cannot be done here")

// ErrNotUndoable says that what was done cannot be taken back by the agent; the
// error that wraps it says what a person has to do.
var ErrNotUndoable = errors.New("cannot be undone")

// All returns every action, in the order the documentation lists them.
func All() []*Action {
	return []*Action{BlockPort, IsolateHost, RestrictHost, ClosePort, FlagOSUpgrade}
}

// ByName returns the action of that name, or nil.
func ByName(name string) *Action {
	for _, a := range All() {
		if a.Name == name {
			return a
		}
	}
	return nil
}
