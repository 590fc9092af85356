package platform

import (
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
