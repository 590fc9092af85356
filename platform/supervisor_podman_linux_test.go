package platform

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestPodmanKnowsFromWhenItCanUpdate(t *testing.T) {
	for said, want := range map[string]bool{
		"podman version 4.3.1": false, "podman version 5.0.3": false, "podman version 5.1.0": true,
		"podman version 5.4.2-rc1\n": true, "podman version 10.0.0": true, "": false, "podman": false,
	} {
		if podmanUpdates(said) != want {
			t.Errorf("%q: want %t", said, want)
		}
	}
}

// fakePodman answers as podman does, for one container.
type fakePodman struct {
	version string
	seen    containerInspection
	gone    bool
	others  []string // that are always to be started again
	did     []string
}

func (f *fakePodman) ask(_ context.Context, keeps bool, args ...string) ([]byte, error) {
	said := strings.Join(args, " ")
	switch {
	case said == "--version":
		return []byte("podman version " + f.version), nil
	case said == "ps --format json":
		return json.Marshal([]map[string]any{{"Id": f.seen.ID, "Ports": []map[string]any{{"host_port": 8082, "container_port": 80, "protocol": "tcp,udp", "range": 1}}}})
	case strings.HasPrefix(said, "ps --all") && strings.HasSuffix(said, "id="+f.seen.ID):
		if f.gone {
			return nil, nil
		}
		return []byte(f.seen.ID + "\n"), nil
	case strings.HasPrefix(said, "ps --all") && strings.HasSuffix(said, "restart-policy=always"):
		return []byte(strings.Join(append([]string{f.seen.ID}, f.others...), "\n")), nil
	case said == "container inspect "+f.seen.ID:
		return json.Marshal([]containerInspection{f.seen})
	}
	f.did = append(f.did, strings.ReplaceAll(said, f.seen.ID, "ID"))
	switch verb, rest, _ := strings.Cut(said, " "); verb {
	case "stop":
		f.seen.State.Running, f.seen.State.Status, f.seen.State.PID, f.seen.State.ConmonPID = false, "exited", 0, 0
	case "start":
		if !keeps {
			return nil, errors.New("its monitor would end with the unit that asks")
		}
		f.seen.State.Running, f.seen.State.Status, f.seen.State.PID, f.seen.State.ConmonPID = true, "running", 700, 699
	case "update":
		policy := strings.Fields(strings.TrimPrefix(rest, "--restart="))[0]
		name, retries, _ := strings.Cut(policy, ":")
		f.seen.HostConfig.RestartPolicy.Name = name
		f.seen.HostConfig.RestartPolicy.MaximumRetryCount, _ = strconv.Atoi(retries)
	}
	return nil, nil
}

// fakeUnits is a service manager of a few units.
type fakeUnits struct {
	Services
	units  []Unit
	onStop func()
	did    []string
}

func (f *fakeUnits) Inspect(_ context.Context, names ...string) (found []Unit, err error) {
	for _, u := range f.units {
		if slices.Contains(names, u.Name) {
			found = append(found, u)
		}
	}
	return found, nil
}

func (f *fakeUnits) Close(_ context.Context, units []Unit) error {
	for i, u := range f.units {
		if slices.Contains(unitNamesOf(units), u.Name) {
			f.units[i].Active, f.units[i].File, f.units[i].MainPID = "inactive", "masked", 0
			f.did = append(f.did, "close "+u.Name)
		}
	}
	if f.onStop != nil {
		f.onStop()
	}
	return nil
}

func (f *fakeUnits) Restore(_ context.Context, units []Unit) error {
	for _, u := range units {
		for i := range f.units {
			if f.units[i].Name == u.Name {
				f.units[i] = u
				f.did = append(f.did, "restore "+u.Name)
			}
		}
	}
	return nil
}

func realInspection(t *testing.T) containerInspection {
	t.Helper()
	var list []containerInspection
	if err := json.Unmarshal(readTestdata(t, "podman-inspect.json"), &list); err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	return list[0]
}

func TestPodmanContainerIsClosedAndPutBack(t *testing.T) {
	for name, c := range map[string]struct {
		version string
		change  func(f *fakePodman, u *fakeUnits)
		closed  string // what podman and systemd were told
		kept    bool   // after closing
		back    string
	}{
		"policy that can be changed": {"5.4.2", nil, "update --restart=no ID; stop ID", false, "update --restart=always ID; start ID"},
		"tries again three times": {"5.4.2", func(f *fakePodman, _ *fakeUnits) {
			f.seen.HostConfig.RestartPolicy.Name, f.seen.HostConfig.RestartPolicy.MaximumRetryCount = "on-failure", 3
		}, "update --restart=no ID; stop ID", false, "update --restart=on-failure:3 ID; start ID"},
		"never again": {"4.3.1", func(f *fakePodman, _ *fakeUnits) {
			f.seen.HostConfig.RestartPolicy.Name = ""
		}, "stop ID", false, "start ID"},
		"old, and started at boot": {"4.3.1", nil, "stop ID; close podman-restart.service", false, "start ID; restore podman-restart.service"},
		"old, and not the only one": {"4.3.1", func(f *fakePodman, _ *fakeUnits) {
			f.others = []string{hostID}
		}, "stop ID", true, "start ID"},
		"old, and nobody starts it at boot": {"4.3.1", func(_ *fakePodman, u *fakeUnits) {
			u.units[0].File = "disabled"
		}, "stop ID", false, "start ID"},
		"old, and only after a failure": {"4.3.1", func(f *fakePodman, _ *fakeUnits) {
			f.seen.HostConfig.RestartPolicy.Name = "on-failure"
		}, "stop ID", false, "start ID"},
		"of a unit that makes it anew": {"4.3.1", func(f *fakePodman, u *fakeUnits) {
			f.seen.HostConfig.AutoRemove = true
			f.seen.Config.Labels = map[string]string{"PODMAN_SYSTEMD_UNIT": "container-web.service"}
			u.units = append(u.units, Unit{Name: "container-web.service", Active: "active", File: "enabled"})
			u.onStop = func() { f.gone = true }
		}, "close container-web.service", false, "restore container-web.service"},
		"in a unit, and what it runs": {"4.3.1", func(f *fakePodman, u *fakeUnits) {
			f.seen.HostConfig.RestartPolicy.Name = ""
			u.units = append(u.units, Unit{Name: "found.service", Active: "active", File: "enabled", MainPID: f.seen.State.ConmonPID})
		}, "stop ID; close found.service", false, "start ID; restore found.service"},
		"in a unit that runs something else": {"4.3.1", func(f *fakePodman, u *fakeUnits) {
			f.seen.HostConfig.RestartPolicy.Name = ""
			u.units = append(u.units, Unit{Name: "found.service", Active: "active", File: "enabled", MainPID: 1})
		}, "stop ID", false, "start ID"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakePodman{version: c.version, seen: realInspection(t)}
			u := &fakeUnits{units: []Unit{{Name: podmanRestart, Active: "active", File: "enabled"}}}
			if c.change != nil {
				c.change(f, u)
			}
			before := f.seen
			s := fakeContainers(f, u)
			found, err := s.find(t.Context(), Listener{Protocol: TCP, Port: 8082})
			if err != nil || len(found) != 1 || len(found[0].PIDs) != 2 {
				t.Fatal(found, err)
			}
			p := throughJSON(t, found[0])
			for range 2 {
				if err := s.close(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
			if did := strings.Join(append(f.did, slices.Compact(u.did)...), "; "); did != c.closed {
				t.Errorf("closed by %q; want %q", did, c.closed)
			}
			now, err := s.inspect(t.Context(), p)
			if err != nil || len(now.PIDs) > 0 || now.Kept != c.kept {
				t.Errorf("closed, and it is %+v %v", now, err)
			}
			f.did, u.did = nil, nil
			for range 2 {
				if err := s.restore(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
			if did := strings.Join(append(f.did, slices.Compact(u.did)...), "; "); did != c.back {
				t.Errorf("put back by %q; want %q", did, c.back)
			}
			if f.seen.HostConfig != before.HostConfig {
				t.Errorf("put back as %+v; want %+v", f.seen.HostConfig, before.HostConfig)
			}
		})
	}
}

func fakeContainers(f *fakePodman, u *fakeUnits) containers {
	return containers{
		kind: "podman", where: podmanProgram, units: u,
		claims: func(Listener) (claim, bool) { return claim{unit: "found.service"}, true },
		engine: func(c claim) (engine, error) { return podman{user: c.user, unit: c.unit, units: u, ask: f.ask}, nil },
	}
}

func throughJSON(t *testing.T, p Program) (back Program) {
	t.Helper()
	text, err := json.Marshal(p)
	if err = errors.Join(err, json.Unmarshal(text, &back)); err != nil {
		t.Fatal(err)
	}
	return back
}

func TestContainerThatWasChangedIsLeftAlone(t *testing.T) {
	f := &fakePodman{version: "5.4.2", seen: realInspection(t)}
	s := fakeContainers(f, &fakeUnits{})
	found, err := s.find(t.Context(), Listener{Protocol: TCP, Port: 8082})
	if err = errors.Join(err, s.close(t.Context(), found[0])); err != nil {
		t.Fatal(err)
	}
	f.seen.HostConfig.RestartPolicy.Name = "unless-stopped"
	if err := s.restore(t.Context(), found[0]); !errors.Is(err, ErrChanged) || f.seen.State.Running {
		t.Error("another policy:", err)
	}
	f.gone = true
	if err := s.restore(t.Context(), found[0]); !errors.Is(err, ErrChanged) {
		t.Error("deleted:", err)
	}
	if _, err := s.inspect(t.Context(), found[0]); !errors.Is(err, ErrGone) {
		t.Error("deleted:", err)
	}
}

func TestContainerThatCannotBePutBackIsNotStopped(t *testing.T) {
	f := &fakePodman{version: "5.4.2", seen: realInspection(t)}
	f.seen.HostConfig.AutoRemove = true
	if _, err := fakeContainers(f, &fakeUnits{}).find(t.Context(), Listener{Protocol: TCP, Port: 8082}); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}
