package localapi

import (
	"time"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// opt returns nil for the zero value: what is absent is null.
func opt[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// utc returns nil for the zero time, and else the time as the contract has it.
func utc(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

// each converts a list; none is an empty list, never null.
func each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, 0, len(in))
	for _, v := range in {
		out = append(out, f(v))
	}
	return out
}

func same[T any](v T) T { return v }

// StatusOf returns the wire form of a status.
func StatusOf(s agent.Status) Status {
	w := Status{
		Schema: Schema, State: s.State, Host: s.Host, Mode: s.Mode, Isolated: s.Isolated,
		Open: map[configs.Severity]int{}, Threats: each(s.Threats, ThreatOf), Policy: policyOf(s.Policy),
		Blocked: each(s.Blocked, func(r platform.PortRule) Ports { return Ports(r) }),
		Flags:   each(s.Flags, flagOf), LastLook: utc(s.LastLook), Gaps: each(s.Gaps, GapOf),
		Troubles: each(s.Troubles, same), Next: opt(s.Next),
		Agent: Self{
			Version: opt(s.Agent.Version), Started: utc(s.Agent.Started),
			RSSBytes: s.Agent.RSSBytes, CPUSeconds: s.Agent.CPUSeconds,
		},
	}
	if wall := s.Wall; wall != nil {
		way := "inbound"
		if wall.Shut {
			way = "both"
		}
		w.Restricted = &way
	}
	for _, severity := range configs.Severities {
		w.Open[severity] = s.Open[severity]
	}
	if i := s.Isolation; i != nil {
		w.Isolation = &Isolation{
			Since: utc(i.Since), Until: utc(i.Until), Reason: opt(i.Reason), By: opt(i.By),
			Threat: opt(i.Threat), Proved: i.Proved, Detail: opt(i.Detail), Keep: each(i.Keep, same),
			State: opt(i.State), Reasons: each(i.Reasons, same), LeaseSeconds: int64(i.Lease / time.Second), Closed: i.Closed,
			Ended: i.Ended, Told: each(i.Told, same),
		}
	}
	if p := s.Paused; p != nil {
		w.Paused = &Pause{By: opt(p.By), Until: utc(p.Until)}
	}
	if s.Contact != (configs.Contact{}) {
		w.Contact = &Contact{Phone: opt(s.Contact.Phone), Text: opt(s.Contact.Text)}
	}
	return w
}

func policyOf(p agent.PolicyStatus) Policy {
	return Policy{
		Version: opt(p.Version), Name: opt(p.Name), Revision: p.Revision, Mode: p.Mode, Source: opt(p.Source),
		SignedBy: opt(p.SignedBy), Valid: p.Valid, Error: opt(p.Error),
	}
}

func flagOf(f platform.Flag) Flag {
	return Flag{
		Name: f.Name, Threat: opt(f.Threat), Text: opt(f.Text), To: opt(f.To),
		By: utc(f.By), Set: utc(f.Set), Told: each(f.Told, same),
	}
}

// GapOf returns the wire form of a gap.
func GapOf(g platform.Gap) Gap {
	return Gap{Part: g.Part, Reason: opt(g.Reason), Partial: g.Partial}
}

// ThreatOf returns the wire form of a threat.
func ThreatOf(t threat.Threat) Threat {
	w := Threat{
		ID: t.ID, Detector: t.Detector, Subject: SubjectOf(t.Subject), Severity: t.Severity, Stage: t.Stage,
		WaitingFor: opt(t.WaitingFor), InForce: each(t.InForce, same), Summary: opt(t.Summary), Next: opt(t.Next),
		FirstSeen: utc(t.FirstSeen), LastSeen: utc(t.LastSeen), ResolvedAt: utc(t.ResolvedAt),
		Recurrences: t.Recurrences, Actions: each(t.Actions, actOf), Verdict: opt(t.Verdict),
		Proofs: each(t.Proofs, proofOf), Looks: each(t.Looks, lookOf), Plan: opt(t.Plan), Because: opt(t.Because),
		Flaps: t.Flaps, FlapsSince: utc(t.FlapsSince), Attempts: t.Attempts, Approved: opt(t.Approved),
	}
	if len(t.Evidence) > 0 {
		w.Evidence = each(t.Evidence, same)
	}
	if e := t.Exception; e != nil {
		w.Exception = &Exception{Owner: opt(e.Owner), Reason: opt(e.Reason), Until: utc(e.Until)}
	}
	if h := t.HoldOff; h != nil {
		w.HoldOff = &HoldOff{Reason: opt(h.Reason), By: opt(h.By), Until: utc(h.Until)}
	}
	return w
}

func actOf(a threat.Act) Act {
	return Act{
		Seq: a.Seq, Name: a.Name, Kind: a.Kind, At: utc(a.At), By: opt(a.By),
		Result: ActionResult(a.Result), Detail: opt(a.Detail), Undoable: a.Undoable, Costs: each(a.Costs, same),
	}
}

func proofOf(p threat.Proof) Proof {
	return Proof{At: utc(p.At), Look: p.Look, How: p.How, Verdict: p.Verdict, Detail: opt(p.Detail)}
}

func lookOf(l threat.Look) Look { return Look{Name: l.Name, Due: utc(l.Due)} }

func entryOf(e journal.Entry) Entry {
	return Entry{
		Schema: Schema, Seq: e.Seq, At: utc(e.At), Kind: e.Kind, Threat: opt(e.Threat),
		Action: opt(e.Action), By: opt(e.By), Text: opt(e.Text),
	}
}

func replyOf(verb agent.Verb, r agent.Reply) Reply {
	w := Reply{Schema: Schema, Verb: string(verb), Text: opt(r.Text), Done: r.Done, Lines: each(r.Lines, same), Changed: r.Changed}
	if r.Threat != nil {
		t := ThreatOf(*r.Threat)
		w.Threat = &t
	}
	if r.Status != nil {
		s := StatusOf(*r.Status)
		w.Status = &s
	}
	return w
}
