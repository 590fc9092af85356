package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/platform"
)

func newPolicyExplain(e *env) *cobra.Command {
	var port uint16
	var protocol string
	c := &cobra.Command{
		Use:   "explain --port N",
		Short: "Why a port is or is not a threat, in use or not",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			protocols := []platform.Protocol{platform.TCP, platform.UDP}
			switch platform.Protocol(protocol) {
			case "":
			case platform.TCP, platform.UDP:
				protocols = []platform.Protocol{platform.Protocol(protocol)}
			default:
				return usagef("--protocol is tcp or udp, not %q", protocol)
			}
			if port == 0 {
				return usagef("policy explain needs --port, a number from 1 to 65535")
			}
			return e.explainPort(c.Context(), port, protocols)
		},
	}
	c.Flags().Uint16Var(&port, "port", 0, "the port")
	c.Flags().StringVar(&protocol, "protocol", "", "tcp or udp (else both)")
	complete(c, "protocol", "tcp", "udp")
	return c
}

func (e *env) explainPort(ctx context.Context, port uint16, protocols []platform.Protocol) error {
	policy, source, err := e.readPolicy()
	if err != nil {
		return err
	}
	host := e.host("")
	snapshot, err := host.Observer.Snapshot(ctx, portParts)
	if err != nil {
		return fmt.Errorf("%w at this computer: %w", errCouldNotLook, err)
	}
	out := localapi.PortVerdict{Schema: localapi.Schema, Port: port, Protocols: []localapi.PortProtocol{}}
	lines := []string{"By policy " + policy.Name + " from " + source + ":"}
	for _, protocol := range protocols {
		x, err := detect.ExplainPort(policy, snapshot, protocol, port)
		if err != nil {
			return fmt.Errorf("%w: %w", errCouldNotLook, err)
		}
		one := localapi.PortProtocol{
			Protocol: protocol, Listeners: []localapi.PortJudgement{},
			Otherwise: judgementOf(x.Otherwise), Protected: ptr(x.Protected),
			Preempt: append([]string{}, preemptLines(policy, protocol, port, x.Protected)...),
		}
		for _, f := range x.Findings {
			j := judgementOf(f)
			j.Owner = append(j.Owner, agent.OwnerLines(ctx, host, *f.Subject.Port)...)
			one.Listeners = append(one.Listeners, j)
		}
		out.Protocols = append(out.Protocols, one)
		lines = append(lines, x.Lines()...)
		for _, j := range one.Listeners {
			for _, line := range j.Owner {
				lines = append(lines, fmt.Sprintf("%s port %d: %s.", strings.ToUpper(string(protocol)), port, line))
			}
		}
		for _, line := range one.Preempt {
			lines = append(lines, fmt.Sprintf("%s port %d: %s.", strings.ToUpper(string(protocol)), port, line))
		}
	}
	return e.show(out, func(p *page) {
		for _, line := range lines {
			p.text(line)
		}
	})
}
