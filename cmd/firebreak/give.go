package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/localapi"
)

// give gives the agent an order, waits for its proof and prints what became of
// it. An order that was not carried out and proved ends with exitOpen.
func (e *env) give(ctx context.Context, verb agent.Verb, o localapi.Order) error {
	reply, err := e.agent().Order(ctx, verb, o)
	if err != nil {
		return err
	}
	if err := e.show(reply, func(p *page) { replyScreen(p, reply) }); err != nil {
		return err
	}
	return e.end(reply, o)
}

// end is how a command ends by what became of its order.
func (e *env) end(reply localapi.Reply, o localapi.Order) error {
	if !reply.Done && !o.NoWait && !o.DryRun {
		return exit(exitOpen)
	}
	return nil
}

// replyScreen is what became of an order.
func replyScreen(p *page, r localapi.Reply) {
	if r.Text != nil {
		p.text(*r.Text)
	}
	for _, line := range r.Lines {
		p.indented("  ", "", 0, line, 0)
	}
	if r.Verb == string(agent.Isolate) && r.Status != nil && r.Status.Isolation != nil {
		isolationReply(p, *r.Status.Isolation)
	}
	if r.Threat != nil && r.Threat.Next != nil {
		p.row("Next", *r.Threat.Next, 2)
	}
}

// noWait adds --no-wait.
func noWait(c *cobra.Command, o *localapi.Order) {
	c.Flags().BoolVar(&o.NoWait, "no-wait", false, "do not wait for the proof")
}

// onThreat is a command that orders one thing about one threat.
func onThreat(e *env, verb agent.Verb, use, short string, o *localapi.Order) *cobra.Command {
	c := &cobra.Command{
		Use:               use,
		Short:             short,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: threatID(e),
		RunE: func(c *cobra.Command, args []string) error {
			o.Threat = args[0]
			return e.give(c.Context(), verb, *o)
		},
	}
	noWait(c, o)
	return c
}
