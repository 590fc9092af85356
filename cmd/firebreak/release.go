package main

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"slices"
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

// How long a release by force waits for an agent: to say anything, and to do what
// it is told and prove it.
const (
	hangTime  = 3 * time.Second
	proofTime = 15 * time.Second
)

func newRelease(e *env) *cobra.Command {
	var o localapi.Order
	c := &cobra.Command{
		Use:   "release",
		Short: "Connect this computer again after isolation",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !o.Force {
				return e.give(c.Context(), agent.Release, o)
			}
			return e.releaseByForce(c.Context(), o)
		},
	}
	c.Flags().BoolVar(&o.Force, "force", false, "also while no agent runs, or one that hangs (as root)")
	c.Flags().StringVar(&o.Reason, "reason", "", "why, for the history")
	noWait(c, &o)
	return c
}

// releaseByForce has the agent release the computer, and does it in its place if
// it cannot.
func (e *env) releaseByForce(ctx context.Context, o localapi.Order) error {
	reply, err := e.orderSoon(ctx, o)
	switch {
	case err == nil && (reply.Done || o.NoWait):
		return e.show(reply, func(p *page) { replyScreen(p, reply) })
	case err != nil && !absent(err):
		return err
	case !privileged():
		return fmt.Errorf("release without an agent: %w", platform.ErrNotPermitted)
	}
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	running, err := e.putAside(ctx, err, say)
	if err != nil {
		return err
	}
	text, err := e.releaseAlone(ctx)
	if err != nil {
		return err
	}
	text += " " + e.startAgain(ctx, running)
	reply = localapi.Reply{Schema: localapi.Schema, Text: &text, Done: true, Lines: lines}
	return e.show(reply, func(p *page) { replyScreen(p, reply) })
}

// orderSoon gives the order to an agent that shows within hangTime that it lives.
func (e *env) orderSoon(ctx context.Context, o localapi.Order) (localapi.Reply, error) {
	if err := e.answers(ctx); err != nil {
		return localapi.Reply{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	return e.agent().Order(ctx, agent.Release, o)
}

// answers asks whether an agent is there and well: nil, ErrNotRunning, or that it
// did not answer in time.
func (e *env) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, hangTime)
	defer cancel()
	_, err := e.agent().Status(ctx)
	return err
}

// absent tells whether nothing can be had from an agent: there is none, or it
// hangs.
func absent(err error) bool {
	return errors.Is(err, localapi.ErrNotRunning) || errors.Is(err, context.DeadlineExceeded)
}

// putAside ends the service whose agent did not do what it was told, and with it
// what systemd keeps for it: whoever has that owns the firewall's tables. It tells
// whether the service was running.
func (e *env) putAside(ctx context.Context, why error, say func(string, ...any)) (running bool, err error) {
	switch {
	case errors.Is(why, context.DeadlineExceeded):
		say("the agent does not answer")
	case why == nil:
		say("the agent could not do it")
	}
	s, err := platform.FindService(ctx, unitName+".service")
	ours := err == nil && slices.Equal(s.Arguments, e.arguments("run"))
	if ours {
		killed, err := platform.EndService(ctx, unitName+".service", 0)
		switch {
		case err != nil:
			return false, err
		case killed && s.MainPID > 0:
			say("service %s was stopped and its process %d killed", unitName, s.MainPID)
		case s.Running:
			say("service %s was stopped", unitName)
		}
	}
	if err := e.alone(ctx); err != nil {
		return false, err
	}
	return ours && s.Running, nil
}

// alone fails if an agent is still there, and says which.
func (e *env) alone(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, hangTime)
	defer cancel()
	c, err := platform.DialLocal(ctx, e.socket)
	if errors.Is(err, platform.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer c.Close()
	agent, err := platform.CallerOf(c)
	if err != nil {
		return err
	}
	return fmt.Errorf("an agent that was not started as service %s is there, process %d: end it (sudo kill -9 %d) and repeat this",
		unitName, agent.PID, agent.PID)
}

// startAgain starts the service that was put aside, and says how things are now.
func (e *env) startAgain(ctx context.Context, running bool) string {
	if !running {
		return "No agent is running."
	}
	s, err := e.serviceHere()
	if err == nil {
		err = e.startAndSee(ctx, s.Start)
	}
	if err != nil {
		return "The agent could not be started again: " + err.Error() + "."
	}
	return "The agent was started again."
}

// releaseAlone connects the computer again without an agent: the network first,
// then the journal, so that the next agent does not isolate again at once. Blocks
// stay. It says what it did.
func (e *env) releaseAlone(ctx context.Context) (string, error) {
	host := e.host("")
	// What somebody altered cannot be read back; then nothing of it is kept.
	want, _ := host.Firewall.InForce(ctx)
	want.Isolation = nil
	if err := applyAlone(ctx, host.Firewall, want); err != nil {
		return "", fmt.Errorf("release the network: %w", err)
	}
	left, err := host.Firewall.InForce(ctx)
	if err != nil || left.Isolation != nil {
		return "", errors.Join(errors.New("the network is NOT released: sudo firebreak uninstall takes everything away"), err)
	}
	text := "The network of this computer is normal again."
	if err := e.recordRelease(); err != nil {
		text += " It could not be written down, so the next agent may isolate again: " + err.Error() + "."
	}
	if err := takeBannerDown(ctx, host); err != nil {
		text += " The login banner still says something else: " + err.Error() + "."
	}
	return text, nil
}

// applyAlone changes what is in force after the agent was stopped. The service
// manager closes what it kept for the agent some time after it has said that the
// service is stopped: until then the tables are another's.
func applyAlone(ctx context.Context, firewall platform.Firewall, want platform.Restrictions) error {
	const pause = 50 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, hangTime)
	defer cancel()
	for {
		err := firewall.Apply(ctx, want)
		if !errors.Is(err, platform.ErrNotPermitted) || !privileged() {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// takeBannerDown takes away what people are told when they log in to an isolated
// computer.
func takeBannerDown(ctx context.Context, host *platform.Host) error {
	if err := host.Notifier.Banner(ctx, ""); err != nil && !errors.Is(err, platform.ErrUnsupported) {
		return err
	}
	return nil
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
