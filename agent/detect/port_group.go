package detect

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/platform"
)

// portGroup is all sockets of one owner on one port: one subject, one threat.
type portGroup struct {
	key     string
	sockets []platform.Listener // in the order of compareListeners; at least one
}

// groupListeners gathers the listeners of a snapshot by the key of their threat,
// in the order of protocol, port and key. The agent's own sockets are left out.
func groupListeners(s platform.Snapshot) []portGroup {
	byKey := map[string][]platform.Listener{}
	for _, l := range s.Listeners {
		if !isOwn(l, s.Agent) {
			key := portKey(l)
			byKey[key] = append(byKey[key], l)
		}
	}
	var groups []portGroup
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		sockets := byKey[key]
		slices.SortFunc(sockets, compareListeners)
		groups = append(groups, portGroup{key: key, sockets: sockets})
	}
	slices.SortStableFunc(groups, func(a, b portGroup) int {
		x, y := a.sockets[0], b.sockets[0]
		return cmp.Or(cmp.Compare(x.Protocol, y.Protocol), cmp.Compare(x.Port, y.Port))
	})
	return groups
}

// isOwn tells whether the agent itself holds the listener.
func isOwn(l platform.Listener, agent platform.ProcessID) bool {
	return agent.PID != 0 && l.Owner.PID == agent.PID && l.Owner.Start == agent.Start
}

// portKey names the threat that a listener belongs to, for as long as the same
// thing listens on the same port: by protocol, port, container or name of a
// network namespace, and unit or executable, never by a pid or by the number of a
// namespace, which is another one at the next start. IPv4 and IPv6 have one key.
func portKey(l platform.Listener) string {
	where := fmt.Sprintf("container=%q", l.Owner.Container)
	if l.Owner.Container == "" && l.NetNS != "" {
		name := l.NetNS
		if strings.HasPrefix(name, "net:[") {
			name = "*"
		}
		where = fmt.Sprintf("netns=%q", name)
	}
	owner := ownerKey(l.Owner)
	if isForwarded(l) {
		owner = "forwarded"
	}
	return portPrefix(l.Protocol, l.Port) + where + " " + owner
}

// portPrefix is what the keys of all threats on one port begin with.
func portPrefix(protocol platform.Protocol, port uint16) string {
	return fmt.Sprintf("open-port %s/%d ", protocol, port)
}

// isHidden tells whether the look could not see whose socket it is: nobody is
// known to hold it, or the service manager does and its socket unit is not known.
func isHidden(o platform.Owner) bool {
	if slices.Contains(o.PIDs, 1) && (len(o.PIDs) > 1 || o.Process == "systemd") {
		return !strings.HasSuffix(o.Unit, ".socket")
	}
	return o.Unit == "" && o.Exe == "" && !o.Kernel
}

// isForwarded tells whether a port is passed on: by a rule of the firewall, or by a
// program that container engines have hold a published port. Both are there for one
// published port, and either may be seen alone while the container starts or ends.
func isForwarded(l platform.Listener) bool {
	return l.Forward != "" || l.Owner.Container == "" && slices.Contains(portHolders, path.Base(l.Owner.Exe))
}

// portHolders hold published ports for podman and docker; podman itself for a moment,
// before it hands them on.
var portHolders = []string{"podman", "conmon", "docker-proxy", "rootlessport", "slirp4netns", "pasta", "pasta.avx2"}

func ownerKey(o platform.Owner) string {
	switch {
	case o.Unit != "" && !passingUnit.MatchString(o.Unit):
		return fmt.Sprintf("unit=%q", o.Unit)
	case o.Exe != "":
		return fmt.Sprintf("exe=%q", o.Exe)
	case o.Kernel:
		return "kernel"
	case o.Process != "":
		return fmt.Sprintf("process=%q", o.Process)
	}
	return "unknown"
}

// passingUnit matches units whose name is made anew at every start (systemd-run,
// logins, what a desktop launches) or stands for everything of one user. What
// runs in them is named by its executable.
var passingUnit = regexp.MustCompile(`^(run-|app-|session-|user@)|\.scope$`)

// compareListeners puts the sockets of a group in an order that does not depend
// on the snapshot's: the host's before containers', then by owner and address.
func compareListeners(a, b platform.Listener) int {
	return cmp.Or(
		cmp.Compare(a.NetNS, b.NetNS),
		compareBool(a.Owner.PID == 0, b.Owner.PID == 0),
		cmp.Compare(a.Owner.PID, b.Owner.PID),
		a.Address.Compare(b.Address),
		compareBool(a.DualStack, b.DualStack),
		cmp.Compare(a.Interface, b.Interface),
		cmp.Compare(a.Inode, b.Inode),
		cmp.Compare(a.Cookie, b.Cookie),
		cmp.Compare(a.Reach, b.Reach),
	)
}

// subject describes the group. Owners that share a key (workers of one program)
// are told by the one with the lowest pid.
func (g portGroup) subject() platform.PortSubject {
	first := g.sockets[0]
	widest := first
	for _, l := range g.sockets {
		if l.Reach.Wider(widest.Reach) {
			widest = l
		}
	}
	return platform.PortSubject{
		Protocol:  first.Protocol,
		Port:      first.Port,
		Address:   addressesOf(g.sockets),
		NetNS:     first.NetNS,
		PID:       first.Owner.PID,
		Process:   first.Owner.Process,
		Exe:       first.Owner.Exe,
		User:      first.Owner.User,
		Unit:      first.Owner.Unit,
		Package:   first.Owner.Package,
		Container: first.Owner.Container,
		Reach:     widest.Reach,
		Through:   widest.Through,
		Forward:   widest.Forward,
		Sockets:   g.sockets,
	}
}

// addressesOf lists the addresses of the sockets: "*" for every address of both
// families, else each once, sorted, with the interface a socket is bound to.
func addressesOf(sockets []platform.Listener) string {
	var v4, v6 bool
	seen := map[string]bool{}
	for _, l := range sockets {
		everywhere := l.Address.IsUnspecified() && l.Interface == ""
		v4 = v4 || everywhere && (l.Address.Is4() || l.DualStack)
		v6 = v6 || everywhere && l.Address.Is6()
		address := l.Address.String()
		if l.Interface != "" && l.Address.Zone() == "" {
			address += "%" + l.Interface
		}
		seen[address] = true
	}
	if v4 && v6 {
		return "*"
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), ", ")
}
