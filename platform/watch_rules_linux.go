package platform

import (
	"context"
	"fmt"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

// portOwner is a firewall that tells through which line it changes rules itself.
type portOwner interface{ port() uint32 }

// port is the number that the kernel gave the firewall's line, 0 if none is open
// yet; it stays the same for as long as the agent runs.
func (f *firewall) port() uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if line, ok := f.line.(interface{ Port() uint32 }); ok {
		return line.Port()
	}
	return 0
}

// ruleSource tells when somebody else changes the agent's rules. Without it the
// agent still finds out when it looks, and says so.
func (o *observer) ruleSource(ctx context.Context) (source, error) {
	changes, err := nft.Watch(ctx)
	if err != nil {
		return func(_ context.Context, say func(Part, string)) {
			say(PartRestrictions, "changes of the firewall are not told as they happen: "+err.Error())
		}, nil
	}
	return func(ctx context.Context, say func(Part, string)) {
		for c := range changes {
			if why := o.tampered(c); why != "" {
				say(PartRestrictions, why)
			}
		}
		if ctx.Err() == nil {
			say(PartRestrictions, "changes of the firewall are no longer told as they happen")
		}
	}, nil
}

// tampered says in words what a change did to the agent's rules; "" is nothing,
// or the agent's own doing. The line tells that, not the process: in a container
// the kernel counts processes otherwise.
func (o *observer) tampered(c nft.Change) string {
	if c.Lost {
		return "the firewall changed faster than could be followed"
	}
	for _, table := range c.Tables {
		if table.Name != tableName {
			continue
		}
		if own, ok := o.firewall.(portOwner); ok && own.port() == c.Port {
			return ""
		}
		if c.PID == 0 {
			return "somebody changed the agent's firewall rules"
		}
		return fmt.Sprintf("%s (pid %d) changed the agent's firewall rules", printable(c.Process), c.PID)
	}
	return ""
}
