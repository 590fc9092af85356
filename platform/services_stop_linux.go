package platform

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"
)

// stopPatience is how long units have to stop by their own means, a little longer
// than systemd gives one that does not say how long it needs.
const stopPatience = 95 * time.Second

// stopForGood stops units that are masked on disk, and kills what does not stop.
// What was started again until the service manager heard of the masks is stopped
// once more.
func stopForGood(ctx context.Context, conn *dbus.Conn, names []string) error {
	if err := stopAll(ctx, conn, names, stopPatience); err != nil {
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
		for _, name := range names {
			killUnit(ctx, conn, name)
		}
	}
	if err := reload(ctx, conn); err != nil {
		return err
	}
	if err := stopAll(ctx, conn, names, stopPatience); err != nil {
		return err
	}
	// What a unit leaves running when it stops (KillMode=process, old init
	// scripts) may hold the port.
	for _, name := range names {
		killUnit(ctx, conn, name)
	}
	return nil
}

// killUnit kills what runs of a unit. That fails where nothing does; whether
// something is left is for the look afterwards to say.
func killUnit(ctx context.Context, conn *dbus.Conn, name string) {
	_ = conn.KillUnitWithTarget(ctx, name, dbus.All, int32(unix.SIGKILL))
}

func stopAll(ctx context.Context, conn *dbus.Conn, names []string, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, name := range names {
		if err := stopUnit(ctx, conn, name); err != nil {
			return err
		}
		FaultPoint("services.stopped")
	}
	return nil
}

// stopUnit stops the unit and waits until it is stopped; a socket unit with all
// the services it started, one for each connection.
func stopUnit(ctx context.Context, conn *dbus.Conn, name string) error {
	sessions, err := connectionsOf(ctx, conn, name)
	if err != nil {
		return err
	}
	for _, n := range append([]string{name}, sessions...) {
		err := job(ctx, n, "stop", conn.StopUnitContext)
		if err != nil && !isNoSuchUnit(err) {
			return err
		}
	}
	return nil
}

// connectionsOf returns the running services that a socket unit started, one
// for each connection it accepted.
func connectionsOf(ctx context.Context, conn *dbus.Conn, socket string) ([]string, error) {
	accepts, err := acceptsItself(ctx, conn, socket)
	if err != nil || !accepts {
		return nil, err
	}
	pattern := strings.TrimSuffix(socket, ".socket") + "@*.service"
	units, err := conn.ListUnitsByPatternsContext(ctx, []string{"active", "activating", "deactivating"}, []string{pattern})
	if err != nil {
		return nil, fmt.Errorf("ask systemd for connections of %s: %w", socket, err)
	}
	var names []string
	for _, u := range units {
		p, err := conn.GetUnitPropertyContext(ctx, u.Name, "TriggeredBy")
		if err != nil {
			return nil, fmt.Errorf("ask systemd for %s: %w", u.Name, err)
		}
		if triggers, _ := p.Value.Value().([]string); slices.Contains(triggers, socket) {
			names = append(names, u.Name)
		}
	}
	return names, nil
}
