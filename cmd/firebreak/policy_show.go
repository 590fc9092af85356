package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/configs"
)

func newPolicyShow(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "The policy in force, and whence it came",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			policy, err := e.agent().Policy(c.Context())
			if errors.Is(err, localapi.ErrNotRunning) {
				policy, err = e.policyOnDisk()
			}
			if err != nil {
				return err
			}
			return e.show(policy, func(p *page) { policyShowScreen(p, policy) })
		},
	}
}

// policyOnDisk is the policy that an agent would start with.
func (e *env) policyOnDisk() (localapi.PolicyInForce, error) {
	p, source, err := e.readPolicy()
	if err != nil {
		return localapi.PolicyInForce{}, err
	}
	data := configs.DefaultFile
	if source == e.policyFile() {
		if data, err = configs.ReadPolicyFile(source); err != nil {
			return localapi.PolicyInForce{}, err
		}
	}
	return localapi.PolicyInForce{Schema: localapi.Schema, YAML: string(data), Policy: localapi.Policy{
		Version: ptr(fmt.Sprintf("%s r%d", p.Name, p.Revision)), Name: ptr(p.Name), Revision: p.Revision,
		Mode: p.Mode, Source: ptr(source + " (no agent is running)"), Valid: true,
	}}, nil
}

// policyShowScreen is a policy file again: the answer is in comments.
func policyShowScreen(p *page, policy localapi.PolicyInForce) {
	p.text("# " + policyLine(policy.Policy) + ", from " + text(policy.Policy.Source))
	for line := range strings.Lines(policy.YAML) {
		p.lines = append(p.lines, clean(strings.TrimRight(line, "\r\n")))
	}
}
