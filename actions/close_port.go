package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/platform"
)

// ClosePort makes the owner of a port stop listening.
var ClosePort = &Action{
	Name: "close-port",
	Doc: "Stops the program that holds a port, where it is started from: a service is stopped, disabled and masked together " +
		"with what can start it again; a program that another supervisor runs is stopped there; what nobody starts again is ended.",
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
	// Programs are what other supervisors keep running.
	Programs []platform.Program `json:"programs"`
	// Respawners are scripts that started the program again when it was closed
	// before: they are ended first.
	Respawners []platform.Process `json:"respawners"`
	// Processes that are ended, and cannot be started again.
	Processes []platform.Process `json:"processes"`
	// Starters are scripts above Processes, nearest first. One of them is ended
	// only if it is seen to start the program again.
	Starters []platform.Process `json:"starters"`
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
	if err := c.findStarters(ctx, h, port, seen, o); err != nil {
		return Preview{}, fmt.Errorf("close %s: %w", portRule(port), err)
	}
	inverse, err := json.Marshal(c)
	if err != nil {
		return Preview{}, fmt.Errorf("close port: %w", err)
	}
	others := otherPorts(port, seen.Listeners, c)
	request := ownerQuestion{
		port: port, agent: seen.Agent, terms: o.Terms, others: others,
		units: slices.Concat(c.Units, c.Dependents), programs: c.Programs, processes: slices.Concat(c.Respawners, c.Processes),
	}
	return Preview{
		Steps: c.steps(), Costs: c.costs(others), Inverse: inverse, Ends: c.ends(),
		Final: len(c.Units) == 0 && len(c.Programs) == 0, Refused: request.refusal(),
	}, nil
}

// ends are the processes that are ended, whoever started them.
func (c closed) ends() []platform.ProcessID {
	var ids []platform.ProcessID
	for _, p := range slices.Concat(c.Respawners, c.Processes) {
		ids = append(ids, p.ProcessID)
	}
	return ids
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
	if len(c.Programs) > 0 {
		if err := h.Supervisors.Close(ctx, c.Programs); err != nil {
			return r, fmt.Errorf("close port: %w", err)
		}
		for _, p := range c.Programs {
			r.Done = append(r.Done, fmt.Sprintf("stopped %s, and kept %s from starting it again", p.Title, supervisorName(p.Kind)))
		}
	}
	done, err := endProcesses(ctx, h, o, c)
	r.Done = append(r.Done, done...)
	return r, err
}

func reopenPort(ctx context.Context, h *platform.Host, o Order) error {
	c, err := recorded(o)
	if err != nil {
		return err
	}
	if err := errors.Join(reopenUnits(ctx, h, c), reopenPrograms(ctx, h, c)); err != nil {
		if errors.Is(err, platform.ErrChanged) {
			err = fmt.Errorf("%w; it is left as it is now%s", err, c.byHand())
		}
		return fmt.Errorf("undo: %w", err)
	}
	var ended []string
	for _, p := range c.Processes {
		if there, err := stillRuns(ctx, h, p); err == nil && there {
			continue
		}
		ended = append(ended, fmt.Sprintf("%s, as user %s", p.Name, p.User))
	}
	if len(ended) > 0 {
		for _, p := range slices.Concat(c.Respawners, c.Starters) {
			if there, err := stillRuns(ctx, h, p); err != nil || !there {
				ended = append(ended, fmt.Sprintf("it was started by %s, as user %s", label(p), p.User))
			}
		}
		// The command line may hold a secret, and more people read this than the
		// evidence.
		return fmt.Errorf("undo: a program was ended that belongs to no service; start it by hand (%s; firebreak evidence %s may have its command line): %w",
			strings.Join(ended, "; "), o.Threat, ErrNotUndoable)
	}
	return nil
}

func reopenUnits(ctx context.Context, h *platform.Host, c closed) error {
	if len(c.Units) > 0 {
		if err := h.Services.Restore(ctx, c.Units); err != nil {
			return err
		}
	}
	if len(c.Dependents) == 0 {
		return nil
	}
	return h.Services.Restore(ctx, c.Dependents)
}

func reopenPrograms(ctx context.Context, h *platform.Host, c closed) error {
	if len(c.Programs) == 0 {
		return nil
	}
	return h.Supervisors.Restore(ctx, c.Programs)
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
