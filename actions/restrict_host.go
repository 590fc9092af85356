package actions

import (
	"context"
	"fmt"
	"strings"

	"github.com/firebreak-sec/firebreak/platform"
)

// RestrictHost puts a stricter wall around the host while it goes on working.
var RestrictHost = &Action{
	Name: "restrict-host",
	Doc: "Lets nobody connect to this computer over the network, but for those whom policy keeps. It goes on working, and can " +
		"connect to others as policy says. This is for a computer that is out of date, until somebody has upgraded it.",
	Kind:       Mitigation,
	Disruptive: true,
	Restrict: func(_ platform.Subject, t Terms) platform.Restrictions {
		wall := wallOf(t)
		return platform.Restrictions{Wall: &wall}
	},
	Preview: previewRestrictHost,
	Do:      applyRestrictions,
	Verify:  verifyRestrictions,
	Undo:    dropRestrictions,
}

// wallOf is the wall that policy wants: whom an isolation keeps, a wall keeps too.
func wallOf(t Terms) platform.Wall {
	return platform.Wall{Keep: t.Isolation.Keep, Resolvers: t.Isolation.Resolvers, Shut: t.WallShut}
}

// previewRestrictHost says who can no longer connect, and refuses a wall that
// would also keep the host from whom it must reach.
func previewRestrictHost(ctx context.Context, h *platform.Host, o Order) (Preview, error) {
	wall := wallOf(o.Terms)
	iso := platform.Isolation{Keep: wall.Keep, Resolvers: wall.Resolvers, DHCP: true}
	steps := []string{"let nobody connect to this computer, at its own firewall"}
	var in []string
	for _, p := range wall.Keep {
		if p.Inbound {
			in = append(in, peerSentence(p))
		}
	}
	if len(in) > 0 {
		steps = append(steps, "keep "+enumerate(in, 8))
	}
	costs := []string{"what this computer offers to others, such as file shares, printers and remote logins, cannot be reached"}
	var refused []string
	if wall.Shut {
		steps = append(steps, "let this computer connect to nobody else either")
		if kept := keptSentence(iso); kept != "" {
			steps = append(steps, kept)
		}
		costs = append(costs, "web, mail, file shares and everything else on the network do not work")
		var more []string
		refused, more = judgeWays(waysTo(ctx, h.Routes, iso), iso)
		costs = append(costs, more...)
	}
	if o.Snapshot != nil {
		costs = append(costs, sessionCosts(o.Snapshot.Sessions, wall.Keep, o.Terms.Logins)...)
		if wall.Shut {
			hang, more := judgeMounts(o.Snapshot.Network.Mounts, wall.Keep, o.Terms.stateDir())
			refused, costs = append(hang, refused...), append(costs, more...)
		}
	}
	return Preview{Steps: append(steps, "last until the threat is gone"), Costs: costs, Refused: strings.Join(refused, "; ")}, nil
}

// WallSentence says what a wall that is in force does.
func WallSentence(w platform.Wall) string {
	way := "it can connect to anybody"
	if w.Shut {
		way = "it can connect to nobody but who is kept"
	}
	return fmt.Sprintf("nobody but who is kept can connect to this computer; %s", way)
}
