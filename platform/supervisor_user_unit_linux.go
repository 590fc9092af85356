package platform

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"
)

// userUnits are the services of users' own service managers. One is masked, which
// wins over whatever enables it, and stopped; nothing else of the user's files is
// touched.
type userUnits struct{}

const (
	// stateActive is the key under which a Program holds the ActiveState.
	stateActive = "active"
	// stateNeeded holds the units that stop along with it.
	stateNeeded = "needed by"
	// stateMade holds the topmost folder that is made for the mask.
	stateMade = "folder made"
	// managerPatience is how long a user's service manager has for a question.
	managerPatience = 10 * time.Second
	// maxUnitFile is how large the file of a transient unit may be.
	maxUnitFile = 64 << 10
)

func noLinks(...string) ([]Link, error) { return nil, nil }

func (s userUnits) find(ctx context.Context, l Listener) ([]Program, error) {
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
	if err := look.add(ctx, name); err != nil {
		return nil, err
	}
	var programs []Program
	for _, u := range s.withTriggered(ctx, &look) {
		p, err := m.program(ctx, conn, u, l.Owner.User)
		if err != nil {
			return nil, err
		}
		programs = append(programs, p)
	}
	return programs, nil
}

// withTriggered returns the units of a look, and after them those that its socket
// units start: such a service would keep the socket that it was handed.
func (userUnits) withTriggered(ctx context.Context, look *unitLook) []Unit {
	for _, u := range slices.Clone(look.found) {
		for _, name := range u.Triggers {
			if filepath.Ext(u.Name) == ".socket" {
				// What cannot be read is no unit that runs.
				_ = look.add(ctx, name)
			}
		}
	}
	return look.found
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

// program describes a unit, and what closing it will change.
func (m userManager) program(ctx context.Context, conn *dbus.Conn, u Unit, user string) (Program, error) {
	if u.Name != printable(u.Name) || strings.Contains(u.Name, "/") {
		return Program{}, fmt.Errorf("the service manager of user %s tells of a unit that cannot be: %w", user, ErrUnsupported)
	}
	p := Program{
		Kind: "user-unit", Name: u.Name, User: user, Title: fmt.Sprintf("%s of user %s", u.Name, user), Where: m.socket(),
		State: map[string]string{stateActive: u.Active, stateNeeded: strings.Join(u.RequiredBy, " ")},
		Kept:  u.File != "masked" && u.File != "masked-runtime",
	}
	if u.Description != "" && u.Description != u.Name {
		p.Title = fmt.Sprintf("%s (%s) of user %s", printable(u.Description), u.Name, user)
	}
	var err error
	if p.PIDs, err = m.processes(u.Name); err != nil || !p.Kept {
		return p, err
	}
	control, err := controlDir(conn)
	if err != nil {
		return p, err
	}
	return p, m.do(ctx, func() error { return p.plan(u, control) })
}

// plan notes the files that closing changes. It runs with the rights of the user.
func (p *Program) plan(u Unit, control string) error {
	if filepath.Base(filepath.Dir(u.Fragment)) == "transient" {
		f, err := readTransient(u.Fragment)
		p.Files = []FileState{f}
		return err
	}
	// Where systemctl --user mask puts its link, and unmask looks for it; or
	// where it wins over the unit's own file.
	dir := filepath.Join(filepath.Dir(control), "user")
	if _, err := os.Lstat(filepath.Join(dir, u.Name)); err == nil || strings.HasPrefix(u.Fragment, "/run/") {
		dir = control
	}
	mask := filepath.Join(dir, u.Name)
	if _, err := os.Lstat(mask); err == nil {
		return fmt.Errorf("mask %s: its own file stands in %s, where nothing wins over it: %w", u.Name, dir, ErrUnsupported)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		p.State[stateMade] = dir
	}
	p.Files = []FileState{{Path: mask, Absent: true, Closed: hashOf(maskTarget)}}
	return nil
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// readTransient reads the file of a unit that goes away when the unit stops.
func readTransient(path string) (FileState, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return FileState{}, fmt.Errorf("read transient unit: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxUnitFile+1))
	if err == nil && len(data) > maxUnitFile {
		err = errors.New("too large")
	}
	var s unix.Stat_t
	if err == nil {
		err = unix.Fstat(int(f.Fd()), &s)
	}
	if err != nil {
		return FileState{}, fmt.Errorf("read transient unit: %w", err)
	}
	return FileState{Path: path, Mode: s.Mode, UID: s.Uid, GID: s.Gid, Data: data}, nil
}

func (s userUnits) inspect(ctx context.Context, p Program) (Program, error) {
	ctx, cancel := context.WithTimeout(ctx, managerPatience)
	defer cancel()
	m, err := managerAt(p)
	if err != nil {
		return Program{}, err
	}
	pids, err := m.processes(p.Name)
	if err != nil {
		return Program{}, err
	}
	conn, err := m.connect(ctx)
	if errors.Is(err, ErrGone) { // its user is logged out
		p.PIDs, p.State = pids, map[string]string{stateActive: "inactive"}
		err = m.do(ctx, func() error { p.Kept = !p.isMasked(); return nil })
		return p, err
	}
	if err != nil {
		return Program{}, err
	}
	defer conn.Close()
	u, err := readUnit(ctx, conn, noLinks, p.Name)
	if err != nil {
		return Program{}, err
	}
	p.PIDs, p.State = pids, map[string]string{stateActive: u.Active, stateNeeded: strings.Join(u.RequiredBy, " ")}
	p.Kept = running(u.Active) || u.File != "masked" && u.File != "masked-runtime" && !p.isTransient()
	return p, nil
}

// managerAt returns the service manager that a program was found at.
func managerAt(p Program) (userManager, error) {
	var m userManager
	if n, err := fmt.Sscanf(p.Where, "/run/user/%d/systemd/private", &m.uid); n != 1 || err != nil {
		return m, fmt.Errorf("%s: %s is no service manager of a user", p.Name, p.Where)
	}
	return m, nil
}

// isMasked tells whether the mask stands. It runs with the rights of the user.
func (p Program) isMasked() bool {
	return slices.ContainsFunc(p.Files, func(f FileState) bool {
		target, err := os.Readlink(f.Path)
		return err == nil && target == maskTarget
	})
}

func (p Program) isTransient() bool {
	return slices.ContainsFunc(p.Files, func(f FileState) bool { return !f.Absent })
}

// Close masks the unit and stops it, in that order, so that nothing starts it
// meanwhile.
func (userUnits) close(ctx context.Context, p Program) error {
	m, err := managerAt(p)
	if err != nil {
		return err
	}
	if !p.isTransient() {
		if err := m.do(ctx, p.mask); err != nil {
			return err
		}
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
	if err := reload(ctx, conn); err != nil {
		return err
	}
	return stopUnit(ctx, conn, p.Name)
}

// mask makes the mask. It runs with the rights of the user.
func (p Program) mask() error {
	for _, f := range p.Files {
		if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
			return fmt.Errorf("mask %s: %w", p.Name, err)
		}
		err := os.Symlink(maskTarget, f.Path)
		if errors.Is(err, fs.ErrExist) && !p.isMasked() {
			return fmt.Errorf("mask %s: something else stands at %s: %w", p.Name, f.Path, ErrChanged)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("mask %s: %w", p.Name, err)
		}
		if err := SyncDir(filepath.Dir(f.Path)); err != nil {
			return fmt.Errorf("mask %s: %w", p.Name, err)
		}
	}
	return nil
}

func (s userUnits) restore(ctx context.Context, p Program) error {
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
	if !running(p.State[stateActive]) {
		return nil
	}
	for _, name := range append([]string{p.Name}, strings.Fields(p.State[stateNeeded])...) {
		if err := job(ctx, name, "start", conn.StartUnitContext); err != nil {
			return err
		}
	}
	return nil
}

// whileLoggedOut is what is left of restoring a unit whose user is logged out:
// nothing for one that starts by itself at the next login.
func (p Program) whileLoggedOut() error {
	if running(p.State[stateActive]) && p.isTransient() {
		return fmt.Errorf("%s: user %s is logged out, and has to start it again: %w", p.Name, p.User, ErrUnsupported)
	}
	return nil
}

// putBack takes the mask away, or writes the file of a transient unit again. It
// runs with the rights of the user.
func (p Program) putBack() error {
	for _, f := range p.Files {
		if !f.Absent {
			return p.rewriteTransient(f)
		}
		_, err := os.Lstat(f.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return fmt.Errorf("%s: %w", p.Name, err)
		case !p.isMasked():
			return fmt.Errorf("%s: something else stands at %s by now: %w", p.Name, f.Path, ErrChanged)
		}
		if err := os.Remove(f.Path); err != nil {
			return fmt.Errorf("%s: unmask: %w", p.Name, err)
		}
		top := p.State[stateMade]
		for dir := filepath.Dir(f.Path); top != "" && strings.HasPrefix(dir, top) && os.Remove(dir) == nil; {
			dir = filepath.Dir(dir)
		}
	}
	return nil
}

func (p Program) rewriteTransient(was FileState) error {
	f, err := os.OpenFile(was.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: write transient unit: %w", p.Name, err)
	}
	_, err = transientEscapes.WriteString(f, string(was.Data))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: write transient unit: %w", p.Name, err)
	}
	return nil
}
