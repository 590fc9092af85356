package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/platform"
)

// restoreTime bounds how long a boot may wait for the firewall.
const restoreTime = 5 * time.Second

func newRestore(e *env) *cobra.Command {
	return &cobra.Command{
		Use:    "restore",
		Short:  "Put in force again what was before this computer started (for " + restoreName + ")",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), restoreTime)
			defer cancel()
			text, err := e.restore(ctx)
			if err != nil {
				return err
			}
			reply := localapi.Reply{Schema: localapi.Schema, Text: &text, Done: true, Lines: []string{}}
			return e.show(reply, func(p *page) { replyScreen(p, reply) })
		},
	}
}

// restore puts in force what the journal says, before there is a network and
// before the agent runs. It writes nothing: the disk may be read-only yet. It says
// what it did.
func (e *env) restore(ctx context.Context) (string, error) {
	if !privileged() {
		return "", fmt.Errorf("restore what was in force: %w", platform.ErrNotPermitted)
	}
	state, damage := journal.ReadState(e.journalFile())
	switch {
	case errors.Is(damage, fs.ErrNotExist):
		return "Nothing was in force: there is no journal yet.", nil
	case errors.Is(damage, journal.ErrInUse):
		return "An agent runs already; nothing is left to restore.", nil
	case damage != nil && !errors.Is(damage, journal.ErrDamaged):
		return "", fmt.Errorf("restore what was in force: %w", damage)
	}
	now := e.now()
	boot, err := platform.ReadBoot(now)
	if err != nil {
		return "", fmt.Errorf("restore what was in force: %w", err)
	}
	if c := state.Counted; c.Boot == boot.ID && c.Uptime <= boot.Uptime {
		// The boot's ID alone says nothing in a container that has it of its machine.
		return "An agent has run since this computer was started; what is in force now stays so.", nil
	}
	want, left := agent.AtBoot(state, boot, now)
	if want.Zero() && len(state.Denied) == 0 {
		if damage != nil {
			return "", fmt.Errorf("restore what was in force: nothing is known of it: %w", damage)
		}
		return "Nothing was in force.", nil
	}
	var said string
	if !want.Zero() {
		said, err = e.putInForce(ctx, want, left)
	}
	said = strings.TrimSpace(said + e.denyAgain(ctx, state.Denied))
	if damage != nil {
		said += " The journal is damaged: this is the newest state that could be read of it."
	}
	return said, err
}

// denyAgain keeps programs from opening the ports that they were kept from before.
// That it fails holds up nothing: the agent tries it again, and blocks them.
func (e *env) denyAgain(ctx context.Context, rules []platform.BindRule) string {
	if len(rules) == 0 {
		return ""
	}
	var ports []platform.PortRule
	for _, r := range rules {
		ports = append(ports, r.PortRule)
	}
	if err := e.host("").Binds.Deny(ctx, rules); err != nil {
		return fmt.Sprintf(" Programs can open %s until the agent runs: %v.", platform.PortList(ports), err)
	}
	return " No program may open, as before: " + platform.PortList(ports) + "."
}

// putInForce applies what was in force, unless something is in force already:
// that is the agent's to judge.
func (e *env) putInForce(ctx context.Context, want platform.Restrictions, left time.Duration) (string, error) {
	firewall := e.host("").Firewall
	if have, err := firewall.InForce(ctx); err != nil || !have.Zero() {
		return "Restrictions are in force already; the agent takes them over.", err
	}
	if err := firewall.Apply(ctx, want); err != nil {
		return "", fmt.Errorf("restore what was in force: %w", err)
	}
	if left > 0 {
		if err := firewall.Renew(ctx, left); err != nil {
			return "", fmt.Errorf("restore what was in force: %w", err)
		}
	}
	var said string
	if want.Isolation != nil {
		said = "This computer is isolated as before it was started"
		if left > 0 {
			said += fmt.Sprintf(", for %s unless the agent goes on with it", left.Round(time.Second))
		}
		said += "."
	}
	if want.Wall != nil {
		said += " Nobody but who is kept can connect to this computer, as before."
	}
	if len(want.Blocked) > 0 {
		said += " Blocked as before: " + platform.PortList(want.Blocked) + "."
	}
	return said, nil
}
