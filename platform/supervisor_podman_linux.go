package platform

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// newPodman is the supervisor of podman's containers, of the system and of users.
func newPodman() containers {
	return containers{
		kind: "podman", where: podmanProgram, units: newServices(),
		claims: containerProcesses{"/proc"}.podmanClaim,
		engine: func(c claim) (engine, error) {
			if _, err := os.Stat(podmanProgram); err != nil {
				return nil, fmt.Errorf("find podman: %w", ErrGone)
			}
			return podman{user: c.user, unit: c.unit, units: newServices(), ask: askAsUser(c.user, scopeFor(c.unit))}, nil
		},
	}
}

const podmanProgram = "/usr/bin/podman"

// podman is the engine that has no daemon: it is asked by its program, in a unit
// of its own outside of the agent's. What the agent itself may not do, its
// children may not either, and a container that it started would be its child.
type podman struct {
	user  string // "" is the system's
	unit  string // that the container was found in, or ""
	units Services
	// ask runs podman and returns what it printed. What keeps is what starts a
	// container, which stays.
	ask func(ctx context.Context, keeps bool, args ...string) ([]byte, error)
}

func (p podman) list(ctx context.Context) ([]published, error) {
	out, err := p.ask(ctx, false, "ps", "--format", "json")
	if err != nil {
		return nil, err
	}
	return parsePodmanList(out)
}

func parsePodmanList(out []byte) ([]published, error) {
	var list []struct {
		ID    string `json:"Id"`
		Pod   string
		Ports []struct {
			HostIP        string `json:"host_ip"`
			ContainerPort uint16 `json:"container_port"`
			HostPort      uint16 `json:"host_port"`
			Range         uint16 `json:"range"`
			Protocol      string `json:"protocol"` // "tcp", or "tcp,udp"
		}
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("read podman's list: %w", err)
	}
	var all []published
	for _, c := range list {
		one := published{id: c.ID, pod: c.Pod}
		for _, port := range c.Ports {
			for protocol := range strings.SplitSeq(port.Protocol, ",") {
				one.ports = append(one.ports, publishedPort{
					protocol: Protocol(protocol), address: port.HostIP,
					first: port.HostPort, last: port.HostPort + max(port.Range, 1) - 1, inside: port.ContainerPort,
				})
			}
		}
		all = append(all, one)
	}
	return all, nil
}

func (p podman) look(ctx context.Context, id string) (container, error) {
	// inspect says that there is none in words alone.
	ids, err := p.ids(ctx, "id="+id)
	if err != nil {
		return container{}, err
	}
	if len(ids) == 0 {
		return container{}, fmt.Errorf("find container %.12s: %w", id, ErrGone)
	}
	out, err := p.ask(ctx, false, "container", "inspect", id)
	if err != nil {
		return container{}, err
	}
	var list []containerInspection
	if err := json.Unmarshal(out, &list); err != nil || len(list) != 1 {
		return container{}, fmt.Errorf("read what podman says of container %.12s: %d answers: %w", id, len(list), err)
	}
	c := list[0].container()
	label := list[0].Config.Labels["PODMAN_SYSTEMD_UNIT"] // from the unit that made it
	if unit := cmp.Or(label, p.unit); path.Ext(unit) == ".service" {
		return p.ofUnit(ctx, c, unit, label != "")
	}
	return p.ofPolicy(ctx, c)
}

// ids lists containers that match a filter, those that do not run too.
func (p podman) ids(ctx context.Context, filter string) ([]string, error) {
	out, err := p.ask(ctx, false, "ps", "--all", "--no-trunc", "--quiet", "--filter", filter)
	return strings.Fields(string(out)), err
}

// ofUnit tells what a unit means for a container that was made by it, or is in
// it. In it is not enough unless the container is what it runs: cron has a unit too.
func (p podman) ofUnit(ctx context.Context, c container, unit string, made bool) (container, error) {
	if p.user != "" {
		if c.running {
			c.master = fmt.Sprintf("%s of the service manager of user %s", unit, p.user)
		}
		return c, nil
	}
	units, err := p.units.Inspect(ctx, unit)
	if err != nil {
		return container{}, err
	}
	i := slices.IndexFunc(units, func(u Unit) bool { return u.Name == unit })
	if i < 0 || !running(units[i].Active) || !made && !slices.Contains(c.pids, units[i].MainPID) {
		return p.ofPolicy(ctx, c)
	}
	c.units = []string{unit}
	return c, nil
}

// podmanRestart is the unit that starts, at boot, the containers that are always
// to be started again.
const podmanRestart = "podman-restart.service"

// ofPolicy tells what the restart policy of a container means. Before podman 5.1
// it cannot be changed, and podman-restart.service starts even a container again
// that somebody stopped: it is closed along with it if it is there for this one
// alone.
func (p podman) ofPolicy(ctx context.Context, c container) (container, error) {
	if c.policy == neverAgain {
		return c, nil
	}
	out, err := p.ask(ctx, false, "--version")
	if err != nil {
		return container{}, err
	}
	if c.fixed = !podmanUpdates(string(out)); !c.fixed {
		return c, nil
	}
	boots := c.policy == "always"
	if boots && p.user == "" {
		units, err := p.units.Inspect(ctx, podmanRestart)
		if err != nil {
			return container{}, err
		}
		boots = len(units) > 0 && units[0].File == "enabled"
	}
	c.kept = boots || c.running
	if !boots || p.user != "" || !c.running {
		return c, nil
	}
	always, err := p.ids(ctx, "restart-policy=always")
	if err != nil {
		return container{}, err
	}
	if len(always) == 1 && always[0] == c.id {
		c.units = []string{podmanRestart}
	}
	return c, nil
}

var podmanVersion = regexp.MustCompile(`\bversion (\d+)\.(\d+)`)

// podmanUpdates tells from "podman version 5.4.2" whether it can change the
// restart policy of a container: since 5.1.
func podmanUpdates(said string) bool {
	v := podmanVersion.FindStringSubmatch(said)
	if v == nil {
		return false
	}
	major, _ := strconv.Atoi(v[1])
	minor, _ := strconv.Atoi(v[2])
	return major > 5 || major == 5 && minor >= 1
}

func (p podman) setPolicy(ctx context.Context, id, policy string) error {
	_, err := p.ask(ctx, false, "update", "--restart="+policy, id)
	return err
}

func (p podman) run(ctx context.Context, id string, on bool) error {
	verb := "stop"
	if on {
		verb = "start"
	}
	_, err := p.ask(ctx, on, verb, id)
	return err
}

// scopeFor names the scope to start a container in again: the one that its monitor
// was in, unless podman makes that one itself; "" is any.
func scopeFor(unit string) string {
	if path.Ext(unit) != ".scope" || strings.HasPrefix(unit, "libpod-") {
		return ""
	}
	return unit
}

// containerProcesses tells containers by their processes; the folder is /proc.
type containerProcesses struct{ proc string }

// podmanHelpers are programs that hold a published port open for containers of
// podman, and do not say for which.
var podmanHelpers = []string{"rootlessport", "slirp4netns", "pasta", "pasta.avx2"}

// podmanClaim looks for the monitor of a container above the processes that
// listen. A rule that passes a port on can only be the system's.
func (c containerProcesses) podmanClaim(l Listener) (claim, bool) {
	if l.Forward != "" {
		return claim{}, true
	}
	for _, pid := range l.Owner.PIDs {
		if found, ok := c.monitored(pid); ok {
			found.unit = cmp.Or(l.Owner.UserUnit, l.Owner.Unit)
			return found, true
		}
	}
	return claim{}, false
}

// deepest bounds how far up the parents of a process are looked at.
const deepest = 32

func (c containerProcesses) monitored(pid int) (claim, bool) {
	for range deepest {
		dir := path.Join(c.proc, strconv.Itoa(pid))
		link, _ := os.Readlink(dir + "/exe")
		name := path.Base(strings.TrimSuffix(link, " (deleted)"))
		args, err := os.ReadFile(dir + "/cmdline")
		if err != nil {
			return claim{}, false
		}
		for _, helper := range podmanHelpers {
			if name == helper {
				return claim{user: c.userOf(dir)}, true
			}
		}
		if id := monitoredID(splitArgs(args)); name == "conmon" && id != "" {
			return claim{id: id, user: c.userOf(dir)}, true
		}
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			return claim{}, false
		}
		s, ok := parseStat(stat)
		if !ok || s.ppid <= 1 {
			return claim{}, false
		}
		pid = s.ppid
	}
	return claim{}, false
}

// monitoredID returns the container that a conmon with these arguments is for.
func monitoredID(args []string) string {
	for i, arg := range args {
		if arg == "-c" && i+1 < len(args) && isContainerID(args[i+1]) {
			return args[i+1]
		}
	}
	return ""
}

// userOf returns the user of a process, "" for root.
func (c containerProcesses) userOf(dir string) string {
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(status) {
		f := strings.Fields(string(line))
		if len(f) < 3 || f[0] != "Uid:" || f[2] == "0" {
			continue
		}
		uid, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			return ""
		}
		var users userNames
		users.refresh()
		return users.name(uint32(uid))
	}
	return ""
}
