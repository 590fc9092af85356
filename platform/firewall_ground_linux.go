package platform

import (
	"fmt"
	"net"
	"slices"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

// ground is what rules for r are made for now. A host whose control groups
// cannot be read is isolated all the same, without the units.
func (f *firewall) ground(r Restrictions) ground {
	g := ground{can: f.can}
	if r.Isolation == nil {
		return g
	}
	if !f.can.AnyDevice {
		g.links = linkNames()
	}
	var err error
	if g.groups, err = groupsNow(r.Isolation.Units); err != nil {
		g.can.Groups = false
	}
	return g
}

// groundOf is what tables that are there were made for. Their links are those
// they name. A unit may have another control group by now, or none: its old one
// is believed if it is no group any more, since then nobody is in it.
func (f *firewall) groundOf(c claims) ground {
	g := ground{can: f.can, links: c.links}
	if c.restrictions.Isolation == nil {
		return g
	}
	now, err := groupsNow(c.restrictions.Isolation.Units)
	if err != nil {
		g.can.Groups = false
	}
	g.groups = map[string]group{}
	for unit, claimed := range c.groups {
		current, runs := now[unit]
		switch {
		case runs && current == claimed, !groupExists(claimed.id):
			g.groups[unit] = claimed
		case runs:
			g.groups[unit] = current
		}
	}
	return g
}

// lacks are sentences about what the isolation that is there cannot do.
func (f *firewall) lacks(iso Isolation, have []*nft.Table) []string {
	c := readClaims(have)
	g := f.groundOf(c)
	out := g.can.lacks(iso)
	if f.unkept != nil {
		out = append(out, fmt.Sprintf("if the agent is killed, another program with the rights of root can take the rules away: the service manager does not keep the agent's socket (%v)", f.unkept))
	}
	if g.can.Groups {
		now, _ := groupsNow(iso.Units)
		for _, unit := range iso.Units {
			current, runs := now[unit]
			switch {
			case !runs:
				out = append(out, unit+" should stay connected, but it is not running")
			case current != c.groups[unit]:
				out = append(out, unit+" was started after this computer was isolated: it is cut off until the restrictions are applied again")
			}
		}
	}
	if !g.can.AnyDevice && (g.can.Ingress || g.can.Egress) {
		for _, link := range linkNames() {
			if !slices.Contains(c.links, link) {
				out = append(out, fmt.Sprintf("frames past IP are not stopped on the network link %s, which is new", link))
			}
		}
	}
	return out
}

// linkNames returns the names of all links but lo. None can be read: then none
// is guarded, and each that is seen later is reported.
func linkNames() []string {
	links, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var out []string
	for _, l := range links {
		if l.Index != loopbackIndex {
			out = append(out, l.Name)
		}
	}
	slices.Sort(out)
	return out
}
