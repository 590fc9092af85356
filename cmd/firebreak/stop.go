package main

import (
	"context"
	"fmt"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"
)

func newStop(e *env) *cobra.Command {
	short := "Stop the agent's service; what is in force stays in force"
	return e.onService("stop", short, func(_ context.Context, s service.Service) error {
		if err := s.Stop(); err != nil {
			return fmt.Errorf("stop the service: %w", err)
		}
		return e.done("stopped", []string{
			"blocks and isolation that were in force stay so, and nobody watches now",
		}, "to release everything: sudo firebreak uninstall")
	})
}
