package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// portParts is what must be read to judge ports.
var portParts = platform.Parts{platform.PartOS, platform.PartListeners, platform.PartOwners, platform.PartSessions}

func newPolicyCheck(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Is this file a valid policy, and what would it shut here now?",
		Args:  cobra.ExactArgs(1),
		RunE:  func(c *cobra.Command, args []string) error { return e.policyCheck(c.Context(), args[0]) },
	}
}

func (e *env) policyCheck(ctx context.Context, file string) error {
	out := localapi.PolicyCheck{
		Schema: localapi.Schema, File: file,
		Problems: []localapi.PolicyProblem{}, Warnings: []string{}, WouldShut: []localapi.PortJudgement{}, Preempts: []string{}, Gaps: []localapi.Gap{},
	}
	data, err := configs.ReadPolicyFile(file)
	if err != nil {
		return err
	}
	p, err := configs.ParsePolicy(data, file)
	if err != nil {
		out.Problems = problemsIn(err, file)
		if err := e.show(out, func(p *page) { policyCheckScreen(p, out) }); err != nil {
			return err
		}
		return exit(exitOpen)
	}
	out.Valid, out.Version = true, ptr(fmt.Sprintf("%s r%d", p.Name, p.Revision))
	out.Warnings = append(out.Warnings, p.Warnings()...)
	if err := e.wouldShut(ctx, p, &out); err != nil {
		return err
	}
	return e.show(out, func(p *page) { policyCheckScreen(p, out) })
}

// wouldShut looks at the host and fills in which of its ports the policy would
// shut. A host that cannot be read is a gap: the file is no worse for it.
func (e *env) wouldShut(ctx context.Context, p configs.Policy, out *localapi.PolicyCheck) error {
	snapshot, err := e.host("").Observer.Snapshot(ctx, portParts)
	if err != nil {
		return fmt.Errorf("%w at this computer: %w", errCouldNotLook, err)
	}
	for _, g := range snapshot.Gaps {
		out.Gaps = append(out.Gaps, localapi.GapOf(g))
	}
	found, err := detect.WouldShut(p, snapshot)
	if err != nil {
		out.Gaps = append(out.Gaps, localapi.GapOf(platform.Gap{Part: platform.PartListeners, Reason: err.Error()}))
		return nil
	}
	for _, f := range found {
		out.WouldShut = append(out.WouldShut, judgementOf(f))
	}
	out.Preempts = append(out.Preempts, preempts(p, snapshot)...)
	return nil
}

func judgementOf(f detect.Finding) localapi.PortJudgement {
	j := localapi.PortJudgement{
		Subject: localapi.SubjectOf(f.Subject), Threat: !f.Allowed, Plan: ptr(f.Plan), Because: ptr(f.Because),
	}
	if !f.Allowed && f.Severity != "" {
		j.Severity = &f.Severity
	}
	return j
}

// problemsIn takes the joined mistakes of a policy apart again.
func problemsIn(err error, file string) []localapi.PolicyProblem {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []localapi.PolicyProblem
		for _, one := range joined.Unwrap() {
			all = append(all, problemsIn(one, file)...)
		}
		return all
	}
	var mistake *configs.PolicyError
	if errors.As(err, &mistake) {
		return []localapi.PolicyProblem{{
			File: mistake.File, Line: mistake.Line, Column: mistake.Column,
			Problem: mistake.Problem, Suggestion: ptr(mistake.Suggestion),
		}}
	}
	return []localapi.PolicyProblem{{File: file, Problem: err.Error()}}
}

func policyCheckScreen(p *page, c localapi.PolicyCheck) {
	if !c.Valid {
		p.verdict(bad, "REFUSED: "+count(len(c.Problems), "mistake")+" in "+c.File, "")
		for _, m := range c.Problems {
			line := m.Problem
			if m.Suggestion != nil {
				line += ": " + *m.Suggestion
			}
			p.indented("  ", fmt.Sprintf("%d:%d", m.Line, m.Column), labelWidth, line, 0)
		}
		p.row("Next", "correct the first one and repeat: an agent keeps its last good policy", 0)
		return
	}
	p.verdict(good, "Valid: "+text(c.Version), "")
	if len(c.WouldShut) == 0 {
		p.row("Shuts", "no port that is open here now", 0)
	}
	for i, j := range c.WouldShut {
		label := "Shuts"
		if i > 0 {
			label = ""
		}
		s := j.Subject.Port
		p.row(label, fmt.Sprintf("%s %d of %s, by plan %s (%s)", s.Protocol, s.Port, ownerOf(*s), text(j.Plan), text(j.Because)), 2)
	}
	for i, port := range c.Preempts {
		label := "Beforehand"
		if i > 0 {
			label = ""
		}
		p.row(label, port, 2)
	}
	for i, warning := range c.Warnings {
		label := "Beware"
		if i > 0 {
			label = ""
		}
		p.row(label, warning, 0)
	}
	gapRows(p, "Not seen", c.Gaps)
	p.row("Next", "put it in place: it is in force within a second", 0)
}

func ownerOf(s localapi.PortSubject) string {
	for _, name := range []*string{s.Unit, s.Process, s.Exe, s.Container} {
		if name != nil {
			return *name
		}
	}
	return "a program that is not known"
}
