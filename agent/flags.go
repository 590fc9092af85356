package agent

import (
	"context"

	"github.com/firebreak-sec/firebreak/platform"
)

// flagNames are the flags that actions leave on the host.
var flagNames = [...]string{"os-upgrade"}

// readFlags returns the flags that are set on the host.
func readFlags(ctx context.Context, h *platform.Host) ([]platform.Flag, error) {
	var flags []platform.Flag
	for _, name := range flagNames {
		f, err := h.Flags.Flag(ctx, name)
		if err != nil {
			return nil, err
		}
		if f != nil {
			flags = append(flags, *f)
		}
	}
	return flags, nil
}

// clearFlags takes down the flags whose threat is no longer open: a flag, like
// any other mark of a threat, does not outlive it.
func (a *Agent) clearFlags() {
	var stale []string
	for _, f := range a.flags {
		if t := a.find(f.Threat); t == nil || !t.Open() {
			stale = append(stale, f.Name)
		}
	}
	now := a.cfg.Now()
	if len(stale) == 0 || a.clearing || now.Before(a.clearAt) {
		return
	}
	a.clearing, a.clearAt = true, now.Add(applyRetry)
	a.withFlags(func(ctx context.Context, h *platform.Host) error {
		for _, name := range stale {
			if err := h.Flags.ClearFlag(ctx, name); err != nil {
				return err
			}
		}
		return nil
	})
}

// withFlags changes flags in the worker, and reads them back.
func (a *Agent) withFlags(change func(context.Context, *platform.Host) error) {
	host := a.cfg.Host
	a.enqueueAct(func(ctx context.Context) func(context.Context) {
		err := change(ctx, host)
		flags, readErr := readFlags(ctx, host)
		if err == nil {
			err = readErr
		}
		return func(context.Context) {
			a.clearing = false
			a.trouble("flags", err)
			if readErr == nil {
				a.flags = flags
			}
		}
	})
}
