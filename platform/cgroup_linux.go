package platform

import (
	"strconv"
	"strings"
)

// place is where a process belongs, as the path of its control group tells.
type place struct {
	// unit is the unit of the system's service manager that the process is part
	// of, or "". A login session is none: it owns no port, and its name is
	// another one at the next login.
	unit string
	// userUnit is the unit of a user's own service manager, or "". That manager
	// itself is in its "init.scope".
	userUnit string
	// container is the name of the container, or the first 12 characters of its
	// ID, or "". A process in a container has no unit: those there are units of
	// the container's own service manager, if it has one.
	container string
}

// placeIn reads the text of /proc/PID/cgroup. Both hierarchies are looked at:
// version 2 ("0::PATH"), and systemd's own in version 1 ("1:name=systemd:PATH"),
// which a hybrid host has as well.
func placeIn(cgroup string) place {
	var named place
	for line := range strings.Lines(cgroup) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		switch {
		case f[0] == "0" && f[1] == "":
			if p := placeOf(f[2]); p != (place{}) {
				return p
			}
		case f[1] == "name=systemd":
			named = placeOf(f[2])
		}
	}
	return named
}

// placeOf reads one path. Within a user's service manager the innermost unit
// counts, elsewhere the outermost: systemd makes no unit below another one, but
// services do make groups of their own there.
func placeOf(path string) place {
	var p place
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if name := containerIn(parts, i); name != "" {
			return place{container: name}
		}
		if !isUnit(part) {
			continue
		}
		switch {
		case p.unit == "":
			p.unit = part
		case isUserManager(p.unit):
			p.userUnit = part
		}
	}
	if isUserManager(p.unit) || p.unit == "init.scope" || strings.HasPrefix(p.unit, "session-") {
		p.unit = ""
	}
	p.unit, p.userUnit = unescapeCgroup(p.unit), unescapeCgroup(p.userUnit)
	return p
}

func isUserManager(unit string) bool { return strings.HasPrefix(unit, "user@") }

func isUnit(part string) bool {
	return strings.HasSuffix(part, ".service") || strings.HasSuffix(part, ".scope") || strings.HasSuffix(part, ".socket")
}

// unescapeCgroup drops the "_" that systemd puts before a unit name which the
// kernel could mistake for a file of its own.
func unescapeCgroup(unit string) string { return strings.TrimPrefix(unit, "_") }

// engines are the names that container engines give their control groups, ahead
// of the container's ID.
var engines = []string{"docker-", "libpod-", "cri-containerd-", "crio-", "nerdctl-"}

// containerIn returns the name of the container whose control group is
// parts[i], or "".
func containerIn(parts []string, i int) string {
	part := parts[i]
	if name, ok := strings.CutPrefix(part, "systemd-nspawn@"); ok && strings.HasSuffix(name, ".service") {
		return unescapeUnit(strings.TrimSuffix(name, ".service"))
	}
	if name, ok := strings.CutPrefix(part, "lxc.payload."); ok {
		return name
	}
	bare, scope := strings.CutSuffix(part, ".scope")
	if name, ok := strings.CutPrefix(bare, "machine-"); ok && scope {
		if name = unescapeUnit(name); !strings.HasPrefix(name, "qemu-") { // a virtual machine is a process of the host
			return name
		}
		return ""
	}
	for _, engine := range engines {
		if id, ok := strings.CutPrefix(bare, engine); ok && isContainerID(id) {
			return id[:12]
		}
	}
	if i == 0 {
		return ""
	}
	switch above := parts[i-1]; {
	case isContainerID(part) && (above == "docker" || strings.HasPrefix(above, "pod")):
		return part[:12]
	case above == "lxc" && part != "":
		return part
	}
	return ""
}

func isContainerID(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// unescapeUnit undoes the \x2d for a "-", and the like, in a unit name.
func unescapeUnit(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if c, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				out.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
