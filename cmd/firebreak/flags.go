package main

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/configs"
)

// severityFlag is a severity on the command line.
type severityFlag configs.Severity

func (s *severityFlag) String() string { return string(*s) }
func (s *severityFlag) Type() string   { return "severity" }

func (s *severityFlag) Set(text string) error {
	if !slices.Contains(configs.Severities, configs.Severity(text)) {
		return usagef("%q is not low, medium, high or critical", text)
	}
	*s = severityFlag(text)
	return nil
}

// failOn adds --fail-on.
func failOn(c *cobra.Command, floor *severityFlag) {
	c.Flags().Var(floor, "fail-on", "exit with 1 if something is open at or above: low, medium, high, critical")
	complete(c, "fail-on", "low", "medium", "high", "critical")
}

// complete offers fixed words for a flag.
func complete(c *cobra.Command, flag string, words ...string) {
	// The only error is a flag that does not exist, which a test would see.
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// dayFlag is a day: 2027-03-31.
type dayFlag struct{ time.Time }

func (d *dayFlag) Type() string { return "date" }

func (d *dayFlag) String() string {
	if d.IsZero() {
		return ""
	}
	return d.Format(time.DateOnly)
}

func (d *dayFlag) Set(text string) error {
	day, err := configs.ParseDate(text)
	if err != nil {
		return err
	}
	d.Time = day.Time
	return nil
}

// end returns the end of that day on this computer, or nil for none.
func (d *dayFlag) end() *time.Time {
	if d.IsZero() {
		return nil
	}
	end := configs.Date{Time: d.Time}.End(time.Local).UTC()
	return &end
}

// lengthFlag is a length of time: 90m, 4h, 2d.
type lengthFlag string

func (l *lengthFlag) String() string { return string(*l) }
func (l *lengthFlag) Type() string   { return "duration" }

func (l *lengthFlag) Set(text string) error {
	if _, err := localapi.Duration(strings.TrimSpace(text)); err != nil {
		return err
	}
	*l = lengthFlag(strings.TrimSpace(text))
	return nil
}
