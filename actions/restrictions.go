package actions

import (
	"context"
	"fmt"

	"github.com/firebreak-sec/firebreak/platform"
)

// applyRestrictions is the Do of every action that only restricts: the whole
// wanted state is derived by the agent and put in force in one step.
func applyRestrictions(ctx context.Context, h *platform.Host, o Order) (Result, error) {
	if err := h.Firewall.Apply(ctx, o.Restrictions); err != nil {
		return Result{}, fmt.Errorf("put restrictions in force: %w", err)
	}
	return Result{Done: inForceSentences(o.Restrictions)}, nil
}

// verifyRestrictions compares what the operating system has in force with what
// should be.
func verifyRestrictions(ctx context.Context, h *platform.Host, o Order) (Effect, error) {
	got, err := h.Firewall.InForce(ctx)
	if err != nil {
		return Effect{}, fmt.Errorf("read restrictions back: %w", err)
	}
	if !got.Equal(o.Restrictions) {
		return Effect{Detail: "the firewall does not have the agent's restrictions as they should be"}, nil
	}
	return Effect{InForce: true, Detail: "the firewall has the agent's restrictions as they should be"}, nil
}

// dropRestrictions puts what should remain in force, which is derived as well.
func dropRestrictions(ctx context.Context, h *platform.Host, o Order) error {
	if err := h.Firewall.Apply(ctx, o.Restrictions); err != nil {
		return fmt.Errorf("take restrictions back: %w", err)
	}
	return nil
}

func inForceSentences(r platform.Restrictions) []string {
	var done []string
	if r.Isolation != nil {
		done = append(done, "cut this computer off from the network")
	}
	if r.Wall != nil {
		done = append(done, WallSentence(*r.Wall))
	}
	if blocked := r.Normal().Blocked; len(blocked) > 0 {
		done = append(done, "blocked at the firewall: "+platform.PortList(blocked))
	}
	if denied := r.Normal().Denied; len(denied) > 0 {
		done = append(done, "no program may open: "+platform.PortList(denied))
	}
	return done
}
