package agent

import (
	"fmt"
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/policy"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

// countFlaps counts which threats closed and opened again between two looks.
// before are the threats as they were at the look before, and in its order.
func (a *Agent) countFlaps(before []threat.Threat, f threat.Followed, found []detect.Finding) {
	now := a.cfg.Now()
	there := make(map[string]bool, len(found))
	for _, x := range found {
		there[x.Key] = !x.Allowed
	}
	for i, old := range before {
		t := &a.threats[i]
		again := a.gone[t.ID] || otherSockets(old.Subject, t.Subject)
		if !there[t.Key] || !slices.Contains(f.Back, t.ID) && (!t.Open() || !again) {
			continue
		}
		t.Flap(old.LastSeen, now)
		if a.tellFlaps(t); t.Flapping(now) {
			a.closeNoMore(t)
		}
	}
}

// otherSockets tells whether a port is served by other sockets than before, each
// of them: it was shut in between.
func otherSockets(before, now platform.Subject) bool {
	if before.Port == nil || now.Port == nil || len(before.Port.Sockets) == 0 || len(now.Port.Sockets) == 0 {
		return false
	}
	return !slices.ContainsFunc(now.Port.Sockets, func(l platform.Listener) bool {
		return slices.ContainsFunc(before.Port.Sockets, func(m platform.Listener) bool { return m.Cookie == l.Cookie })
	})
}

// tellFlaps says that a threat comes and goes, ever less often: one line in the
// history stands for many times. Each counts as having come back once, so that
// policy may answer more strongly.
func (a *Agent) tellFlaps(t *threat.Threat) {
	for n := threat.Restless; n <= t.Flaps; n *= 10 {
		if n != t.Flaps {
			continue
		}
		t.Recurrences++
		a.note("stage", t.ID, "", "it comes and goes: "+flaps(*t)+". What is done about it stays until it is gone for "+t.Rest().String())
		a.touch(t)
	}
}

// flaps says how often a threat came and went.
func flaps(t threat.Threat) string {
	return fmt.Sprintf("opened and closed %d times since %s", t.Flaps, t.FlapsSince.Local().Format("15:04 on 2 January"))
}

// closeNoMore leaves to a person what was closed again and again: to stop what
// starts it is another matter. It stays blocked meanwhile. A policy that has a
// stronger answer still to come gives that one first.
func (a *Agent) closeNoMore(t *threat.Threat) {
	if t.Closed() < threat.Restless || t.WaitingFor == threat.ForPerson || !t.Open() || policy.Stronger(a.policy, *t) {
		return
	}
	why := fmt.Sprintf("it was closed %d times and came back within minutes: something starts it again", t.Closed())
	if t.Wait(threat.ForPerson) != nil {
		return
	}
	t.Attempts = threat.MaxAttempts
	for i := len(t.Actions) - 1; i >= 0; i-- {
		if last := t.Actions[i]; last.Kind == "remediation" {
			t.Did(threat.Act{Name: last.Name, Kind: last.Kind, At: a.cfg.Now(), By: "policy", Result: "failed", Detail: why})
			break
		}
	}
	a.note("stage", t.ID, "", "waits for a person: "+why)
	a.touch(t)
}

// believable is from when on it counts that a threat is not found any more.
func believable(t threat.Threat) time.Time { return t.LastSeen.Add(t.Rest()) }
