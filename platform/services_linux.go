package platform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
)

// systemd is the service manager of most Linux hosts, spoken to over D-Bus.
type systemd struct{ tree unitTree }

func newServices() Services { return systemd{} }

// connect opens a connection for one task; an idle agent holds none. Root talks
// to systemd itself, so that a broken D-Bus daemon is no obstacle.
func (systemd) connect(ctx context.Context) (*dbus.Conn, error) {
	if _, err := os.Stat("/run/systemd/system"); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("ask service manager: systemd does not run here: %w", ErrUnsupported)
	}
	open := dbus.NewSystemConnectionContext
	if os.Geteuid() == 0 {
		open = dbus.NewSystemdConnectionContext
	}
	conn, err := open(ctx)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("ask service manager: %w", ErrNotPermitted)
	case err != nil:
		return nil, fmt.Errorf("ask service manager: systemd does not answer (%v): %w", err, ErrUnsupported)
	}
	return conn, nil
}

func (s systemd) Inspect(ctx context.Context, names ...string) ([]Unit, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	look := unitLook{conn: conn, links: s.tree.links}
	for _, name := range names {
		if err := look.add(ctx, name); err != nil {
			return nil, err
		}
	}
	return look.found, nil
}

// unitLook is one reading of several units that belong together.
type unitLook struct {
	conn  *dbus.Conn
	links func(names ...string) ([]Link, error)
	found []Unit
	seen  []string
}

// add reads the unit, after the units that can start it.
func (k *unitLook) add(ctx context.Context, name string) error {
	if slices.Contains(k.seen, name) {
		return nil
	}
	k.seen = append(k.seen, name)
	u, err := readUnit(ctx, k.conn, k.links, name)
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	k.seen = append(k.seen, u.Name)
	for _, trigger := range u.TriggeredBy {
		if err := k.add(ctx, trigger); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(k.found, func(f Unit) bool { return f.Name == u.Name }) {
		return nil
	}
	if perConnection, err := k.perConnection(ctx, u); err != nil || perConnection {
		return err
	}
	k.found = append(k.found, u)
	return nil
}

// perConnection tells whether the unit serves a single connection that a socket
// unit accepted for it. It is stopped with the socket unit, and there is nothing
// of it to disable or to bring back.
func (k *unitLook) perConnection(ctx context.Context, u Unit) (bool, error) {
	if !strings.Contains(u.Name, "@") {
		return false, nil
	}
	for _, trigger := range u.TriggeredBy {
		if accepts, err := acceptsItself(ctx, k.conn, trigger); err != nil || accepts {
			return accepts, err
		}
	}
	return false, nil
}

// acceptsItself tells whether the unit is a socket unit with Accept=yes: one
// that starts a service for every connection.
func acceptsItself(ctx context.Context, conn *dbus.Conn, name string) (bool, error) {
	if filepath.Ext(name) != ".socket" {
		return false, nil
	}
	p, err := conn.GetUnitTypePropertyContext(ctx, name, "Socket", "Accept")
	if err != nil {
		return false, fmt.Errorf("ask systemd for %s: %w", name, err)
	}
	accept, _ := p.Value.Value().(bool)
	return accept, nil
}

// readUnit reads one unit from systemd, and its links with links. It returns
// ErrGone for a unit that does not exist.
func readUnit(ctx context.Context, conn *dbus.Conn, links func(...string) ([]Link, error), name string) (Unit, error) {
	props, err := conn.GetUnitPropertiesContext(ctx, name)
	if err != nil {
		return Unit{}, fmt.Errorf("ask systemd for %s: %w", name, err)
	}
	text := func(key string) string { s, _ := props[key].(string); return s }
	list := func(key string) []string { l, _ := props[key].([]string); slices.Sort(l); return l }
	if text("LoadState") == "not-found" && text("ActiveState") == "inactive" {
		return Unit{}, fmt.Errorf("find %s: %w", name, ErrGone)
	}
	u := Unit{
		Name: text("Id"), Active: text("ActiveState"), Sub: text("SubState"), File: text("UnitFileState"),
		TriggeredBy: list("TriggeredBy"), Triggers: list("Triggers"),
		Description: text("Description"), Fragment: text("FragmentPath"),
		DropIns: list("DropInPaths"),
	}
	aliases := slices.DeleteFunc(list("Names"), func(n string) bool { return n == u.Name })
	if u.Links, err = links(append([]string{u.Name}, aliases...)...); err != nil {
		return Unit{}, err
	}
	if filepath.Ext(u.Name) == ".service" {
		p, err := conn.GetServicePropertyContext(ctx, u.Name, "MainPID")
		if err != nil {
			return Unit{}, fmt.Errorf("ask systemd for main process of %s: %w", u.Name, err)
		}
		pid, _ := p.Value.Value().(uint32)
		u.MainPID = int(pid)
	}
	if transient(u) {
		data, err := os.ReadFile(u.Fragment)
		if err != nil {
			return Unit{}, fmt.Errorf("read transient unit %s: %w", u.Name, err)
		}
		u.Text = string(data)
	}
	u.RequiredBy, err = activeOf(ctx, conn, slices.Concat(list("RequiredBy"), list("BoundBy"), list("ConsistsOf")))
	return u, err
}

// activeOf returns those of the named units that are active, each once.
func activeOf(ctx context.Context, conn *dbus.Conn, names []string) ([]string, error) {
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return nil, nil
	}
	units, err := conn.ListUnitsByNamesContext(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("ask systemd for dependents: %w", err)
	}
	var active []string
	for _, u := range units {
		if running(u.ActiveState) {
			active = append(active, u.Name)
		}
	}
	return active, nil
}
