package actions

import (
	"context"
	"fmt"
	"slices"

	"github.com/firebreak-sec/firebreak/platform"
)

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
	if len(c.Programs) > 0 {
		now, err := h.Supervisors.Inspect(ctx, c.Programs)
		if err != nil {
			return Effect{}, fmt.Errorf("look at programs: %w", err)
		}
		for _, p := range now {
			if why := programNotClosed(p); why != "" {
				return Effect{Detail: why}, nil
			}
		}
	}
	for _, p := range slices.Concat(c.Respawners, c.Processes) {
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

// programNotClosed says in what a program is not closed; "" if it is.
func programNotClosed(p platform.Program) string {
	switch {
	case len(p.PIDs) > 0:
		return fmt.Sprintf("%s still runs (process %d)", p.Title, p.PIDs[0])
	case p.Kept:
		return fmt.Sprintf("%s is stopped, but %s would start it again", p.Title, supervisorName(p.Kind))
	}
	return ""
}
