package platform

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fakeDocker is a daemon with one container, which answers as Docker Engine API
// v1.41 says that it does.
type fakeDocker struct {
	mu      sync.Mutex
	inspect map[string]any
	gone    bool
	did     []string
}

func (f *fakeDocker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	state := f.inspect["State"].(map[string]any)
	id := f.inspect["Id"].(string)
	verb, ours := strings.CutPrefix(r.URL.Path, "/containers/"+id+"/")
	change := func(status int, on bool) {
		if state["Running"] == on {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		f.did = append(f.did, verb)
		state["Running"], state["Status"], state["Pid"] = on, map[bool]string{true: "running", false: "exited"}[on], map[bool]int{true: 4711}[on]
		w.WriteHeader(status)
	}
	switch {
	case r.URL.Path == "/containers/json":
		fmt.Fprintf(w, `[{"Id":%q,"Names":["/web"],"Image":"nginx:1.25","State":"running","Ports":[`+
			`{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},`+
			`{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"PrivatePort":443,"Type":"tcp"}]}]`, id)
	case !ours || f.gone:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"message":"No such container: %s"}`, id)
	case r.Method+verb == "GETjson":
		_ = json.NewEncoder(w).Encode(f.inspect)
	case r.Method+verb == "POSTstop":
		change(http.StatusNoContent, false)
	case r.Method+verb == "POSTstart":
		change(http.StatusNoContent, true)
	case r.Method+verb == "POSTupdate":
		body, _ := io.ReadAll(r.Body)
		var change struct{ RestartPolicy map[string]any }
		if err := json.Unmarshal(body, &change); err != nil || len(change.RestartPolicy) != 2 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		f.inspect["HostConfig"].(map[string]any)["RestartPolicy"] = change.RestartPolicy
		f.did = append(f.did, fmt.Sprintf("update %v %v", change.RestartPolicy["Name"], change.RestartPolicy["MaximumRetryCount"]))
		fmt.Fprint(w, `{"Warnings":null}`)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func serveDocker(t *testing.T, labels map[string]string, autoRemove bool) (*fakeDocker, containers) {
	t.Helper()
	f := &fakeDocker{inspect: map[string]any{
		"Id": hostID, "Name": "/web",
		"State":      map[string]any{"Status": "running", "Running": true, "Pid": 4711},
		"Config":     map[string]any{"Image": "nginx:1.25", "Labels": labels},
		"HostConfig": map[string]any{"AutoRemove": autoRemove, "RestartPolicy": map[string]any{"Name": "on-failure", "MaximumRetryCount": 5}},
	}}
	dir, err := os.MkdirTemp("", "docker") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: f}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	s := newDocker()
	s.units = &fakeUnits{}
	s.engine = func(claim) (engine, error) { return newDockerEngine(socket), nil }
	return f, s
}

func forwardTo(port uint16, to string) Listener {
	return Listener{Protocol: TCP, Address: netip.IPv4Unspecified(), Port: port, Forward: to}
}

func TestDockerContainerIsClosedAndPutBack(t *testing.T) {
	f, s := serveDocker(t, nil, false)
	for _, l := range []Listener{forwardTo(8081, "172.17.0.2:80"), forwardTo(8080, "172.17.0.2:443")} {
		if found, err := s.find(t.Context(), l); err != nil || len(found) != 0 {
			t.Error(found, err)
		}
	}
	found, err := s.find(t.Context(), forwardTo(8080, "172.17.0.2:80"))
	if err != nil || len(found) != 1 || found[0].Title != "container web (nginx:1.25)" || !found[0].Kept || !slices.Equal(found[0].PIDs, []int{4711}) {
		t.Fatalf("%+v %v", found, err)
	}
	p := throughJSON(t, found[0])
	for range 2 {
		if err := s.close(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if now, err := s.inspect(t.Context(), p); err != nil || now.Kept || len(now.PIDs) > 0 {
		t.Errorf("%+v %v", now, err)
	}
	for range 2 {
		if err := s.restore(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"update no 0", "stop", "update on-failure 5", "start"}; !slices.Equal(f.did, want) {
		t.Errorf("docker was told %q; want %q", f.did, want)
	}
	f.gone = true
	if err := s.restore(t.Context(), p); !errors.Is(err, ErrChanged) {
		t.Error("deleted:", err)
	}
	if err := s.close(t.Context(), p); err != nil {
		t.Error("deleted:", err)
	}
}

func TestDockerLeavesTheContainersOfOthersAlone(t *testing.T) {
	for says, labels := range map[string]map[string]string{
		"Kubernetes":   {"io.kubernetes.pod.name": "web-0"},
		"Docker Swarm": {"com.docker.swarm.service.id": "x"},
	} {
		_, s := serveDocker(t, labels, false)
		if _, err := s.find(t.Context(), forwardTo(8080, "172.17.0.2:80")); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	_, s := serveDocker(t, nil, true)
	if _, err := s.find(t.Context(), forwardTo(8080, "172.17.0.2:80")); !errors.Is(err, ErrUnsupported) {
		t.Error("deleted when it stops:", err)
	}
}

func TestDockerIsOnlyBelievedFromASocketOfRoot(t *testing.T) {
	dir := t.TempDir()
	if err := onlyRootServes(filepath.Join(dir, "none")); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := onlyRootServes(filepath.Join(dir, "file")); !errors.Is(err, ErrNotPermitted) {
		t.Error("a file:", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give a socket to somebody else")
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := onlyRootServes(filepath.Join(dir, "s")); err != nil {
		t.Error(err)
	}
	if err := os.Chown(filepath.Join(dir, "s"), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := onlyRootServes(filepath.Join(dir, "s")); !errors.Is(err, ErrNotPermitted) {
		t.Error("of somebody else:", err)
	}
}
