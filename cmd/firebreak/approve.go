package main

import (
	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/localapi"
)

func newApprove(e *env) *cobra.Command {
	return onThreat(e, agent.Approve, "approve ID", "Let the plan for a threat go on that waits for approval", &localapi.Order{})
}
