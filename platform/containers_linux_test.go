package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	webID  = "50630b42e8781ed15e2a7e434b7fcede82650233fe14b15c1e7cb16344554d59"
	hostID = "f4a210ae114204ba840f93426102241d98b1b191ba89740d0e01432ef9fcc6a3"
)

func TestPodmanListIsRead(t *testing.T) {
	all, err := parsePodmanList(readTestdata(t, "podman-ps.json"))
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	for _, c := range []struct {
		protocol Protocol
		address  string
		port     uint16
		forward  string
		want     string
	}{
		{TCP, "0.0.0.0", 8082, "", "web2"},
		{TCP, "::", 8082, "", "web2"},
		{TCP, "0.0.0.0", 8082, "10.88.0.7:80", "web2"},
		{TCP, "0.0.0.0", 8082, "10.88.0.7:81", ""}, // another rule, for another port
		{UDP, "0.0.0.0", 8082, "", ""},
		{UDP, "127.0.0.1", 8095, "", "two"}, // in the middle of a range
		{UDP, "127.0.0.1", 8095, "10.88.0.9:85", "two"},
		{UDP, "127.0.0.1", 8097, "", ""},
		{UDP, "192.0.2.1", 8095, "", ""}, // published on another address
		{TCP, "::", 8097, "", "two"},
		{TCP, "0.0.0.0", 8084, "", ""},
	} {
		l := Listener{Protocol: c.protocol, Address: netip.MustParseAddr(c.address), Port: c.port, Forward: c.forward}
		var want []string
		if c.want != "" {
			want = []string{map[string]string{"web2": webID, "two": strings.Repeat("2", 64)}[c.want]}
		}
		if got := behind(all, "", l); !slices.Equal(got, want) {
			t.Errorf("%s %s %d to %q: got %.12v; want %s", c.protocol, c.address, c.port, c.forward, got, c.want)
		}
	}
	if got := behind(all, hostID, Listener{Protocol: TCP, Port: 8084}); !slices.Equal(got, []string{hostID}) {
		t.Error("a container that is named by its monitor:", got)
	}
}

func TestContainersOfAPodGoTogether(t *testing.T) {
	all := []published{
		{id: "infra", pod: "p", ports: []publishedPort{{protocol: TCP, first: 80, last: 80, inside: 80}}},
		{id: "web", pod: "p"},
		{id: "other", pod: "q"},
		{id: "alone"},
	}
	if got := behind(all, "", Listener{Protocol: TCP, Port: 80}); !slices.Equal(got, []string{"infra", "web"}) {
		t.Error(got)
	}
	if got := behind(all, "alone", Listener{Protocol: TCP, Port: 80}); !slices.Equal(got, []string{"alone"}) {
		t.Error(got)
	}
}

func readTestdata(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "containers", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestContainerIsFoundByItsProcesses(t *testing.T) {
	proc := containerProcesses{t.TempDir()}
	add := func(pid, ppid int, exe, cgroup string, uid int, args ...string) {
		dir := filepath.Join(proc.proc, strconv.Itoa(pid))
		err := errors.Join(
			os.Mkdir(dir, 0o755),
			os.Symlink(exe, dir+"/exe"),
			os.WriteFile(dir+"/cmdline", []byte(strings.Join(args, "\x00")+"\x00"), 0o644),
			os.WriteFile(dir+"/cgroup", []byte("0::"+cgroup+"\n"), 0o644),
			os.WriteFile(dir+"/stat", []byte(fmt.Sprintf("%d (a b) c) S %d%s 77 0\n", pid, ppid, strings.Repeat(" 0", 17))), 0o644),
			os.WriteFile(dir+"/status", []byte(fmt.Sprintf("Name:\tx\nUid:\t0\t%d\t0\t0\n", uid)), 0o644),
		)
		if err != nil {
			t.Fatal(err)
		}
	}
	add(10, 1, "/usr/bin/conmon", "/machine.slice/libpod-conmon-x.scope", 0, "/usr/bin/conmon", "--api-version", "1", "-c", webID, "-u", webID)
	add(11, 10, "/serve", "/machine.slice/libpod-"+webID+".scope", 0, "/serve")
	add(12, 11, "/worker", "/machine.slice/libpod-"+webID+".scope/container/init.scope", 0, "/worker")
	add(20, 1, "/usr/lib/podman/rootlessport (deleted)", "/user.slice", 4294967, "rootlessport")
	add(30, 2, "/usr/bin/docker-proxy", "/system.slice/docker.service", 0, "docker-proxy")
	add(31, 2, "/app", "/system.slice/docker-"+hostID+".scope", 0, "app")
	add(32, 2, "/app", "/docker/"+hostID, 0, "app")
	add(40, 1, "/usr/bin/conmon", "/", 0, "conmon", "-c", "../../etc")
	add(50, 51, "/usr/sbin/nginx", "/system.slice/nginx.service", 0, "nginx")
	add(51, 50, "/usr/sbin/nginx", "/system.slice/nginx.service", 0, "nginx") // no tree at all

	for _, c := range []struct {
		pid     int
		podman  bool
		docker  bool
		want    claim
		unit    string
		forward string
	}{
		{pid: 10, podman: true, want: claim{id: webID, unit: "container-web.service"}, unit: "container-web.service"},
		{pid: 10, podman: true, want: claim{id: webID, unit: "run-r1.scope"}, unit: "run-r1.scope"},
		{pid: 12, podman: true, want: claim{id: webID}},
		{pid: 20, podman: true, want: claim{user: "4294967"}},
		{pid: 30, docker: true, want: claim{}},
		{pid: 31, docker: true, want: claim{id: hostID}},
		{pid: 32, docker: true, want: claim{id: hostID}},
		{pid: 40},
		{pid: 50},
		{pid: 99},
		{forward: "10.88.0.2:80", podman: true, docker: true},
	} {
		l := Listener{Forward: c.forward, Owner: Owner{PIDs: []int{c.pid}, Unit: c.unit}}
		if got, ok := proc.podmanClaim(l); ok != c.podman || ok && got != c.want {
			t.Errorf("podman, pid %d: got %+v %t", c.pid, got, ok)
		}
		if got, ok := proc.dockerClaim(l); ok != c.docker || ok && got != c.want {
			t.Errorf("docker, pid %d: got %+v %t", c.pid, got, ok)
		}
	}
}

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
