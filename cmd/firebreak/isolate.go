package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/localapi"
)

func newIsolate(e *env) *cobra.Command {
	var o localapi.Order
	c := &cobra.Command{
		Use:   "isolate --reason WHY",
		Short: "Cut this computer off from every network but what policy keeps",
		Long: "Cuts this computer off from every network but what policy keeps, and proves it.\n" +
			"It ends by itself after --for, at the latest when policy says (isolation.max).\n" +
			"Over a remote session that it would cut, it asks first or needs --cut-me-off.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if strings.TrimSpace(o.Reason) == "" {
				return usagef("isolate needs --reason: the user of this computer will be shown it")
			}
			return e.isolate(c.Context(), o)
		},
	}
	c.Flags().StringVar(&o.Reason, "reason", "", "why; shown to the user and kept in the history")
	c.Flags().Var((*lengthFlag)(&o.For), "for", "end by itself after this time, such as 4h")
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "only say what it would do")
	c.Flags().BoolVar(&o.CutMe, "cut-me-off", false, "even if it cuts your own remote session")
	noWait(c, &o)
	return c
}

// isolate gives the order, and asks the person first if it would cut his own
// session and he can still answer.
func (e *env) isolate(ctx context.Context, o localapi.Order) error {
	err := e.give(ctx, agent.Isolate, o)
	var fault *localapi.Error
	if !errors.As(err, &fault) || fault.Code != localapi.CutsOff {
		return err
	}
	if !e.inTTY || !e.errTTY || e.json {
		return &localapi.Error{Code: localapi.CutsOff, Message: fault.Message + "; if you mean it: --cut-me-off"}
	}
	if !e.confirm(fault.Message + ". Go on all the same?") {
		return &localapi.Error{Code: localapi.Refused, Message: "nothing was done"}
	}
	o.CutMe = true
	return e.give(ctx, agent.Isolate, o)
}

// isolationReply adds how well it holds to what became of an order to isolate.
func isolationReply(p *page, i localapi.Isolation) {
	switch {
	case i.State == nil:
		return
	case *i.State == agent.IsolationFull:
		p.row("State", "full: nothing is lacking", 1)
	default:
		p.row("State", string(*i.State), 1)
		isolationReasons(p, i)
	}
}

// confirm asks a yes-or-no question on the terminal; only "yes" is yes.
func (e *env) confirm(question string) bool {
	if _, err := fmt.Fprint(e.err, clean(question)+" Type yes: "); err != nil {
		return false
	}
	answer, err := bufio.NewReader(e.in).ReadString('\n')
	return err == nil && strings.TrimSpace(answer) == "yes"
}
