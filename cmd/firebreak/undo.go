package main

import (
	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/localapi"
)

func newUndo(e *env) *cobra.Command {
	var o localapi.Order
	var until dayFlag
	c := onThreat(e, agent.Undo, "undo ID", "Put back what was done for a threat, and leave it open for a time", &o)
	c.Flags().Var(&until, "until", "leave it open until the end of this day (else for a while)")
	c.PreRun = func(*cobra.Command, []string) { o.Until = until.end() }
	return c
}
