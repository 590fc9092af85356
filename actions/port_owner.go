package actions

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"github.com/firebreak-sec/firebreak/platform"
)

// launchers are units that start other programs on somebody's behalf. What
// listens in one of them is not the unit's own business: it is closed at the
// supervisor that the unit runs, or else the process is ended.
var launchers = []string{
	"cron.service", "crond.service", "anacron.service", "atd.service",
	"supervisor.service", "supervisord.service", "runit.service", "xinetd.service", "inetd.service",
}

// publishers are programs that open a port for a container.
var publishers = []string{"docker-proxy", "rootlessport", "slirp4netns", "pasta", "conmon"}

// unclosable says why a socket that no unit and no supervisor answers for cannot
// be closed by its owner; "" if it can.
func unclosable(l platform.Listener) string {
	o := l.Owner
	switch {
	case l.Forward != "":
		return fmt.Sprintf("this computer passes it on to %s by a rule of its firewall, and no container that is known asks for that; whoever made the rule has to take it out", l.Forward)
	case o.Container != "" || l.NetNS != "":
		return fmt.Sprintf("it is open inside the container %s, which has to be stopped or changed itself", cmp.Or(o.Container, l.NetNS))
	case slices.Contains(publishers, path.Base(o.Exe)):
		return fmt.Sprintf("%s opens it for a container, which has to be stopped or changed itself", path.Base(o.Exe))
	case o.Kernel:
		return "no program holds it: the kernel itself serves it"
	case o.PID == 0:
		return "nobody can see which program holds it"
	case o.UserUnit == "init.scope" && o.Process == "systemd":
		return fmt.Sprintf("the service manager of user %s holds it, for a unit that could not be found", o.User)
	case o.PID == 1:
		return "the service manager holds it, for a unit that could not be found"
	}
	return ""
}

// owningUnits returns the units that must be closed for a port to close, as the
// sockets name them, and the sockets that no unit answers for.
func owningUnits(p platform.PortSubject) (units []string, rest []platform.Listener) {
	for _, l := range p.Sockets {
		if !ofUnit(l) {
			rest = append(rest, l)
		} else if !slices.Contains(units, l.Owner.Unit) {
			units = append(units, l.Owner.Unit)
		}
	}
	slices.Sort(units)
	return units, rest
}

// ofUnit tells whether stopping its unit closes a socket for good. What runs in a
// session, in a scope, or in the service manager of a user is none of a unit's;
// nor is what a container engine opens.
func ofUnit(l platform.Listener) bool {
	o := l.Owner
	return o.Unit != "" && path.Ext(o.Unit) != ".scope" && o.Container == "" && l.Forward == "" &&
		!slices.Contains(launchers, o.Unit) && !slices.Contains(publishers, path.Base(o.Exe))
}

// otherPorts returns the listeners of the owners of a port on other ports, which
// close along with it. Loopback ones are among them.
func otherPorts(p platform.PortSubject, all []platform.Listener, c closed) []platform.Listener {
	var others []platform.Listener
	for _, l := range all {
		if l.Port == p.Port && l.Protocol == p.Protocol {
			continue
		}
		ofUnit := slices.ContainsFunc(c.Units, func(u platform.Unit) bool { return u.Name == l.Owner.Unit })
		ofProcess := slices.ContainsFunc(c.Processes, func(q platform.Process) bool { return slices.Contains(l.Owner.PIDs, q.PID) })
		ofProgram := slices.ContainsFunc(c.Programs, func(q platform.Program) bool {
			return slices.ContainsFunc(q.PIDs, func(pid int) bool { return slices.Contains(l.Owner.PIDs, pid) })
		})
		if ofUnit || ofProcess || ofProgram {
			others = append(others, l)
		}
	}
	return others
}

// ownerQuestion is all that decides whether the owner of a port may be stopped.
type ownerQuestion struct {
	port      platform.PortSubject
	units     []platform.Unit // that would stop
	programs  []platform.Program
	processes []platform.Process
	others    []platform.Listener // that would close too
	agent     platform.ProcessID
	terms     Terms
}

// refusal says why the owner of a port must not be touched; "" if it may.
func (q ownerQuestion) refusal() string {
	if covers(q.terms.Protected.Ports, portRule(q.port)) {
		return fmt.Sprintf("%s is a protected port: without it nobody could reach this computer to help", portRule(q.port))
	}
	for _, l := range q.port.Sockets {
		if why := q.refusedSocket(l); why != "" {
			return why
		}
	}
	for _, u := range q.units {
		if why := refusedUnit(q.terms.Protected, u); why != "" {
			return why
		}
	}
	for _, p := range q.programs {
		if why := guard(q.terms.Protected, p.Name); why != "" {
			return fmt.Sprintf("%s is never stopped: %s", p.Title, why)
		}
	}
	for _, p := range q.processes {
		if slices.Contains(q.terms.Protected.Processes, p.Exe) {
			return fmt.Sprintf("%s is protected by policy", p.Exe)
		}
	}
	for _, l := range q.others {
		if why := q.refusedOther(l); why != "" {
			return why
		}
	}
	return ""
}

func (q ownerQuestion) refusedSocket(l platform.Listener) string {
	if why := guardProgram(l.Owner); why != "" {
		return fmt.Sprintf("%s is never ended: it is %s", path.Base(l.Owner.Exe), why)
	}
	switch {
	case l.Protocol == platform.UDP && (l.Port == 68 || l.Port == 546):
		return "this computer gets its network address through it (DHCP)"
	case l.Port == 53 && l.Address.IsLoopback():
		return "it is this computer's own name server: without it no name on the network is found"
	case slices.Contains(q.terms.Protected.Processes, l.Owner.Exe):
		return fmt.Sprintf("%s is protected by policy", l.Owner.Exe)
	case q.agent.PID != 0 && slices.Contains(l.Owner.PIDs, q.agent.PID):
		return "this agent itself holds it"
	}
	return ""
}

// refusedOther refuses on account of another port that the owner serves. Denying
// the unit one port (SocketBindDeny=) is no way out: systemd of Debian 12 is built
// without it and says nothing, and most servers do not start at all when one of
// their ports is refused.
func (q ownerQuestion) refusedOther(l platform.Listener) string {
	rule := platform.PortRule{Protocol: l.Protocol, First: l.Port, Last: l.Port}
	switch {
	case covers(q.terms.Protected.Ports, rule):
		return fmt.Sprintf("%s also serves %s, which is protected", programName(q.port), rule)
	case !q.terms.Shared && l.Reach != platform.ReachLoopback && q.terms.Allows != nil && q.terms.Allows(l):
		return fmt.Sprintf("%s also serves %s, which policy allows; a person has to take %s out of its settings, or the plan needs shared: stop",
			programName(q.port), rule, portRule(q.port))
	}
	return ""
}
