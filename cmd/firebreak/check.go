package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/agent/policy"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// checkOptions are the flags of check.
type checkOptions struct {
	all   bool
	root  string
	at    dayFlag
	floor severityFlag
}

func newCheck(e *env) *cobra.Command {
	o := checkOptions{floor: severityFlag(configs.High)}
	c := &cobra.Command{
		Use:   "check",
		Short: "Look once and say what to do; needs no running agent",
		Long: "Looks at this computer once, and says what to do and what policy would do. It\n" +
			"changes nothing and needs no running agent. As root it sees more.\n\n" +
			"It exits with 1 if something is open at or above --fail-on, and with 2 if it\n" +
			"could not look.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return e.check(c.Context(), o) },
	}
	c.Flags().BoolVar(&o.all, "all", false, "every port, not only the ones to act on")
	c.Flags().StringVar(&o.root, "root", "", "judge the operating system in this folder, such as a mounted image")
	c.Flags().Var(&o.at, "at", "judge as of this day, such as 2027-04-01")
	failOn(c, &o.floor)
	return c
}

func (e *env) check(ctx context.Context, o checkOptions) error {
	now, parts := e.now(), platform.AllParts
	if !o.at.IsZero() {
		now = o.at.Time
	}
	if o.root != "" {
		if info, err := os.Stat(o.root); err != nil || !info.IsDir() {
			return usagef("--root %s is not a folder", o.root)
		}
		parts = platform.Parts{platform.PartOS}
	}
	p, source, policyErr := e.readPolicy()
	if policyErr != nil {
		var err error
		if p, err = configs.Default(); err != nil {
			return err
		}
	}
	stop := e.progress("looking at this computer")
	l, err := look(ctx, e.host(o.root), p, parts, now)
	stop()
	if err != nil {
		return err
	}
	c := checkOf(l, p, source, policyErr)
	c.Host = hostName(o.root)
	if err := e.show(c, func(p *page) { checkScreen(p, c, o, e.now()) }); err != nil {
		return err
	}
	return checkExit(c, l, configs.Severity(o.floor))
}

// checkExit: what is known to be bad counts before what is not known.
func checkExit(c localapi.Check, l looked, floor configs.Severity) error {
	switch {
	case openAt(c.Open, floor) > 0:
		return exit(exitOpen)
	case len(l.blind) > 0:
		return exit(exitCouldNotLook)
	}
	return nil
}

// hostName names the computer that was judged.
func hostName(root string) string {
	if root != "" {
		return root
	}
	name, err := os.Hostname()
	if err != nil {
		return "this computer"
	}
	return name
}

// checkOf is the wire form of a look.
func checkOf(l looked, p configs.Policy, source string, policyErr error) localapi.Check {
	c := localapi.Check{
		Schema: localapi.Schema, Mode: p.Mode, Open: map[configs.Severity]int{},
		Threats: []localapi.Threat{}, Allowed: []localapi.Allowed{}, Plan: stepsOf(l.plan, l.previews), Gaps: []localapi.Gap{},
		Policy: localapi.Policy{
			Version: ptr(fmt.Sprintf("%s r%d", p.Name, p.Revision)), Name: ptr(p.Name), Revision: p.Revision,
			Mode: p.Mode, Source: ptr(source), Valid: policyErr == nil,
		},
	}
	if policyErr != nil {
		c.Policy.Error = ptr(policyErr.Error())
	}
	if taken := l.snapshot.Taken.UTC(); !taken.IsZero() {
		c.Taken = &taken
	}
	for _, severity := range configs.Severities {
		c.Open[severity] = 0
	}
	for _, t := range l.threats {
		w := localapi.ThreatOf(t)
		w.Next = ptr(howTo(w))
		c.Open[t.Severity]++
		c.Threats = append(c.Threats, w)
		if w.Subject.Port != nil {
			c.Ports.Threats++
		}
	}
	for _, f := range l.allowed {
		c.Allowed = append(c.Allowed, allowedOf(f))
		switch {
		case f.Subject.Port == nil:
		case f.Subject.Port.Reach == platform.ReachLoopback:
			c.Ports.Loopback++
		default:
			c.Ports.Usual++
		}
	}
	c.Ports.Open = c.Ports.Threats + c.Ports.Usual + c.Ports.Loopback
	for _, g := range gapsOf(l) {
		c.Gaps = append(c.Gaps, localapi.GapOf(g))
	}
	return c
}

// gapsOf is what was not seen. A detector that says only which gap blinds it
// says nothing new.
func gapsOf(l looked) []platform.Gap {
	gaps := slices.Clone(l.snapshot.Gaps)
	for _, b := range l.blind {
		if !slices.ContainsFunc(l.snapshot.Gaps, func(g platform.Gap) bool { return strings.HasSuffix(b.Reason, g.Reason) }) {
			gaps = append(gaps, b)
		}
	}
	return gaps
}

func allowedOf(f detect.Finding) localapi.Allowed {
	return localapi.Allowed{
		Detector: f.Detector, Subject: localapi.SubjectOf(f.Subject), Summary: ptr(f.Summary), Because: ptr(f.Because),
	}
}

// stepsOf is the wire form of a plan, with what is known of its costs.
func stepsOf(plan policy.Plan, previews []actions.Preview) []localapi.Step {
	out := []localapi.Step{}
	for i, s := range plan.Steps {
		w := localapi.Step{
			Threat: s.Threat, Action: s.Action.Name, Kind: string(s.Action.Kind), Because: ptr(s.Because),
			Enforced: s.Enforced, WaitsFor: ptr(string(s.Wait)), Why: ptr(s.Why), Steps: []string{}, Costs: []string{},
		}
		if i < len(previews) {
			w.Steps, w.Costs = append(w.Steps, previews[i].Steps...), append(w.Costs, previews[i].Costs...)
			w.Refused = ptr(previews[i].Refused)
		}
		out = append(out, w)
	}
	return out
}

// ptr returns nil for "": what is absent is null.
func ptr(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// howTo is one line of how a person gets rid of a threat.
func howTo(t localapi.Threat) string {
	switch {
	case t.Subject.Port != nil:
		return howToShut(*t.Subject.Port)
	case t.Subject.OS != nil && t.Subject.OS.UpgradeTo != nil:
		return "upgrade this computer to " + *t.Subject.OS.UpgradeTo
	case t.Subject.OS != nil:
		return "move this computer to a release that still gets updates"
	case t.Subject.Updates != nil:
		return howToUpdate(*t.Subject.Updates)
	}
	return "see: firebreak explain " + t.ID
}

// howToUpdate says by which command, of the host's own package manager.
func howToUpdate(u localapi.UpdatesSubject) string {
	refresh, upgrade := "sudo apt-get update", "sudo apt-get update && sudo apt-get upgrade"
	if text(u.Manager) == "dnf" {
		refresh, upgrade = "sudo dnf makecache", "sudo dnf upgrade"
	}
	switch {
	case len(u.Packages) > 0:
		return upgrade
	case len(u.Unsupported) > 0:
		return "replace these packages by others that are looked after, or remove them"
	case u.NewerKernel != nil || len(u.RebootAsked) > 0:
		return "restart this computer"
	case len(u.Stale) > 0:
		return "restart what still runs as before, or this computer"
	}
	return refresh
}

func howToShut(p localapi.PortSubject) string {
	switch {
	case p.Container != nil:
		return "publish it on 127.0.0.1 only, or stop container " + *p.Container
	case p.Unit != nil:
		return "sudo systemctl disable --now " + *p.Unit + ", or let it listen on 127.0.0.1 only"
	case p.PID != nil:
		return fmt.Sprintf("end %s (pid %d), or let it listen on 127.0.0.1 only", cmp.Or(text(p.Process), "the program"), *p.PID)
	}
	return "find out which program it is: repeat with sudo"
}

// patience is how long a look may take before a person is told that it goes on.
const patience = 300 * time.Millisecond

// progress tells the person on a terminal that something takes time, if it
// does; stop wipes it away again.
func (e *env) progress(what string) (stop func()) {
	if !e.errTTY {
		return func() {}
	}
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		timer := time.NewTimer(patience)
		defer timer.Stop()
		for dots := 1; ; dots++ {
			select {
			case <-done:
				if dots > 1 {
					_, _ = fmt.Fprint(e.err, "\r\x1b[K")
				}
				return
			case <-timer.C:
				_, _ = fmt.Fprintf(e.err, "\r\x1b[K%s%.*s", what, dots%4, "...")
				timer.Reset(patience)
			}
		}
	}()
	return func() { close(done); <-gone }
}
