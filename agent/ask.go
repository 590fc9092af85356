package agent

import (
	"context"
	"errors"
	"slices"

	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// Do carries out an order and waits for its proof, unless told not to. The
// error is a *RefusedError if the agent will not do it.
func (a *Agent) Do(ctx context.Context, o Order) (Reply, error) {
	reply := make(chan result, 1)
	select {
	case a.orders <- request{Order: o, reply: reply}:
	case <-a.ended:
		return Reply{}, errStopped
	case <-ctx.Done():
		return Reply{}, ctx.Err()
	}
	select {
	case r := <-reply:
		return r.Reply, r.err
	case <-ctx.Done():
		return Reply{}, ctx.Err()
	}
}

// errStopped answers the orders that the agent was too late for.
var errStopped = errors.New("the agent stopped")

// Status returns the host at one glance. It never waits for the loop.
func (a *Agent) Status() Status {
	s := a.view.Load().status
	s.Agent.RSSBytes, s.Agent.CPUSeconds = platform.OwnCost()
	return s
}

// Started is closed once the agent has put in force again what was in force, or
// has tried to.
func (a *Agent) Started() <-chan struct{} { return a.started }

// Threats returns the open and excepted threats, worst first; all adds the
// resolved ones.
func (a *Agent) Threats(all bool) []threat.Threat {
	threats := slices.Clone(a.view.Load().threats)
	if !all {
		threats = slices.DeleteFunc(threats, func(t threat.Threat) bool { return t.Stage == threat.Resolved })
	}
	return threats
}

// Threat returns one threat.
func (a *Agent) Threat(id string) (threat.Threat, bool) {
	for _, t := range a.view.Load().threats {
		if t.ID == id {
			return t, true
		}
	}
	return threat.Threat{}, false
}

// History returns at most limit entries after the one numbered after, oldest
// first; limit 0 is all, a negative one the last so many.
func (a *Agent) History(after uint64, limit int) ([]journal.Entry, error) {
	return a.cfg.Journal.History(after, limit)
}

// Changed returns a channel that is closed at the next change of status,
// threats or history.
func (a *Agent) Changed() <-chan struct{} { return a.view.Load().next }

// EvidenceDir is where evidence bundles are kept.
func (a *Agent) EvidenceDir() string { return a.cfg.Evidence }

// Policy returns the policy in force.
func (a *Agent) Policy() (configs.Policy, PolicyStatus) {
	v := a.view.Load()
	return v.policy, v.status.Policy
}
