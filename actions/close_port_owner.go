package actions

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/platform"
)

// ownerOf finds who holds the port: units of the service manager, programs of
// another supervisor, and what nobody starts again. It returns ErrCannot if that
// is nobody who could be stopped.
func ownerOf(ctx context.Context, h *platform.Host, port platform.PortSubject) (closed, error) {
	if len(port.Sockets) == 0 {
		return closed{}, fmt.Errorf("it is not open any more: %w", platform.ErrGone)
	}
	names, rest := owningUnits(port)
	c, plain, err := programsOf(ctx, h, rest)
	if err != nil {
		return closed{}, err
	}
	var pids []int
	for _, l := range plain {
		if why := unclosable(l); why != "" {
			return closed{}, fmt.Errorf("%s: %w", why, ErrCannot)
		}
		launcher, err := isLauncherItself(ctx, h, l.Owner)
		if err != nil {
			return closed{}, err
		}
		if launcher {
			names = append(names, l.Owner.Unit)
		} else {
			pids = append(pids, l.Owner.PIDs...)
		}
	}
	if len(names) > 0 {
		if c.Units, c.Dependents, err = inspectUnits(ctx, h, names); err != nil {
			return closed{}, err
		}
		if len(c.Units) == 0 {
			return closed{}, fmt.Errorf("the service manager does not know %s any more: %w", strings.Join(names, ", "), ErrCannot)
		}
	}
	c.Processes, err = inspectProcesses(ctx, h, pids)
	return c, err
}

// programsOf asks the supervisors for the sockets, and returns those that none of
// them answers for.
func programsOf(ctx context.Context, h *platform.Host, sockets []platform.Listener) (c closed, plain []platform.Listener, err error) {
	for _, l := range sockets {
		found, err := h.Supervisors.Find(ctx, l)
		if errors.Is(err, platform.ErrUnsupported) {
			return closed{}, nil, fmt.Errorf("%w: %w", err, ErrCannot)
		}
		if err != nil {
			return closed{}, nil, err
		}
		if len(found) == 0 {
			plain = append(plain, l)
		}
		for _, p := range found {
			if !slices.ContainsFunc(c.Programs, func(q platform.Program) bool { return sameProgram(p, q) }) {
				c.Programs = append(c.Programs, p)
			}
		}
	}
	return c, plain, nil
}

func sameProgram(p, q platform.Program) bool {
	return p.Kind == q.Kind && p.Name == q.Name && p.User == q.User && p.Where == q.Where
}

// isLauncherItself tells whether a socket is that of a launcher, such as the
// control port of supervisord, and not of a program that it started.
func isLauncherItself(ctx context.Context, h *platform.Host, o platform.Owner) (bool, error) {
	if !slices.Contains(launchers, o.Unit) {
		return false, nil
	}
	units, err := h.Services.Inspect(ctx, o.Unit)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(units, func(u platform.Unit) bool {
		return u.Name == o.Unit && u.MainPID != 0 && slices.Contains(o.PIDs, u.MainPID)
	}), nil
}

// inspectProcesses returns those of the processes that are still there, each
// once, parents first. The service manager is never one of them.
func inspectProcesses(ctx context.Context, h *platform.Host, pids []int) ([]platform.Process, error) {
	slices.Sort(pids)
	var found []platform.Process
	for _, pid := range slices.Compact(pids) {
		if pid == 1 {
			continue
		}
		p, err := h.Processes.Inspect(ctx, pid)
		if errors.Is(err, platform.ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, p)
	}
	return parentsFirst(found), nil
}

// inspectUnits returns the named units with all that can start them and all
// that they start, and the active units that stop along with them.
func inspectUnits(ctx context.Context, h *platform.Host, names []string) (units, dependents []platform.Unit, err error) {
	units, err = h.Services.Inspect(ctx, names...)
	if err != nil {
		return nil, nil, err
	}
	var more []string
	for _, u := range units {
		if path.Ext(u.Name) == ".socket" {
			more = append(more, u.Triggers...)
		}
	}
	if len(more) > 0 {
		if units, err = h.Services.Inspect(ctx, append(slices.Clone(names), more...)...); err != nil {
			return nil, nil, err
		}
	}
	dependents, err = dependentsOf(ctx, h, units)
	return units, dependents, err
}

// dependentsOf returns the active units that stop along with units, and those
// that stop along with them in turn, in the order in which they can start again.
func dependentsOf(ctx context.Context, h *platform.Host, units []platform.Unit) ([]platform.Unit, error) {
	var dependents []platform.Unit
	known := unitNames(units)
	for next := units; len(next) > 0; {
		var needed []string
		for _, u := range next {
			for _, name := range u.RequiredBy {
				if !slices.Contains(known, name) {
					needed, known = append(needed, name), append(known, name)
				}
			}
		}
		if len(needed) == 0 {
			break
		}
		found, err := h.Services.Inspect(ctx, needed...)
		if err != nil {
			return nil, err
		}
		next = slices.DeleteFunc(found, func(u platform.Unit) bool { return !slices.Contains(needed, u.Name) })
		dependents = append(dependents, next...)
	}
	return dependents, nil
}
