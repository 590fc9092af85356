package main

import (
	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/localapi"
)

func newExcept(e *env) *cobra.Command {
	var o localapi.Order
	var until dayFlag
	c := onThreat(e, agent.Except, "except ID", "Leave a threat open until a date, on your responsibility", &o)
	c.Flags().StringVar(&o.Reason, "reason", "", "why it may stay open")
	c.Flags().Var(&until, "until", "the last day it may stay open, such as 2027-03-31")
	c.PreRunE = func(*cobra.Command, []string) error {
		if o.Reason == "" || until.IsZero() {
			return usagef("except needs --reason and --until: an exception has a reason and an end")
		}
		o.Until = until.end()
		return nil
	}
	return c
}
