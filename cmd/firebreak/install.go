package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

func newInstall(e *env) *cobra.Command {
	var noStart bool
	c := &cobra.Command{
		Use:   "install",
		Short: "Set up and start the service; without a policy it only watches",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return e.install(c.Context(), noStart) },
	}
	c.Flags().BoolVar(&noStart, "no-start", false, "do not start it yet")
	return c
}

// install may be repeated: it then brings the service up to this program.
func (e *env) install(ctx context.Context, noStart bool) error {
	if !privileged() {
		return fmt.Errorf("install the service: %w", platform.ErrNotPermitted)
	}
	s, err := e.serviceHere()
	if err != nil {
		return err
	}
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if err := e.layOut(say); err != nil {
		return err
	}
	if err := replaceUnit(s, unitName); err != nil {
		return err
	}
	restore, err := e.installRestore(say)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	say("service %s runs %s, from now on at every start of this computer", unitName, program)
	if open := othersWrite(program); open != "" {
		say("WARNING: others than root may write %s: move the program to /usr/local/sbin and install again", open)
	}
	say("people in the group %s see details and approve; make it if you want it: groupadd -r %s", localapi.HelpdeskGroup, localapi.HelpdeskGroup)
	if !noStart {
		if err := e.startAndSee(ctx, s.Restart); err != nil {
			return err
		}
		say("the agent answers")
	}
	// From now on systemd takes it for done in this boot.
	if restore != nil {
		if err := restore.Start(); err != nil {
			return fmt.Errorf("start service %s: %w; see: journalctl -u %s", restoreName, err, restoreName)
		}
	}
	return e.done("installed", lines, "firebreak status")
}

// layOut makes the folders and, where there is no policy, the default one.
func (e *env) layOut(say func(string, ...any)) error {
	if err := os.MkdirAll(e.config, 0o755); err != nil {
		return fmt.Errorf("make configuration folder: %w", err)
	}
	if err := os.MkdirAll(e.state, 0o700); err != nil {
		return fmt.Errorf("make state folder: %w", err)
	}
	if err := os.Chmod(e.state, 0o700); err != nil {
		return fmt.Errorf("close state folder to others: %w", err)
	}
	f, err := os.OpenFile(e.policyFile(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		say("policy %s was there already and is as it was", e.policyFile())
		return nil
	}
	if err != nil {
		return fmt.Errorf("write default policy: %w", err)
	}
	_, err = f.Write(configs.DefaultFile)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write default policy: %w", err)
	}
	say("policy %s is the default one: it only watches (audit)", e.policyFile())
	return nil
}

// installRestore sets up the service that restores at boot, where it takes one;
// else it is nil.
func (e *env) installRestore(say func(string, ...any)) (service.Service, error) {
	s, err := e.restoreHere()
	if err != nil || s == nil {
		return nil, err
	}
	if err := replaceUnit(s, restoreName); err != nil {
		return nil, err
	}
	say("service %s puts blocks and isolation in force again at every start, before there is a network", restoreName)
	return s, nil
}

// replaceUnit sets a service up anew: kardianos/service refuses to write over a
// unit file. The old file is only moved aside, since a running service that
// systemd has no file of loses what is stored for it.
func replaceUnit(s service.Service, name string) error {
	there, _, err := installed(s)
	if err != nil {
		return fmt.Errorf("ask for service %s: %w", name, err)
	}
	file := filepath.Join(unitDir, name+".service")
	aside := file + ".old"
	err = os.Rename(file, aside)
	switch {
	case err == nil:
		if err := s.Install(); err != nil {
			return fmt.Errorf("replace service %s: %w", name, errors.Join(err, os.Rename(aside, file)))
		}
		return os.Remove(aside)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("replace service %s: %w", name, err)
	case there:
		if err := s.Uninstall(); err != nil {
			return fmt.Errorf("replace service %s: %w", name, err)
		}
	}
	if err := s.Install(); err != nil {
		return fmt.Errorf("install service %s: %w", name, err)
	}
	return nil
}

// answerTime is how long an agent may take until it answers.
const answerTime = 15 * time.Second

// startAndSee starts the service, by start, and waits until the agent answers.
func (e *env) startAndSee(ctx context.Context, start func() error) error {
	if err := start(); err != nil {
		return fmt.Errorf("start the service: %w; see: journalctl -u %s", err, unitName)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := e.agent().Status(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the service was started and does not answer: %w; see: journalctl -u %s", err, unitName)
		case <-tick.C:
		}
	}
}

// othersWrite returns the first part of the path that others than its owner may
// write, or "". A folder with the sticky bit keeps others from replacing files.
// Windows says nothing in these bits.
func othersWrite(path string) string {
	if runtime.GOOS == "windows" {
		return ""
	}
	for {
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return path
		}
		parent := filepath.Dir(path)
		if parent == path {
			return ""
		}
		path = parent
	}
}

// done prints what a command of the service has done.
func (e *env) done(verb string, lines []string, next string) error {
	reply := localapi.ServiceReply{Schema: localapi.Schema, Done: verb, Lines: lines}
	return e.show(reply, func(p *page) {
		p.verdict(good, "Firebreak is "+verb+".", "")
		for _, line := range lines {
			p.indented("  ", "", 0, line, 0)
		}
		if next != "" {
			p.row("Next", next, 0)
		}
	})
}
