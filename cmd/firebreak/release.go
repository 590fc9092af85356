package main

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

// heldOff is for how long an agent that starts after a release without one does
// not isolate by itself: as long as after any other release.
const heldOff = 4 * time.Hour

func newRelease(e *env) *cobra.Command {
	var o localapi.Order
	c := &cobra.Command{
		Use:   "release",
		Short: "Connect this computer again after isolation",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			err := e.give(c.Context(), agent.Release, o)
			if o.Force && errors.Is(err, localapi.ErrNotRunning) {
				return e.releaseAlone(c.Context())
			}
			return err
		},
	}
	c.Flags().BoolVar(&o.Force, "force", false, "also while no agent is running (as root)")
	c.Flags().StringVar(&o.Reason, "reason", "", "why, for the history")
	noWait(c, &o)
	return c
}

// releaseAlone connects the computer again without an agent: the network first,
// then the journal, so that the next agent does not isolate again at once. Blocks
// stay.
func (e *env) releaseAlone(ctx context.Context) error {
	if !privileged() {
		return fmt.Errorf("release without an agent: %w", platform.ErrNotPermitted)
	}
	firewall := e.host("").Firewall
	// What somebody altered cannot be read back; then nothing of it is kept.
	want, _ := firewall.InForce(ctx)
	want.Isolation = nil
	if err := firewall.Apply(ctx, want); err != nil {
		return fmt.Errorf("release the network: %w", err)
	}
	left, err := firewall.InForce(ctx)
	if err != nil || left.Isolation != nil {
		return errors.Join(errors.New("the network is NOT released: sudo firebreak uninstall takes everything away"), err)
	}
	text := "The network of this computer is normal again. No agent is running."
	if err := e.recordRelease(); err != nil {
		text += " It could not be written down, so the next agent may isolate again: " + err.Error()
	}
	reply := localapi.Reply{Schema: localapi.Schema, Text: &text, Done: true, Lines: []string{}}
	return e.show(reply, func(p *page) { replyScreen(p, reply) })
}

// recordRelease writes the release down for the next agent.
func (e *env) recordRelease() (err error) {
	j, err := journal.Open(e.journalFile(), journal.DefaultLimits())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	kept, err := j.Contents()
	if err != nil {
		return err
	}
	by := "root"
	if u, err := user.Current(); err == nil {
		by = u.Username
	}
	now := time.Now()
	kept.State.Isolation, kept.State.Restrictions.Isolation = nil, nil
	kept.State.IsolationHoldOff = &threat.HoldOff{Reason: "released by " + by, By: by, Until: now.Add(heldOff)}
	return j.Record(journal.Batch{State: &kept.State, Entries: []journal.Entry{{
		At: now, Kind: "order", Action: "isolate-host", By: by, Text: "release, without an agent",
	}}})
}
