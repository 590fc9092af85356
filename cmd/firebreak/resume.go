package main

import (
	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/localapi"
)

func newResume(e *env) *cobra.Command {
	var o localapi.Order
	c := &cobra.Command{
		Use:   "resume",
		Short: "End a pause now",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return e.give(c.Context(), agent.Resume, o)
		},
	}
	noWait(c, &o)
	return c
}
