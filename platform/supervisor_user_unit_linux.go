package platform

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
)

// userUnits are the services of users' own service managers. One is masked, which
// wins over whatever enables it, and stopped; nothing else of the user's files is
// touched.
type userUnits struct{}

const (
	// keyUnits is the key under which a Program holds the names of its units,
	// triggers before what they start. The ActiveState of each is under its name.
	keyUnits = "units"
	// keyNeeded holds the active units that stop along with them.
	keyNeeded = "needed by"
	// keyMade holds the topmost folder that is made for masks.
	keyMade = "folder made"
	// managerPatience is how long a user's service manager has for a question.
	managerPatience = 10 * time.Second
	// maxUnitFile is how large the file of a transient unit may be.
	maxUnitFile = 64 << 10
)

func noLinks(...string) ([]Link, error) { return nil, nil }

func (userUnits) find(ctx context.Context, l Listener) ([]Program, error) {
	if l.Owner.UserUnit == "" || filepath.Ext(l.Owner.UserUnit) == ".scope" && l.Owner.UserUnit != "init.scope" {
		return nil, nil // a program of the desktop: nothing starts it again
	}
	ctx, cancel := context.WithTimeout(ctx, managerPatience)
	defer cancel()
	m, err := managerOf(ProcessID{PID: l.Owner.PID, Start: l.Owner.Start})
	if errors.Is(err, ErrGone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	conn, err := m.connect(ctx)
	if errors.Is(err, ErrGone) { // its user took the socket away: it is ended as any process
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	name := l.Owner.UserUnit
	if name == "init.scope" {
		if name, err = socketUnitAt(ctx, conn, l); err != nil || name == "" {
			return nil, err
		}
	}
	look := unitLook{conn: conn, links: noLinks}
	if err := look.add(ctx, name); err != nil || len(look.found) == 0 {
		return nil, err
	}
	addTriggered(ctx, &look)
	p, err := m.program(look.found, name, l.Owner.User)
	if err != nil {
		return nil, err
	}
	control, err := controlDir(conn)
	if err != nil {
		return nil, err
	}
	err = m.do(ctx, func() error { return p.plan(look.found, control) })
	return []Program{p}, err
}

// addTriggered adds the services that the socket units of a look start: one would
// keep the socket that it was handed.
func addTriggered(ctx context.Context, look *unitLook) {
	for _, u := range slices.Clone(look.found) {
		for _, name := range u.Triggers {
			if filepath.Ext(u.Name) == ".socket" {
				_ = look.add(ctx, name) // what cannot be read does not run
			}
		}
	}
}

// socketUnitAt returns the socket unit that listens there for the service
// manager; "" if there is none.
func socketUnitAt(ctx context.Context, conn *dbus.Conn, l Listener) (string, error) {
	units, err := socketUnitsOf(ctx, conn)
	if err != nil {
		return "", err
	}
	return (&socketUnits{units: units}).unit(&l), nil
}

// program describes units that are closed together, on account of the named one.
func (m userManager) program(units []Unit, name, user string) (Program, error) {
	p := Program{
		Kind: "user-unit", Name: name, User: user, Title: fmt.Sprintf("%s of user %s", name, user), Where: m.socket(),
		State: map[string]string{},
	}
	var names, needed []string
	for _, u := range units {
		if u.Name != printable(u.Name) || strings.ContainsAny(u.Name, "/ ") {
			return Program{}, fmt.Errorf("the service manager of user %s tells of a unit that cannot be: %w", user, ErrUnsupported)
		}
		names = append(names, u.Name)
		needed = append(needed, u.RequiredBy...)
		if u.Name == name && u.Description != "" && u.Description != name {
			p.Title = fmt.Sprintf("%s (%s) of user %s", printable(u.Description), name, user)
		}
	}
	needed = slices.DeleteFunc(needed, func(n string) bool { return slices.Contains(names, n) })
	p.State[keyUnits], p.State[keyNeeded] = strings.Join(names, " "), strings.Join(needed, " ")
	return p, m.tell(&p, units)
}

// tell fills in what units do now.
func (m userManager) tell(p *Program, units []Unit) error {
	p.PIDs, p.Kept = nil, false
	for _, u := range units {
		p.State[u.Name] = u.Active
		p.Kept = p.Kept || running(u.Active) || !maskedForNow(u) && !isTransient(u)
	}
	for _, name := range p.units() {
		pids, err := m.processes(name)
		if err != nil {
			return err
		}
		p.PIDs = append(p.PIDs, pids...)
	}
	slices.Sort(p.PIDs)
	return nil
}

func (p Program) units() []string { return strings.Fields(p.State[keyUnits]) }

func maskedForNow(u Unit) bool { return u.File == "masked" || u.File == "masked-runtime" }

func (userUnits) inspect(ctx context.Context, p Program) (Program, error) {
	ctx, cancel := context.WithTimeout(ctx, managerPatience)
	defer cancel()
	m, err := managerAt(p)
	if err != nil {
		return Program{}, err
	}
	conn, err := m.connect(ctx)
	if errors.Is(err, ErrGone) { // its user is logged out
		err = m.tell(&p, nil)
		masked := false
		err = errors.Join(err, m.do(ctx, func() error { masked = p.changedFile() == nil && p.allMasked(); return nil }))
		p.Kept = !masked
		return p, err
	}
	if err != nil {
		return Program{}, err
	}
	defer conn.Close()
	var units []Unit
	for _, name := range p.units() {
		u, err := readUnit(ctx, conn, noLinks, name)
		if err != nil && !errors.Is(err, ErrGone) {
			return Program{}, err
		}
		if err == nil {
			units = append(units, u)
		}
	}
	p.State = maps.Clone(p.State)
	return p, m.tell(&p, units)
}

// managerAt returns the service manager that a program was found at.
func managerAt(p Program) (userManager, error) {
	var m userManager
	if n, err := fmt.Sscanf(p.Where, "/run/user/%d/systemd/private", &m.uid); n != 1 || err != nil {
		return m, fmt.Errorf("%s: %s is no service manager of a user", p.Name, p.Where)
	}
	return m, nil
}

// close masks the units and stops them, in that order, so that nothing starts one
// meanwhile.
func (userUnits) close(ctx context.Context, p Program) error {
	m, err := managerAt(p)
	if err != nil {
		return err
	}
	if err := m.do(ctx, p.mask); err != nil {
		return err
	}
	FaultPoint("user-units.masked")
	conn, err := m.connect(ctx)
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	return stopForGood(ctx, conn, p.units())
}

func (userUnits) restore(ctx context.Context, p Program) error {
	m, err := managerAt(p)
	if err != nil {
		return err
	}
	if err := m.do(ctx, p.putBack); err != nil {
		return err
	}
	FaultPoint("user-units.unmasked")
	conn, err := m.connect(ctx)
	if errors.Is(err, ErrGone) {
		return p.whileLoggedOut()
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := reload(ctx, conn); err != nil {
		return err
	}
	for _, name := range append(p.units(), strings.Fields(p.State[keyNeeded])...) {
		if was, ours := p.State[name]; ours && !running(was) {
			continue
		}
		if err := job(ctx, name, "start", conn.StartUnitContext); err != nil {
			return err
		}
	}
	return nil
}

// whileLoggedOut is what is left of restoring units whose user is logged out:
// nothing for those that start by themselves at the next login.
func (p Program) whileLoggedOut() error {
	if slices.ContainsFunc(p.Files, func(f FileState) bool { return !f.Absent }) {
		return fmt.Errorf("%s: user %s is logged out, and has to start it again: %w", p.Name, p.User, ErrUnsupported)
	}
	return nil
}
