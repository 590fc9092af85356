package main

import (
	"context"
	"fmt"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/platform"
)

func newStart(e *env) *cobra.Command {
	return e.onService("start", "Start the agent's service", func(ctx context.Context, s service.Service) error {
		if err := e.startAndSee(ctx, s.Start); err != nil {
			return err
		}
		return e.done("running", nil, "firebreak status")
	})
}

// onService is a command that does one thing with the installed service.
func (e *env) onService(use, short string, do func(context.Context, service.Service) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !privileged() {
				return fmt.Errorf("%s the service: %w", use, platform.ErrNotPermitted)
			}
			s, err := e.serviceHere()
			if err != nil {
				return err
			}
			there, _, err := installed(s)
			if err != nil {
				return fmt.Errorf("ask for the service: %w", err)
			}
			if !there {
				return fmt.Errorf("the service is not installed: sudo firebreak install")
			}
			return do(c.Context(), s)
		},
	}
}
