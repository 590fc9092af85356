package platform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// Close masks, stops and disables, in that order: while the mask is there a Restore
// knows that what it finds is the agent's doing. systemd is told of the masks only
// when the units have stopped: it forgets with the unit file how a unit is to be
// stopped (ExecStop=, KillSignal=, TimeoutStopSec=).
func (s systemd) Close(ctx context.Context, units []Unit) error {
	if err := mayChange(); err != nil {
		return err
	}
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := s.maskAll(units); err != nil {
		return err
	}
	var names []string
	for _, u := range units {
		names = append(names, u.Name)
	}
	if err := stopForGood(ctx, conn, names); err != nil {
		return err
	}
	return s.disableAll(ctx, conn, units)
}

func mayChange() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("change services: only root may: %w", ErrNotPermitted)
	}
	return nil
}

// maskAll masks every unit that is not masked yet. A transient unit is left
// out: nothing pulls it in, and when one that is masked goes away, systemd 252
// removes the mask and leaves the unit file.
func (s systemd) maskAll(units []Unit) error {
	for _, u := range units {
		if masked(u) || transient(u) {
			continue
		}
		l, err := s.tree.mask(u)
		if err != nil {
			return err
		}
		if err := s.tree.put(l); err != nil {
			return fmt.Errorf("mask %s: %w", u.Name, err)
		}
	}
	FaultPoint("services.masked")
	return nil
}

// disableAll removes the links that enable or alias the units. Masks stay, and
// so does every link of a unit that was masked before: without a mask of its own
// the agent could not tell later who removed them.
func (s systemd) disableAll(ctx context.Context, conn *dbus.Conn, units []Unit) error {
	for _, u := range units {
		for _, l := range u.Links {
			if masked(u) || l.Target == maskTarget {
				continue
			}
			if err := s.tree.drop(l); err != nil {
				return fmt.Errorf("disable %s: %w", u.Name, err)
			}
			FaultPoint("services.disabled")
		}
	}
	return reload(ctx, conn)
}

// Restore looks at every unit first, and leaves alone those that are neither as
// Close leaves them nor as they were.
func (s systemd) Restore(ctx context.Context, units []Unit) error {
	if err := mayChange(); err != nil {
		return err
	}
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var ours []Unit
	var left error
	for _, u := range units {
		if err := s.relink(u); err != nil {
			left = errors.Join(left, fmt.Errorf("restore %w", err))
			continue
		}
		ours = append(ours, u)
	}
	FaultPoint("services.unmasked")
	if err := reload(ctx, conn); err != nil {
		return errors.Join(left, err)
	}
	for _, u := range ours {
		if err := s.reactivate(ctx, conn, u); err != nil {
			left = errors.Join(left, fmt.Errorf("restore %w", err))
		}
	}
	return left
}

// relink puts the unit's links back and takes the agent's mask away, the mask
// last.
func (s systemd) relink(u Unit) error {
	if transient(u) {
		return s.rewrite(u)
	}
	aliases := []string{u.Name}
	for _, l := range u.Links {
		aliases = append(aliases, filepath.Base(l.Path))
	}
	links, err := s.tree.links(aliases...)
	if err != nil {
		return fmt.Errorf("%s: %w", u.Name, err)
	}
	masks, missing, err := asClosed(u, Unit{Name: u.Name, Links: links})
	if err != nil {
		return err
	}
	if err := s.stillInstalled(u); err != nil {
		return err
	}
	for _, l := range missing {
		if err := s.tree.put(l); err != nil {
			return fmt.Errorf("%s: %w", u.Name, err)
		}
	}
	FaultPoint("services.relinked")
	for _, l := range masks {
		if err := s.tree.drop(l); err != nil {
			return fmt.Errorf("%s: %w", u.Name, err)
		}
	}
	return nil
}

// stillInstalled fails if the unit's file is gone, such as by removing its
// package: links to it would point nowhere. Files that a generator makes come
// back with the reload.
func (s systemd) stillInstalled(u Unit) error {
	if u.Fragment == "" || strings.HasPrefix(u.Fragment, "/run/systemd/generator") {
		return nil
	}
	if _, err := os.Stat(s.tree.root + u.Fragment); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: its unit file %s is %w", u.Name, u.Fragment, ErrGone)
	}
	return nil
}

// transientEscapes takes back what systemd 252 writes into the file of a
// transient unit as for a shell, and does not itself understand there.
var transientEscapes = strings.NewReplacer(`\\`, `\\`, `\$`, `$`, "\\`", "`")

// rewrite puts the file of a transient unit back, unless it is still there.
func (s systemd) rewrite(u Unit) error {
	f, err := os.OpenFile(s.tree.root+u.Fragment, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: write transient unit: %w", u.Name, err)
	}
	_, err = transientEscapes.WriteString(f, u.Text)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("%s: write transient unit: %w", u.Name, err)
	}
	return nil
}

// reactivate starts the unit if it ran. A socket unit cannot take its port while
// the service it starts is running, so such a service is stopped first; it is
// started again in its own turn.
func (s systemd) reactivate(ctx context.Context, conn *dbus.Conn, u Unit) error {
	now, err := readUnit(ctx, conn, s.tree.links, u.Name)
	if err != nil {
		return err
	}
	if now.Active == "failed" && u.Active != "failed" {
		if err := conn.ResetFailedUnitContext(ctx, u.Name); err != nil {
			return fmt.Errorf("%s: forget failure: %w", u.Name, err)
		}
	}
	if !running(u.Active) || running(now.Active) {
		return nil
	}
	if masked(u) {
		return fmt.Errorf("%s: it ran although it was masked; systemd starts no masked unit, so unmask and start it by hand", u.Name)
	}
	if filepath.Ext(u.Name) == ".socket" {
		for _, service := range now.Triggers {
			if err := stopUnit(ctx, conn, service); err != nil {
				return err
			}
		}
	}
	return job(ctx, u.Name, "start", conn.StartUnitContext)
}

// job has systemd do something to a unit and waits until it is done, or ctx
// ends; systemd itself goes on with it then.
func job(ctx context.Context, name, verb string, do func(context.Context, string, string, chan<- string) (int, error)) error {
	done := make(chan string, 1)
	if _, err := do(ctx, name, "replace", done); err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	select {
	case result := <-done:
		if result != "done" && result != "skipped" {
			return fmt.Errorf("%s %s: systemd says: %s", verb, name, result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s %s: systemd was not done in time: %w", verb, name, ctx.Err())
	}
}

// isNoSuchUnit tells whether systemd knows nothing of a unit: nothing of it runs.
func isNoSuchUnit(err error) bool {
	var e godbus.Error
	return errors.As(err, &e) && e.Name == "org.freedesktop.systemd1.NoSuchUnit"
}

func reload(ctx context.Context, conn *dbus.Conn) error {
	if err := conn.ReloadContext(ctx); err != nil {
		return fmt.Errorf("reload service manager: %w", err)
	}
	return nil
}
