package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/platform"
)

func newUninstall(e *env) *cobra.Command {
	var purge bool
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Stop the agent, release all that is in force, remove the service",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return e.uninstall(c.Context(), purge) },
	}
	c.Flags().BoolVar(&purge, "purge", false, "also delete the journal and the evidence")
	return c
}

func (e *env) uninstall(ctx context.Context, purge bool) error {
	if !privileged() {
		return fmt.Errorf("remove the service: %w", platform.ErrNotPermitted)
	}
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	services, err := e.services()
	if err != nil {
		return err
	}
	if err := e.stopServices(ctx, services, say); err != nil {
		return err
	}
	if err := e.alone(ctx); err != nil {
		return fmt.Errorf("what is in force would be put in force again: %w", err)
	}
	if err := e.releaseAll(ctx, say); err != nil {
		return err
	}
	if err := removeServices(services, say); err != nil {
		return err
	}
	e.tellWhatStays(say)
	if !purge {
		say("kept: the policy in %s, the journal and the evidence in %s (--purge deletes the latter)", e.config, e.state)
		return e.done("uninstalled", lines, "")
	}
	if _, err := os.Stat(e.journalFile()); err != nil {
		say("nothing was deleted: %s holds no journal", e.state)
		return e.done("uninstalled", lines, "")
	}
	if err := os.RemoveAll(e.state); err != nil {
		return fmt.Errorf("delete state folder: %w", err)
	}
	say("deleted: the journal and the evidence in %s; kept: the policy in %s", e.state, e.config)
	return e.done("uninstalled", lines, "")
}

// ownService is one of the services that install sets up.
type ownService struct {
	service.Service
	name string
}

// services are those that are set up here; none where there is no service
// manager.
func (e *env) services() ([]ownService, error) {
	agent, err := e.serviceHere()
	if errors.Is(err, errNoManager) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	restore, err := e.restoreHere()
	if err != nil {
		return nil, err
	}
	var found []ownService
	for _, s := range []ownService{{agent, unitName}, {restore, restoreName}} {
		if s.Service == nil {
			continue
		}
		there, _, err := installed(s)
		if err != nil {
			return nil, fmt.Errorf("ask for service %s: %w", s.name, err)
		}
		if there {
			found = append(found, s)
		}
	}
	return found, nil
}

// stopServices stops the services, so that nothing is put in force again. An
// agent that hangs is killed.
func (e *env) stopServices(ctx context.Context, services []ownService, say func(string, ...any)) error {
	if len(services) == 0 {
		say("the service was not installed")
	}
	for _, s := range services {
		_, running, err := installed(s)
		if err != nil {
			return fmt.Errorf("ask for service %s: %w", s.name, err)
		}
		killed, err := platform.EndService(ctx, s.name+".service", hangTime)
		if errors.Is(err, platform.ErrUnsupported) && running {
			err = s.Stop()
		}
		switch {
		case err != nil && !errors.Is(err, platform.ErrUnsupported):
			return fmt.Errorf("stop the service: %w", err)
		case killed:
			say("the agent did not stop within %s, and was killed", hangTime)
		case running && s.name == unitName:
			say("the agent was stopped")
		}
	}
	return nil
}

// removeServices takes the services away: last, so that a release that failed can
// be tried again.
func removeServices(services []ownService, say func(string, ...any)) error {
	for _, s := range services {
		if err := s.Uninstall(); err != nil {
			return fmt.Errorf("remove service %s: %w", s.name, err)
		}
		say("service %s was removed", s.name)
	}
	return nil
}

// releaseAll takes every block and isolation away, and reads back that none is
// left.
func (e *env) releaseAll(ctx context.Context, say func(string, ...any)) error {
	host := e.host("")
	if err := letBind(ctx, host, say); err != nil {
		return err
	}
	firewall := host.Firewall
	before, _ := firewall.InForce(ctx) // only to say what was released
	err := applyAlone(ctx, firewall, platform.Restrictions{})
	if errors.Is(err, platform.ErrUnsupported) {
		say("there is no firewall here that the agent could have used")
		return nil
	}
	if err != nil {
		return fmt.Errorf("release the network: %w", err)
	}
	left, err := firewall.InForce(ctx)
	if err != nil {
		return fmt.Errorf("see that the network is released: %w", err)
	}
	if !left.Zero() {
		return errors.New("something is still in force after the release: nft list ruleset shows it")
	}
	if before.Isolation != nil {
		say("released: the isolation of this computer")
	}
	if before.Wall != nil {
		say("released: the wall around this computer")
	}
	if len(before.Blocked) > 0 {
		say("released: %s", platform.PortList(before.Blocked))
	}
	say("nothing of Firebreak is left in the firewall")
	if err := takeBannerDown(ctx, host); err != nil {
		return err
	}
	if before.Isolation != nil {
		say("removed: the login banner that told of the isolation")
	}
	return nil
}

// letBind lets programs open ports again, and reads back that they may.
func letBind(ctx context.Context, host *platform.Host, say func(string, ...any)) error {
	before, _ := host.Binds.Denied(ctx) // only to say what was released
	if err := host.Binds.Deny(ctx, nil); err != nil {
		return err
	}
	left, err := host.Binds.Denied(ctx)
	if err != nil {
		return fmt.Errorf("see that programs may open ports again: %w", err)
	}
	if len(left) > 0 {
		return errors.New("programs are still kept from opening ports after the release")
	}
	var ports []platform.PortRule
	for _, r := range before {
		ports = append(ports, r.PortRule)
	}
	if len(ports) > 0 {
		say("released: programs may open %s again", platform.PortList(ports))
	}
	return nil
}

// tellWhatStays names what the agent closed and nobody has undone: uninstalling
// does not open again what was closed for a reason.
func (e *env) tellWhatStays(say func(string, ...any)) {
	j, err := journal.OpenReadOnly(e.journalFile())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		say("the journal could not be read (%v), so what was closed is not listed", err)
		return
	}
	kept, err := j.Contents()
	if err = errors.Join(err, j.Close()); err != nil {
		say("the journal could not be read (%v), so what was closed is not listed", err)
		return
	}
	for _, i := range kept.Intents {
		if i.Kind == "remediation" && !i.Undone {
			say("stays as it is: %s for %s (to put it back: install, then firebreak undo %s)", i.Action, i.Threat, i.Threat)
		}
	}
}
