package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/platform"
)

// ClosePort makes the owner of a port stop listening.
var ClosePort = &Action{
	Name: "close-port",
	Doc: "Stops the program that holds a port, where it is started from: a service is stopped, disabled and masked together " +
		"with what can start it again; a program without a service is ended.",
	Kind:       Remediation,
	Disruptive: true,
	Preview:    previewClosePort,
	Do:         closePort,
	Verify:     verifyClosed,
	Undo:       reopenPort,
}

// closed is the inverse of closing: the owner as it was before.
type closed struct {
	Units []platform.Unit `json:"units"` // triggers before what they start
	// Dependents are units that stop because they need one of Units.
	Dependents []platform.Unit `json:"dependents"`
	// Processes that are ended, and cannot be started again.
	Processes []platform.Process `json:"processes"`
}

func previewClosePort(ctx context.Context, h *platform.Host, o Order) (Preview, error) {
	port, seen, err := lookAgain(ctx, h, o)
	if err != nil {
		return Preview{}, fmt.Errorf("close port: %w", err)
	}
	c, err := ownerOf(ctx, h, port)
	if err != nil {
		return Preview{}, fmt.Errorf("close %s: %w", portRule(port), err)
	}
	inverse, err := json.Marshal(c)
	if err != nil {
		return Preview{}, fmt.Errorf("close port: %w", err)
	}
	others := otherPorts(port, seen.Listeners, c.Units, c.Processes)
	request := ownerQuestion{
		port: port, agent: seen.Agent, terms: o.Terms, others: others,
		units: slices.Concat(c.Units, c.Dependents), processes: c.Processes,
	}
	return Preview{Steps: c.steps(), Costs: c.costs(others), Inverse: inverse, Final: len(c.Units) == 0, Refused: request.refusal()}, nil
}

// lookAgain returns the port with the sockets it has now: since it was found,
// its owner may have started again, and its pid may be another's.
func lookAgain(ctx context.Context, h *platform.Host, o Order) (platform.PortSubject, platform.Snapshot, error) {
	if o.Subject.Port == nil {
		return platform.PortSubject{}, platform.Snapshot{}, fmt.Errorf("this threat is about no port: %w", ErrCannot)
	}
	port := *o.Subject.Port
	seen, err := h.Observer.Snapshot(ctx, platform.Parts{platform.PartListeners, platform.PartOwners})
	if err != nil {
		return port, seen, fmt.Errorf("look at listeners: %w", err)
	}
	if err := seen.Missing(platform.PartListeners); err != nil {
		return port, seen, err
	}
	port.Sockets = nil
	for _, l := range seen.Listeners {
		if l.Port == port.Port && l.Protocol == port.Protocol && l.NetNS == port.NetNS && sameOwner(l.Owner, port) {
			port.Sockets = append(port.Sockets, l)
		}
	}
	return port, seen, nil
}

func sameOwner(o platform.Owner, port platform.PortSubject) bool {
	return o.Container == port.Container && o.Unit == port.Unit && (o.Unit != "" || o.Exe == port.Exe)
}

// ownerOf finds who holds the port. It returns ErrCannot if that is nobody who
// could be stopped.
func ownerOf(ctx context.Context, h *platform.Host, port platform.PortSubject) (closed, error) {
	if len(port.Sockets) == 0 {
		return closed{}, fmt.Errorf("it is not open any more: %w", platform.ErrGone)
	}
	if why := unclosable(port); why != "" {
		return closed{}, fmt.Errorf("%s: %w", why, ErrCannot)
	}
	var c closed
	var err error
	names := owningUnits(port)
	if len(names) > 0 {
		if c.Units, c.Dependents, err = inspectUnits(ctx, h, names); err != nil {
			return closed{}, err
		}
	}
	if len(names) > 0 && len(c.Units) == 0 {
		return closed{}, fmt.Errorf("the service manager does not know %s any more: %w", strings.Join(names, ", "), ErrCannot)
	}
	for _, pid := range holders(port, names) {
		p, err := h.Processes.Inspect(ctx, pid)
		if errors.Is(err, platform.ErrGone) {
			continue
		}
		if err != nil {
			return closed{}, err
		}
		c.Processes = append(c.Processes, p)
	}
	c.Processes = parentsFirst(c.Processes)
	return c, nil
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

func (c closed) steps() []string {
	var steps []string
	for _, u := range c.Units {
		steps = append(steps, fmt.Sprintf("stop, disable and mask %s", u.Name))
	}
	for _, p := range c.Processes {
		steps = append(steps, fmt.Sprintf("end %s (process %d)", p.Name, p.PID))
	}
	return steps
}

func (c closed) costs(others []platform.Listener) []string {
	var costs []string
	for _, u := range c.Units {
		switch {
		case path.Ext(u.Name) == ".service":
			costs = append(costs, fmt.Sprintf("%s does not run any more, until it is undone", described(u)))
		case path.Ext(u.Name) == ".socket" && len(c.Units) == 1:
			costs = append(costs, fmt.Sprintf("nobody can connect to %s any more, until it is undone; connections that are open end", described(u)))
		}
	}
	for _, u := range c.Dependents {
		costs = append(costs, fmt.Sprintf("%s stops as well: it needs the other", described(u)))
	}
	for _, p := range c.Processes {
		costs = append(costs, fmt.Sprintf("%s of user %s ends, with what was not saved in it; undo cannot start it again", p.Name, p.User))
	}
	var ports []platform.PortRule
	for _, l := range others {
		ports = append(ports, platform.PortRule{Protocol: l.Protocol, First: l.Port, Last: l.Port})
	}
	if len(ports) > 0 {
		costs = append(costs, "closes along with it: "+platform.PortList(platform.Restrictions{Blocked: ports}.Normal().Blocked))
	}
	return costs
}

func described(u platform.Unit) string {
	if u.Description == "" || u.Description == u.Name {
		return u.Name
	}
	return fmt.Sprintf("%s (%s)", u.Description, u.Name)
}

func closePort(ctx context.Context, h *platform.Host, o Order) (Result, error) {
	c, err := recorded(o)
	if err != nil {
		return Result{}, err
	}
	var r Result
	if len(c.Units) > 0 {
		if err := h.Services.Close(ctx, c.Units); err != nil {
			return r, fmt.Errorf("close port: %w", err)
		}
		for _, u := range c.Units {
			r.Done = append(r.Done, fmt.Sprintf("stopped, disabled and masked %s", u.Name))
		}
	}
	done, err := endProcesses(ctx, h, o, c.Processes)
	r.Done = append(r.Done, done...)
	return r, err
}

func verifyClosed(ctx context.Context, h *platform.Host, o Order) (Effect, error) {
	c, err := recorded(o)
	if err != nil {
		return Effect{}, err
	}
	if len(c.Units) > 0 {
		now, err := h.Services.Inspect(ctx, unitNames(c.Units)...)
		if err != nil {
			return Effect{}, fmt.Errorf("look at services: %w", err)
		}
		for _, u := range now {
			if why := notClosed(u); why != "" {
				return Effect{Detail: why}, nil
			}
		}
	}
	for _, p := range c.Processes {
		there, err := stillRuns(ctx, h, p)
		if err != nil {
			return Effect{}, err
		}
		if there {
			return Effect{Detail: fmt.Sprintf("%s (process %d) still runs", p.Name, p.PID)}, nil
		}
	}
	return Effect{InForce: true, Detail: c.gone()}, nil
}

// notClosed says in what a unit is not closed; "" if it is. A transient unit
// cannot be masked, and need not be: nothing starts it again.
func notClosed(u platform.Unit) string {
	switch {
	case u.Active != "inactive" && u.Active != "failed":
		return fmt.Sprintf("%s is %s", u.Name, u.Active)
	case u.Text == "" && u.File != "masked":
		return fmt.Sprintf("%s is stopped, but not masked: it may start again", u.Name)
	}
	return ""
}

func (c closed) gone() string {
	var what []string
	if len(c.Units) > 0 {
		what = append(what, strings.Join(unitNames(c.Units), ", ")+" stopped, disabled and masked")
	}
	for _, p := range c.Processes {
		what = append(what, fmt.Sprintf("%s (process %d) ended", p.Name, p.PID))
	}
	return strings.Join(what, "; ")
}

func reopenPort(ctx context.Context, h *platform.Host, o Order) error {
	c, err := recorded(o)
	if err != nil {
		return err
	}
	if len(c.Units) > 0 {
		if err := h.Services.Restore(ctx, c.Units); err != nil {
			return fmt.Errorf("undo: %w", err)
		}
	}
	if len(c.Dependents) > 0 {
		if err := h.Services.Restore(ctx, c.Dependents); err != nil {
			return fmt.Errorf("undo: %w", err)
		}
	}
	var ended []string
	for _, p := range c.Processes {
		if there, err := stillRuns(ctx, h, p); err == nil && there {
			continue
		}
		ended = append(ended, fmt.Sprintf("%s, as user %s", p.Name, p.User))
	}
	if len(ended) > 0 {
		// The command line may hold a secret, and more people read this than the
		// evidence.
		return fmt.Errorf("undo: a program was ended that belongs to no service; start it by hand (%s; firebreak evidence %s may have its command line): %w",
			strings.Join(ended, "; "), o.Threat, ErrNotUndoable)
	}
	return nil
}

// recorded reads what Preview found before the act.
func recorded(o Order) (closed, error) {
	var c closed
	if len(o.Inverse) == 0 {
		return c, errors.New("close port: nothing was recorded of its owner")
	}
	if err := json.Unmarshal(o.Inverse, &c); err != nil {
		return c, fmt.Errorf("close port: read what was recorded of its owner: %w", err)
	}
	return c, nil
}

func unitNames(units []platform.Unit) []string {
	var names []string
	for _, u := range units {
		names = append(names, u.Name)
	}
	return names
}
