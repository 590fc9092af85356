package actions

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/platform"
)

func (c closed) steps() []string {
	var steps []string
	for _, u := range c.Units {
		steps = append(steps, fmt.Sprintf("stop, disable and mask %s", u.Name))
	}
	for _, p := range c.Programs {
		steps = append(steps, fmt.Sprintf("stop %s, and keep %s from starting it again", p.Title, supervisorName(p.Kind)))
	}
	for _, p := range c.Respawners {
		steps = append(steps, fmt.Sprintf("end %s (process %d): when the port was closed before, it started the program again", label(p), p.PID))
	}
	for _, p := range c.Processes {
		steps = append(steps, fmt.Sprintf("end %s (process %d)", p.Name, p.PID))
	}
	for _, p := range c.Starters {
		steps = append(steps, fmt.Sprintf("end %s (process %d) as well, but only if it starts the program again", label(p), p.PID))
	}
	return steps
}

func (c closed) costs(others []platform.Listener) []string {
	var costs []string
	for _, u := range c.Units {
		switch {
		case path.Ext(u.Name) == ".service":
			costs = append(costs, fmt.Sprintf("%s does not run any more, until it is undone", described(u)))
		case path.Ext(u.Name) == ".socket" && len(c.Units) == 1:
			costs = append(costs, fmt.Sprintf("nobody can connect to %s any more, until it is undone; connections that are open end", described(u)))
		}
	}
	for _, u := range c.Dependents {
		costs = append(costs, fmt.Sprintf("%s stops as well: it needs the other", described(u)))
	}
	for _, p := range c.Programs {
		costs = append(costs, fmt.Sprintf("%s does not run any more, until it is undone", p.Title))
	}
	for _, p := range slices.Concat(c.Respawners, c.Processes) {
		costs = append(costs, fmt.Sprintf("%s of user %s ends, with what was not saved in it; undo cannot start it again", label(p), p.User))
	}
	for _, p := range c.Starters {
		costs = append(costs, fmt.Sprintf("%s of user %s ends too, if it starts the program again; undo cannot start it again", label(p), p.User))
	}
	var ports []platform.PortRule
	for _, l := range others {
		ports = append(ports, platform.PortRule{Protocol: l.Protocol, First: l.Port, Last: l.Port})
	}
	if len(ports) > 0 {
		costs = append(costs, "closes along with it: "+platform.PortList(platform.Restrictions{Blocked: ports}.Normal().Blocked))
	}
	return costs
}

// label is what people call a process: of an interpreter that is the script it
// runs, where its own name does not say so.
func label(p platform.Process) string {
	if file, _ := script(p); !file && !isOneOf(interpreters, p.Exe) || !isOneOf(slices.Concat(shells, interpreters), p.Name) {
		return p.Name
	}
	for _, a := range p.Args[1:] {
		if a != "" && a[0] != '-' {
			return fmt.Sprintf("%s %s", p.Name, path.Base(a))
		}
	}
	return p.Name
}

func described(u platform.Unit) string {
	if u.Description == "" || u.Description == u.Name {
		return u.Name
	}
	return fmt.Sprintf("%s (%s)", u.Description, u.Name)
}

func (c closed) gone() string {
	var what []string
	if len(c.Units) > 0 {
		what = append(what, strings.Join(unitNames(c.Units), ", ")+" stopped, disabled and masked")
	}
	for _, p := range c.Programs {
		what = append(what, fmt.Sprintf("%s stopped, and %s does not start it again", p.Title, supervisorName(p.Kind)))
	}
	for _, p := range slices.Concat(c.Respawners, c.Processes) {
		what = append(what, fmt.Sprintf("%s (process %d) ended", label(p), p.PID))
	}
	return strings.Join(what, "; ")
}

// supervisorName is what people call a kind of supervisor.
func supervisorName(kind string) string {
	switch kind {
	case "user-unit":
		return "the service manager of its user"
	}
	return kind
}

// byHand says how a person puts back what undo leaves alone; "" if that is for
// its supervisor to know.
func (c closed) byHand() string {
	if len(c.Units) == 0 {
		return ""
	}
	names := strings.Join(unitNames(c.Units), " ")
	return fmt.Sprintf("; to have it back all the same, run as root: systemctl unmask %s; systemctl enable --now %s", names, names)
}
