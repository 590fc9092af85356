package main

import (
	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/localapi"
)

func newRecheck(e *env) *cobra.Command {
	var o localapi.Order
	c := &cobra.Command{
		Use:               "recheck [ID]",
		Short:             "Look again now, at one threat or at everything",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: threatID(e),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.Threat = args[0]
			}
			return e.give(c.Context(), agent.Recheck, o)
		},
	}
	noWait(c, &o)
	return c
}
