package main

import (
	"context"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"
)

func newRestart(e *env) *cobra.Command {
	return e.onService("restart", "Restart the agent's service; nothing opens meanwhile", func(ctx context.Context, s service.Service) error {
		if err := e.startAndSee(ctx, s.Restart); err != nil {
			return err
		}
		return e.done("running", nil, "firebreak status")
	})
}
