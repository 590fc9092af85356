package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

const (
	// proveDeadline bounds one validation.
	proveDeadline = 20 * time.Second
	// unknownRetry is when a look that could not be had is tried again for the
	// first time; twice as long each further time, up to unknownPause.
	unknownRetry = 30 * time.Second
	unknownPause = time.Hour
)

// proveIfDue starts the validations whose time has come.
func (a *Agent) proveIfDue(now time.Time) {
	for _, t := range a.threats {
		if look := a.dueLook(t, now); look != "" {
			a.validate(t.ID, look)
		}
	}
}

// dueLook names the look at a threat that is due; "" if none is.
func (a *Agent) dueLook(t threat.Threat, now time.Time) string {
	for _, l := range t.Looks {
		if !l.Due.IsZero() && !now.Before(l.Due) {
			return l.Name
		}
	}
	tooSoon := now.Before(a.retry[t.ID])
	switch {
	case t.Stage == threat.Remediated && !tooSoon:
		return atOnce
	case a.gone[t.ID] && t.Open() && !now.Before(believable(t)) && !(tooSoon && t.Verdict == detect.Unknown):
		return atOnce
	}
	return ""
}

// atOnce is the name of the look right after something was done or seen to be
// gone.
const atOnce = "at once"

func (a *Agent) detectorOf(t threat.Threat) *detect.Detector {
	for _, d := range a.detectors() {
		if d.Name == t.Detector {
			return d
		}
	}
	return nil
}

// validate looks again whether a threat is gone: the same detector on a fresh
// snapshot, and a probe that trusts no table.
func (a *Agent) validate(id, look string) {
	t, d := a.find(id), (*detect.Detector)(nil)
	if t != nil {
		d = a.detectorOf(*t)
	}
	if d == nil || a.busy[id] {
		return
	}
	a.busy[id] = true
	host, copyOf, generation := a.cfg.Host, *t, a.generation
	in := detect.Input{Policy: a.policy, Lifecycle: a.cfg.Lifecycle, Now: a.cfg.Now()}
	a.enqueueLook(func(ctx context.Context) func(context.Context) {
		ctx, cancel := context.WithTimeout(ctx, proveDeadline)
		defer cancel()
		proofs := prove(ctx, host, d, copyOf, in, look)
		return func(context.Context) {
			if generation != a.generation { // it was judged by a policy of the past
				delete(a.busy, id)
				a.validate(id, look)
				return
			}
			a.proved(id, look, proofs)
		}
	})
}

// prove takes one look at a threat. Every proof is independent of the others.
func prove(ctx context.Context, h *platform.Host, d *detect.Detector, t threat.Threat, in detect.Input, look string) []threat.Proof {
	proof := func(how string, v detect.Verdict, detail string) threat.Proof {
		return threat.Proof{At: in.Now, Look: look, How: how, Verdict: v, Detail: detail}
	}
	snap, err := h.Observer.Snapshot(ctx, platform.Parts{platform.PartOS, platform.PartListeners, platform.PartOwners, platform.PartSessions})
	if err != nil {
		return []threat.Proof{proof("snapshot", detect.Unknown, "could not look: "+err.Error())}
	}
	in.Snapshot = snap
	verdict, detail := d.Verify(t.Key, in)
	proofs := []threat.Proof{proof("snapshot", verdict, detail)}
	if verdict == detect.Cleared && d.Allows(t.Key, in) {
		proofs[0].How = "policy"
		return proofs
	}
	if t.Subject.Port == nil || verdict != detect.Cleared {
		return proofs
	}
	for _, s := range targets(*t.Subject.Port, snap) {
		if verdict, detail := knock(ctx, h.Prober, s); verdict != "" {
			proofs = append(proofs, proof("probe", verdict, detail))
		}
	}
	return proofs
}

// target is one address at which a port used to answer.
type target struct {
	protocol platform.Protocol
	to       netip.AddrPort
	// shared is true if this computer itself still reaches another listener there.
	shared bool
}

// targets returns where to knock: each address the port was bound to, unless
// another listener, which is none of this threat, is there now.
func targets(p platform.PortSubject, now platform.Snapshot) []target {
	taken, shared := false, false
	for _, l := range now.Listeners {
		if l.Protocol == p.Protocol && l.Port == p.Port && l.NetNS == p.NetNS {
			taken, shared = taken || l.Reach != platform.ReachLoopback, true
		}
	}
	if taken || p.NetNS != "" || p.Container != "" {
		return nil
	}
	var out []target
	for _, s := range p.Sockets {
		t := target{p.Protocol, netip.AddrPortFrom(s.Address, p.Port), shared}
		if !s.Address.IsLoopback() && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// knock tries a port from outside. A host on which that cannot be done is tried
// from within, and so is a port that is silent: it may be that only a firewall,
// most likely the agent's own, keeps a stranger from what still listens. Silence
// that cannot be told from a wall proves nothing: then there is no verdict.
func knock(ctx context.Context, p platform.Prober, t target) (detect.Verdict, string) {
	answer, err := p.Inbound(ctx, t.protocol, t.to)
	from := "from outside"
	if walled := err == nil && answer == platform.Silent; walled || errors.Is(err, platform.ErrUnsupported) {
		if walled && (t.shared || t.protocol == platform.UDP) {
			return "", ""
		}
		if t.protocol == platform.TCP {
			answer, err = p.Connect(ctx, t.to)
			from = "from this computer"
		}
	}
	if err != nil {
		return detect.Unknown, fmt.Sprintf("%s port %d could not be tried %s: %v", t.protocol, t.to.Port(), from, err)
	}
	switch answer {
	case platform.Answered:
		return detect.Persists, fmt.Sprintf("%s port %d answers %s", t.protocol, t.to.Port(), from)
	case platform.Refused:
		return detect.Cleared, fmt.Sprintf("%s port %d refuses connections %s", t.protocol, t.to.Port(), from)
	}
	return detect.Unknown, fmt.Sprintf("%s port %d is silent %s, which a firewall could be", t.protocol, t.to.Port(), from)
}

// proved draws the conclusion from a look.
func (a *Agent) proved(id, look string, proofs []threat.Proof) {
	delete(a.busy, id)
	t := a.find(id)
	if t == nil {
		return
	}
	now := a.cfg.Now()
	before := t.Stage
	platform.FaultPoint("verdict: before")
	verdict, err := t.Prove(proofs, now)
	a.trouble("threat "+id, err)
	if verdict != detect.Unknown {
		delete(a.gone, id)
		delete(a.unknowns, id)
	}
	t.Looks = slices.DeleteFunc(slices.Clone(t.Looks), func(l threat.Look) bool { return l.Name == look })
	detail := proofs[len(proofs)-1].Detail
	for _, p := range proofs {
		if p.Verdict == verdict {
			detail = p.Detail
		}
	}
	a.note("verdict", id, "", fmt.Sprintf("%s (%s): %s", verdict, look, detail))
	switch {
	case verdict == detect.Unknown:
		a.retry[id] = now.Add(min(unknownRetry<<min(a.unknowns[id], 10), unknownPause))
		a.unknowns[id]++
		if before == threat.Resolved {
			t.Looks = append(t.Looks, threat.Look{Name: look, Due: a.retry[id]})
		}
	case t.Stage == threat.Resolved && before != threat.Resolved:
		t.Looks = a.looksAhead(now)
		text := "resolved: " + resolvedBy(*t)
		if t.Flaps >= threat.Restless {
			text += ", after it " + flaps(*t)
		}
		a.note("stage", id, "", text)
	case verdict == detect.Persists && before != threat.Resolved && t.Stage != before:
		a.retry[id] = now.Add(retryAfter << t.Attempts)
		a.note("stage", id, "", fmt.Sprintf("%s again: attempt %d did not remove it", t.Stage, t.Attempts))
	}
	if before == threat.Resolved && t.Stage == threat.Identified {
		a.note("stage", id, "", "opened again: it came back")
		a.look("a resolved threat is back")
	}
	a.touch(t)
}

// resolvedBy says why a resolved threat is no threat any more.
func resolvedBy(t threat.Threat) string {
	for i := len(t.Proofs) - 1; i >= 0; i-- {
		switch p := t.Proofs[i]; {
		case p.Verdict != detect.Cleared:
		case p.How == "policy":
			return "policy does not call it a threat any more"
		default:
			return "it is proved gone"
		}
	}
	return "it is proved gone"
}

// looksAhead are the looks that follow once a threat is resolved.
func (a *Agent) looksAhead(now time.Time) []threat.Look {
	var looks []threat.Look
	for _, after := range a.cfg.LookAgain {
		looks = append(looks, threat.Look{Name: "after " + configs.Duration(after).String(), Due: now.Add(after)})
	}
	if boot := a.snapshot.Boot.ID; boot != "" {
		looks = append(looks, threat.Look{Name: "after reboot", Boot: boot})
	}
	return looks
}
