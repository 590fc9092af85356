package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/platform"
)

func newDoctor(e *env) *cobra.Command {
	var bundle string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "What this agent can and cannot do on this computer, and why",
		Long: "Tries what the agent needs, one by one, and says what works, what does not and\n" +
			"what could not be told. It exits with 1 if something does not work, and with 2\n" +
			"if something could not be told.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return e.doctor(c.Context(), bundle) },
	}
	c.Flags().StringVar(&bundle, "bundle", "", "write an archive for support to this file (.tar.gz), without names and addresses")
	return c
}

// checkTime bounds one check.
const checkTime = 5 * time.Second

func (e *env) doctor(ctx context.Context, bundle string) error {
	stop := e.progress("trying what the agent needs")
	d := localapi.Doctor{Schema: localapi.Schema, Host: hostName(""), Checks: []localapi.DoctorCheck{}}
	p := patient{env: e, host: e.host("")}
	for _, check := range checks {
		one, cancel := context.WithTimeout(ctx, checkTime)
		f := check.try(one, &p)
		cancel()
		d.Checks = append(d.Checks, localapi.DoctorCheck{
			Name: check.name, Result: f.result, Detail: ptr(f.detail), Hint: ptr(f.hint),
		})
	}
	stop()
	if bundle != "" {
		return e.bundle(ctx, bundle, d)
	}
	if err := e.show(d, func(p *page) { doctorScreen(p, d, e.now()) }); err != nil {
		return err
	}
	return doctorExit(d)
}

func doctorExit(d localapi.Doctor) error {
	switch {
	case has(d, localapi.DoesNot):
		return exit(exitOpen)
	case has(d, localapi.CouldNotTell):
		return exit(exitCouldNotLook)
	}
	return nil
}

func has(d localapi.Doctor, result localapi.Ability) bool {
	for _, c := range d.Checks {
		if c.Result == result {
			return true
		}
	}
	return false
}

// outcome is what one check found.
type outcome struct {
	result localapi.Ability
	detail string
	hint   string
}

func works(detail string) outcome { return outcome{result: localapi.Works, detail: detail} }

func doesNot(detail, hint string) outcome {
	return outcome{result: localapi.DoesNot, detail: detail, hint: hint}
}

// judged turns what an attempt returned into an outcome. What is not permitted
// to this user may well work for the agent.
func judged(err error, ok, hint string) outcome {
	switch {
	case err == nil:
		return works(ok)
	case errors.Is(err, platform.ErrNotPermitted):
		return outcome{result: localapi.CouldNotTell, detail: err.Error(), hint: "repeat with sudo"}
	case errors.Is(err, context.DeadlineExceeded):
		return outcome{result: localapi.CouldNotTell, detail: "no answer in time", hint: hint}
	}
	return doesNot(err.Error(), hint)
}

// abilities are the results as a person reads them.
var abilities = map[localapi.Ability]string{
	localapi.Works: "works", localapi.DoesNot: "DOES NOT", localapi.CouldNotTell: "not sure",
}

func doctorScreen(p *page, d localapi.Doctor, now time.Time) {
	aside := where(d.Host, now)
	switch {
	case has(d, localapi.DoesNot):
		p.verdict(bad, "Some things do not work here", aside)
	case has(d, localapi.CouldNotTell):
		p.verdict(doubt, "NOT SURE: some things could not be tried", aside)
	default:
		p.verdict(good, "Everything works here", aside)
	}
	next := "nothing"
	for _, c := range d.Checks {
		p.indented("", abilities[c.Result], labelWidth, c.Name+": "+text(c.Detail), 2)
		if c.Hint != nil && c.Result != localapi.Works && next == "nothing" {
			next = *c.Hint
		}
	}
	p.row("Next", next, 0)
}
