package main

import (
	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/localapi"
)

func newRelease(e *env) *cobra.Command {
	var o localapi.Order
	c := &cobra.Command{
		Use:   "release",
		Short: "Connect this computer again after isolation",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return e.give(c.Context(), agent.Release, o)
		},
	}
	c.Flags().BoolVar(&o.Force, "force", false, "also while the threat that isolated it is still there")
	c.Flags().StringVar(&o.Reason, "reason", "", "why, for the history")
	noWait(c, &o)
	return c
}
