package main

import "github.com/spf13/cobra"

func newPolicy(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "The rules: check a file, show what is in force, explain a port",
	}
	c.AddCommand(newPolicyCheck(e), newPolicyShow(e), newPolicyExplain(e))
	return c
}
