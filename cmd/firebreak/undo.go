package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/localapi"
)

func newUndo(e *env) *cobra.Command {
	var o localapi.Order
	var until dayFlag
	c := onThreat(e, agent.Undo, "undo ID", "Put back what was done for a threat, and leave it open for a time", &o)
	c.Flags().Var(&until, "until", "leave it open until the end of this day (else for a while)")
	c.Flags().BoolVar(&o.Keep, "keep", false, "leave as it is now what somebody changed in between")
	c.PreRun = func(*cobra.Command, []string) { o.Until = until.end() }
	c.RunE = func(c *cobra.Command, args []string) error {
		o.Threat = args[0]
		return e.undo(c.Context(), o)
	}
	return c
}

// undo gives the order. What somebody changed in between is never overwritten: the
// person is asked whether it is to stay as it is now.
func (e *env) undo(ctx context.Context, o localapi.Order) error {
	reply, err := e.agent().Order(ctx, agent.Undo, o)
	if err != nil {
		return err
	}
	if err := e.show(reply, func(p *page) { replyScreen(p, reply) }); err != nil {
		return err
	}
	if !reply.Changed || o.Keep {
		return e.end(reply, o)
	}
	if e.inTTY && e.errTTY && !e.json && e.confirm("It was changed by somebody, and is not overwritten. Leave it as it is now, and count it as undone?") {
		o.Keep = true
		return e.give(ctx, agent.Undo, o)
	}
	return &localapi.Error{
		Code:    localapi.Refused,
		Message: "somebody changed it, and it was left alone: put it back by hand, or leave it as it is now with: firebreak undo " + o.Threat + " --keep",
	}
}
