package main

import "github.com/spf13/cobra"

func newPolicy(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "The administrator's file: check one, show the one in force, explain a port",
	}
	c.AddCommand(newPolicyCheck(e), newPolicyShow(e), newPolicyExplain(e))
	return c
}
