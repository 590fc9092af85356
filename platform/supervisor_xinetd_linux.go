package platform

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// xinetd holds the ports of its services itself. One is disabled in its settings,
// which xinetd then reads again; the others stay up.
type xinetd struct{}

// stateService is the key under which a Program of xinetd or inetd holds the
// name of its service.
const stateService = "service"

func (s xinetd) find(_ context.Context, l Listener) ([]Program, error) {
	daemon := holder(l, "xinetd")
	if daemon == nil {
		return nil, nil
	}
	path := xinetdSettings(daemon.args)
	entries, err := readXinetd(path)
	if err != nil {
		return nil, err
	}
	ports := readServices()
	var found []Program
	for _, e := range entries {
		if !e.serves(l, ports) {
			continue
		}
		file, err := readState(e.path, 0)
		if err != nil {
			return nil, err
		}
		p := Program{
			Kind: "xinetd", Name: e.id(), Title: fmt.Sprintf("service %s of xinetd", printable(e.id())), Where: e.path,
			State: map[string]string{stateSettings: path, stateService: e.name}, Kept: true,
		}
		text, err := p.disable(string(file.Data))
		if err != nil {
			return nil, err
		}
		file.Closed = hashOf(text)
		p.Files = []FileState{file}
		found = append(found, p)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("xinetd holds it, and none of its settings in %s says why: %w", path, ErrUnsupported)
	}
	return found, nil
}

// holder returns the system's own daemon of that name if it is one of those that
// hold a listener.
func holder(l Listener, name string) *relative {
	daemon, _ := under(l, name)
	if daemon == nil || !slices.Contains(l.Owner.PIDs, daemon.PID) {
		return nil
	}
	return daemon
}

func xinetdSettings(args []string) string {
	if i := slices.Index(args, "-f"); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return "/etc/xinetd.conf"
}

func (p Program) disable(text string) (string, error) {
	entries, _, _ := parseXinetd(text)
	if slices.ContainsFunc(entries, func(e xinetdEntry) bool { return e.id() == p.Name && e.disabled() }) {
		return text, nil
	}
	return disableXinetd(text, p.Name, markOf(p.Kind, p.Name))
}

func (s xinetd) inspect(_ context.Context, p Program) (Program, error) {
	file, err := readState(p.Where, 0)
	if err != nil {
		return Program{}, err
	}
	entries, _, _ := parseXinetd(string(file.Data))
	i := slices.IndexFunc(entries, func(e xinetdEntry) bool { return e.id() == p.Name })
	if i < 0 {
		return Program{}, fmt.Errorf("find %s in %s: %w", p.Name, p.Where, ErrGone)
	}
	p.Kept = !entries[i].disabled()
	return p, nil
}

func (s xinetd) close(_ context.Context, p Program) error {
	for _, f := range p.Files {
		if err := f.edit(p.disable); err != nil {
			return err
		}
	}
	FaultPoint("supervisors.unkept")
	if err := readAgain("xinetd"); err != nil && !errors.Is(err, ErrGone) {
		return err
	}
	return nil
}

func (s xinetd) restore(_ context.Context, p Program) error {
	for _, f := range p.Files {
		m := markOf(p.Kind, p.Name)
		if err := f.edit(func(text string) (string, error) { return m.takeBack(text), nil }); err != nil {
			return err
		}
	}
	return readAgain("xinetd")
}

// readAgain has daemons of that name read their settings. It returns ErrGone if
// none runs: one that starts later reads them then.
func readAgain(name string) error {
	found, err := daemons(name)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("%s does not run: %w", name, ErrGone)
	}
	for _, d := range found {
		if err := d.signal(unix.SIGHUP); err != nil {
			return err
		}
	}
	return nil
}
