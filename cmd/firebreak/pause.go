package main

import (
	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/localapi"
)

func newPause(e *env) *cobra.Command {
	var o localapi.Order
	c := &cobra.Command{
		Use:   "pause --for 1h",
		Short: "Lift blocks for a time (not isolation); ends by itself",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.For == "" {
				return usagef("pause needs --for, such as --for 1h: it ends by itself")
			}
			return e.give(c.Context(), agent.PauseIt, o)
		},
	}
	c.Flags().Var((*lengthFlag)(&o.For), "for", "for how long, such as 30m, 1h or 2d")
	c.Flags().StringVar(&o.Reason, "reason", "", "why, for the history")
	noWait(c, &o)
	return c
}
