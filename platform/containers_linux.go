package platform

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// engine is a container engine as one user has it.
type engine interface {
	// list returns the containers that run, and what they publish.
	list(ctx context.Context) ([]published, error)
	look(ctx context.Context, id string) (container, error) // ErrGone
	setPolicy(ctx context.Context, id, policy string) error
	run(ctx context.Context, id string, on bool) error
}

// published is a container that runs, and the ports of the host that it has.
type published struct {
	id    string
	pod   string // the pod whose network it shares, or ""
	ports []publishedPort
}

// publishedPort is a range of ports of the host that lead into a container.
type publishedPort struct {
	protocol    Protocol
	address     string // "" is every address
	first, last uint16
	inside      uint16 // the port in the container that first leads to
}

// container is one container as its engine tells it.
type container struct {
	id, name, image string
	running         bool
	policy          string // when it is started again: see policyText
	// fixed says that the engine is too old to change the policy of a container
	// that exists.
	fixed bool
	// kept says that it would start again by itself, or does not stay stopped.
	kept bool
	// removed says that it is gone for good when it stops.
	removed bool
	// master is what runs it and would start it again at once, in words; "" if
	// that is nobody who must be left alone.
	master string
	units  []string // of the system's service manager, that start it
	pids   []int
}

// neverAgain is the restart policy of a container that stays as it is.
const neverAgain = "no"

// containerInspection is what podman and docker both tell of one container.
type containerInspection struct {
	ID        string `json:"Id"`
	Name      string
	ImageName string // podman alone
	State     struct {
		Status    string
		Running   bool
		PID       int `json:"Pid"`
		ConmonPID int `json:"ConmonPid"`
	}
	Config struct {
		Image  string
		Labels map[string]string
	}
	HostConfig struct {
		AutoRemove    bool
		RestartPolicy struct {
			Name              string
			MaximumRetryCount int
		}
	}
}

func (i containerInspection) container() container {
	c := container{
		id: i.ID, name: strings.TrimPrefix(i.Name, "/"), image: cmp.Or(i.ImageName, i.Config.Image),
		running: i.State.Running || i.State.Status == "running" || i.State.Status == "paused" || i.State.Status == "restarting",
		policy:  policyText(i.HostConfig.RestartPolicy.Name, i.HostConfig.RestartPolicy.MaximumRetryCount),
		removed: i.HostConfig.AutoRemove,
	}
	for _, pid := range []int{i.State.PID, i.State.ConmonPID} {
		if pid > 0 && c.running {
			c.pids = append(c.pids, pid)
		}
	}
	slices.Sort(c.pids)
	c.kept = c.policy != neverAgain
	return c
}

// policyText writes a restart policy as the command lines of the engines do:
// "no", "always", "unless-stopped", "on-failure" or "on-failure:3".
func policyText(name string, retries int) string {
	if name == "" {
		return neverAgain
	}
	if name == "on-failure" && retries > 0 {
		return name + ":" + strconv.Itoa(retries)
	}
	return name
}

// containers is the supervisor of one kind of container engine.
type containers struct {
	kind string
	// claims tells whether a listener can be this engine's doing, and of whose.
	claims func(l Listener) (claim, bool)
	engine func(claim) (engine, error) // ErrGone: there is none
	where  string
	units  Services
}

// claim is what the processes behind a listener tell of its container.
type claim struct {
	id   string // "" is not known: the engine knows it by the port
	user string // whose engine; "" is the system's
	unit string // of the user's service manager, or the system's, that its monitor is in, or ""
}

func (s containers) find(ctx context.Context, l Listener) ([]Program, error) {
	c, ok := s.claims(l)
	if !ok {
		return nil, nil
	}
	e, err := s.engine(c)
	if errors.Is(err, ErrGone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := e.list(ctx)
	if err != nil {
		return nil, err
	}
	var found []Program
	for _, id := range behind(all, c.id, l) {
		now, err := e.look(ctx, id)
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p, err := s.program(ctx, now, c)
		if err != nil {
			return nil, err
		}
		found = append(found, p)
	}
	return found, nil
}

// behind returns the containers that a listener belongs to: the one with this
// ID, or else those that publish the port; with all that share its network, since
// any of them may listen there.
func behind(all []published, id string, l Listener) []string {
	var ids, pods []string
	for _, c := range all {
		if c.id == id || id == "" && slices.ContainsFunc(c.ports, func(p publishedPort) bool { return p.leads(l) }) {
			ids = append(ids, c.id)
			if c.pod != "" {
				pods = append(pods, c.pod)
			}
		}
	}
	for _, c := range all {
		if slices.Contains(pods, c.pod) && !slices.Contains(ids, c.id) {
			ids = append(ids, c.id)
		}
	}
	return ids
}

func (p publishedPort) leads(l Listener) bool {
	if p.protocol != l.Protocol || l.Port < p.first || l.Port > p.last {
		return false
	}
	if _, port, ok := cutLast(l.Forward, ":"); ok && port != strconv.Itoa(int(p.inside+l.Port-p.first)) {
		return false
	}
	return isWildcard(p.address) || !l.Address.IsValid() || l.Address.IsUnspecified() || p.address == l.Address.String()
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func isWildcard(address string) bool {
	return address == "" || address == "0.0.0.0" || address == "::"
}

// The keys of a container's Program.State.
const (
	stateID     = "id"
	stateStatus = "status" // "running" or "stopped"
	statePolicy = "restart policy"
	stateUnits  = "units" // JSON of the units that start it, as they were
	stateScope  = "scope" // the unit that its monitor was in, if that starts nothing
)

// program describes a container as it is. It is an ErrUnsupported that the
// container must not be stopped, because it could not be put back, or because
// somebody else would start it again at once.
func (s containers) program(ctx context.Context, c container, of claim) (Program, error) {
	p := Program{
		Kind: s.kind, Name: c.name, User: of.user, Where: s.where, Title: fmt.Sprintf("container %s (%s)", c.name, c.image),
		State: map[string]string{stateID: c.id, statePolicy: c.policy, stateStatus: statusOf(c)},
		PIDs:  c.pids, Kept: c.kept,
	}
	if of.user != "" {
		p.Title += " of user " + of.user
	}
	if path.Ext(of.unit) == ".scope" {
		p.State[stateScope] = of.unit
	}
	if c.master != "" {
		return Program{}, fmt.Errorf("%s is run by %s, which has to stop it: %w", p.Title, c.master, ErrUnsupported)
	}
	if len(c.units) > 0 {
		units, err := s.units.Inspect(ctx, c.units...)
		if err != nil {
			return Program{}, err
		}
		text, err := json.Marshal(units)
		if err != nil {
			return Program{}, fmt.Errorf("describe %s: %w", p.Title, err)
		}
		if len(units) > 0 {
			p.State[stateUnits] = string(text)
			p.Kept = slices.ContainsFunc(units, startsAgain)
		}
	}
	if c.removed && p.State[stateUnits] == "" {
		return Program{}, fmt.Errorf("%s is deleted when it stops, and could not be put back: %w", p.Title, ErrUnsupported)
	}
	return p, nil
}

func statusOf(c container) string {
	if c.running {
		return "running"
	}
	return "stopped"
}

// unitsOf returns the units that start the container, as they were.
func unitsOf(p Program) ([]Unit, error) {
	text := p.State[stateUnits]
	if text == "" {
		return nil, nil
	}
	var units []Unit
	if err := json.Unmarshal([]byte(text), &units); err != nil {
		return nil, fmt.Errorf("read what was recorded of the units of %s: %w", p.Title, err)
	}
	return units, nil
}
