package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/policy"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
)

// PolicyFile is the name of the policy in its folder.
const PolicyFile = "policy.yaml"

// start takes up where the last run ended: the policy, and what a crash may
// have cut short. It acts on nothing by itself but what the journal says was
// begun.
func (a *Agent) start(ctx context.Context) {
	a.note("agent", "", "", "Firebreak "+a.cfg.Version+" started")
	a.loadPolicy()
	if a.cfg.Journal.Aside() != "" {
		a.takeOver(ctx)
	}
	a.resume()
	if !a.looking {
		a.look("the agent started")
	}
	if a.state.Restrictions.Isolation != nil {
		a.isolatedBefore(ctx)
	}
}

// isolatedBefore goes on with an isolation of an earlier run. If its lease ended
// while no agent ran, the history says so: the computer was reachable then.
func (a *Agent) isolatedBefore(ctx context.Context) {
	a.isolations++
	a.judging.ask()
	got, err := a.cfg.Host.Firewall.InForce(ctx)
	if err == nil && got.Isolation == nil && a.state.Counted.Boot == a.boot().ID {
		a.note("agent", "", "isolate-host", leaseEnded)
	}
}

// takeOver keeps what is in force when the journal was damaged, and may have
// lost what it is in force for: blocks until the first look has found the reason
// again, an isolation for as long as policy lets one last.
func (a *Agent) takeOver(ctx context.Context) {
	got, err := a.cfg.Host.Firewall.InForce(ctx)
	if err != nil {
		a.trouble(troubleFirewall, fmt.Errorf("read what is in force: %w", err))
		return
	}
	now := a.cfg.Now()
	want, _ := policy.Derive(a.policy, a.threats, a.facts(now))
	a.leftover = got.Blocked
	a.state.Restrictions = got
	if got.Isolation != nil && want.Isolation == nil && a.state.IsolationHoldOff == nil {
		a.state.Isolation = &journal.Isolation{
			Reason: "this computer was isolated when the journal was damaged", By: "agent",
			Since: now, For: a.longestIsolation(),
		}
		a.state.Isolated = journal.IsolationProof{Since: now, Detail: "not proved yet"}
	}
	a.keepState()
}

func (a *Agent) stop() error {
	a.note("agent", "", "", "Firebreak stopped; what is in force stays in force")
	a.record(a.cfg.Now())
	for _, w := range a.waiters {
		w.reply <- result{err: errStopped}
	}
	return nil
}

// resume deals with acts that were begun and have no result: each is finished
// if policy still wants it, and otherwise taken back, always by the inverse
// that was written down before it: a fresh look would take half-done work for
// the state to go back to.
func (a *Agent) resume() {
	var open []journal.Intent
	for _, i := range a.intents {
		if i.Open {
			open = append(open, i)
		}
	}
	slices.SortFunc(open, func(x, y journal.Intent) int { return int(x.Seq) - int(y.Seq) })
	for _, i := range open {
		t, action := a.find(i.Threat), actions.ByName(i.Action)
		if t != nil && a.busy[t.ID] {
			continue // it is being dealt with together with another of its acts
		}
		if t == nil || action == nil {
			a.note("agent", i.Threat, i.Action, "begun before the agent ended and not known any more: left as it is")
			a.finish(i.Seq)
			continue
		}
		if i.Kind == kindUndo {
			a.resumeUndo(t, i)
			continue
		}
		a.adopt(t, i)
		if step, ok := a.wanted(*t, i.Action); ok {
			a.note("agent", t.ID, i.Action, "was cut short when the agent ended; it is finished now")
			a.busy[t.ID] = true
			order := a.orderFor(*t)
			order.Subject, order.Inverse = i.Subject, i.Inverse
			a.act(t.ID, []policy.Step{step}, order, i.Seq)
			continue
		}
		if u := a.undoAll(t.ID, []journal.Intent{i}, "agent", a.cfg.Now().Add(defaultHoldOff), false); u.err != nil {
			a.trouble(troubleJournal, u.err)
			continue // it stays open: the next start deals with it
		}
		a.note("agent", t.ID, i.Action, "was cut short when the agent ended and is not wanted any more; it is undone")
		a.finish(i.Seq)
	}
}

// resumeUndo finishes an undo that was cut short.
func (a *Agent) resumeUndo(t *threat.Threat, i journal.Intent) {
	a.note("agent", t.ID, i.Action, "an undo was cut short when the agent ended; it is finished now")
	if t.Stage != threat.Excepted {
		a.leaveOpen(t, threat.Exception{Owner: i.By, Reason: "undone by " + i.By, Until: i.Until})
	}
	var all []journal.Intent
	for _, other := range a.intents {
		if other.Open && other.Kind == kindUndo && other.Threat == t.ID {
			all = append(all, other)
		}
	}
	slices.SortFunc(all, func(x, y journal.Intent) int { return int(y.Of) - int(x.Of) })
	a.takeBack(t.ID, all, &undone{})
}

// adopt makes sure that a threat knows of an act whose intent was written, but
// whose threat was not recorded again before the crash.
func (a *Agent) adopt(t *threat.Threat, i journal.Intent) {
	if slices.ContainsFunc(t.Actions, func(x threat.Act) bool { return x.Seq == i.Seq }) {
		return
	}
	t.Did(threat.Act{
		Seq: i.Seq, Name: i.Action, Kind: i.Kind, At: i.At, By: i.By, Result: "pending", Detail: strings.Join(i.Steps, "; "),
	})
	a.touch(t)
}

func (a *Agent) wanted(t threat.Threat, action string) (policy.Step, bool) {
	facts := a.facts(a.cfg.Now())
	facts.Disruptive = nil // it was counted when it began
	plan := policy.Decide(a.policy, []threat.Threat{t}, facts)
	for _, s := range plan.Carried() {
		if s.Action.Name == action {
			return s, true
		}
	}
	return policy.Step{}, false
}

// loadPolicy reads the policy file. A bad file never replaces a good one.
func (a *Agent) loadPolicy() {
	path := filepath.Join(a.cfg.PolicyDir, PolicyFile)
	data, err := configs.ReadPolicyFile(path)
	if err == nil {
		if a.loaded.Valid && bytes.Equal(data, a.state.Policy) {
			return
		}
		var p configs.Policy
		if p, err = configs.ParsePolicy(data, PolicyFile); err == nil {
			a.adoptPolicy(p, path, data)
			return
		}
	}
	a.keepPolicy(path, err)
}

func (a *Agent) adoptPolicy(p configs.Policy, path string, data []byte) {
	a.policy = p
	a.generation++
	a.loaded = policyStatus(p, path)
	a.loaded.Text = string(data)
	a.state.Policy = data
	a.keepState()
	sum := sha256.Sum256(data)
	a.note("policy", "", "", fmt.Sprintf("policy %s is in force, mode %s (%s, sha256 %s)", a.loaded.Version, p.Mode, path, hex.EncodeToString(sum[:8])))
	a.newTerms()
	a.look("the policy changed")
}

// keepPolicy keeps what is in force when the file cannot be used: the last good
// policy, also over a restart; and the embedded default where there never was
// one.
func (a *Agent) keepPolicy(path string, why error) {
	missing := errors.Is(why, fs.ErrNotExist)
	if a.loaded.Version == "" {
		a.policy, a.loaded = a.builtin, policyStatus(a.builtin, "built-in default")
		a.loaded.Text = string(configs.DefaultFile)
		if kept, err := configs.ParsePolicy(a.state.Policy, PolicyFile); err == nil && len(a.state.Policy) > 0 {
			a.policy, a.loaded = kept, policyStatus(kept, "last good copy of "+path)
			a.loaded.Text = string(a.state.Policy)
		}
		a.newTerms()
	}
	text := why.Error()
	if missing {
		text = path + " is not there"
	}
	fallback := missing && len(a.state.Policy) == 0
	if a.loaded.Error == text {
		return
	}
	a.loaded.Valid, a.loaded.Error = fallback, text
	if fallback {
		a.loaded.Error = ""
	}
	a.note("policy", "", "", fmt.Sprintf("policy %s stays in force: %s", a.loaded.Version, strings.ReplaceAll(text, "\n", "; ")))
}

func policyStatus(p configs.Policy, source string) PolicyStatus {
	return PolicyStatus{
		Version: fmt.Sprintf("%s r%d", p.Name, p.Revision), Name: p.Name, Revision: p.Revision,
		Mode: p.Mode, Source: source, Valid: true,
	}
}
