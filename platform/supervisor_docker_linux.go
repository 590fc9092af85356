package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const dockerSocket = "/run/docker.sock"

// newDocker is the supervisor of Docker's containers.
func newDocker() containers {
	return containers{
		kind: "docker", where: dockerSocket, units: newServices(),
		claims: containerProcesses{"/proc"}.dockerClaim,
		engine: func(claim) (engine, error) {
			if err := onlyRootServes(dockerSocket); err != nil {
				return nil, err
			}
			return newDockerEngine(dockerSocket), nil
		},
	}
}

// onlyRootServes refuses a socket that somebody else than root has made: what
// answers there would be believed.
func onlyRootServes(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("find docker: %w", ErrGone)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); !ok || s.Uid != 0 || info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s: not a socket of root: %w", name, ErrNotPermitted)
	}
	return nil
}

// docker is the engine whose daemon is spoken to over its socket: Docker Engine
// API, of the version that the daemon has.
type docker struct {
	client *http.Client
}

const dockerTimeout = 90 * time.Second // a container has 10 s to stop unless it asked for more

func newDockerEngine(socket string) docker {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", socket)
	}
	return docker{&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: dockerTimeout}}
}

// call sends one question and reads the answer into out, unless that is nil. An
// answer of 304 is that there was nothing to do.
func (d docker) call(ctx context.Context, method, where string, body, out any) error {
	var send io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("ask docker: %w", err)
		}
		send = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://docker"+where, send)
	if err != nil {
		return fmt.Errorf("ask docker: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := d.client.Do(request)
	if err != nil {
		return fmt.Errorf("ask docker: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	switch {
	case err != nil:
		return fmt.Errorf("read docker's answer: %w", err)
	case answer.StatusCode == http.StatusNotFound:
		return fmt.Errorf("ask docker for %s: %w", where, ErrGone)
	case answer.StatusCode == http.StatusNotModified:
		return nil
	case answer.StatusCode/100 != 2:
		var said struct{ Message string }
		_ = json.Unmarshal(text, &said) // without a message the status has to do
		return fmt.Errorf("docker answers %s: %s", answer.Status, printable(said.Message))
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("read docker's answer: %w", err)
	}
	return nil
}

func (d docker) list(ctx context.Context) ([]published, error) {
	var list []struct {
		ID    string `json:"Id"`
		Ports []struct {
			IP                      string
			PrivatePort, PublicPort uint16
			Type                    string
		}
	}
	if err := d.call(ctx, http.MethodGet, "/containers/json", nil, &list); err != nil {
		return nil, err
	}
	var all []published
	for _, c := range list {
		one := published{id: c.ID}
		for _, p := range c.Ports {
			if p.PublicPort != 0 {
				one.ports = append(one.ports, publishedPort{
					protocol: Protocol(p.Type), address: p.IP, first: p.PublicPort, last: p.PublicPort, inside: p.PrivatePort,
				})
			}
		}
		all = append(all, one)
	}
	return all, nil
}

func (d docker) look(ctx context.Context, id string) (container, error) {
	var seen containerInspection
	if err := d.call(ctx, http.MethodGet, "/containers/"+url.PathEscape(id)+"/json", nil, &seen); err != nil {
		return container{}, err
	}
	c := seen.container()
	for label := range seen.Config.Labels {
		switch {
		case strings.HasPrefix(label, "io.kubernetes."):
			c.master = "Kubernetes"
		case strings.HasPrefix(label, "com.docker.swarm."):
			c.master = "Docker Swarm"
		}
	}
	return c, nil
}

func (d docker) setPolicy(ctx context.Context, id, policy string) error {
	type restartPolicy struct {
		Name              string
		MaximumRetryCount int
	}
	name, retries, _ := strings.Cut(policy, ":")
	want := restartPolicy{Name: name}
	if retries != "" {
		n, err := strconv.Atoi(retries)
		if err != nil {
			return fmt.Errorf("restart policy %s: %w", policy, err)
		}
		want.MaximumRetryCount = n
	}
	body := struct{ RestartPolicy restartPolicy }{want}
	return d.call(ctx, http.MethodPost, "/containers/"+url.PathEscape(id)+"/update", body, nil)
}

func (d docker) run(ctx context.Context, id string, on bool) error {
	verb := "/stop"
	if on {
		verb = "/start"
	}
	return d.call(ctx, http.MethodPost, "/containers/"+url.PathEscape(id)+verb, nil, nil)
}

// dockerGroup finds a container in the text of /proc/PID/cgroup.
var dockerGroup = regexp.MustCompile(`docker[-/]([0-9a-f]{64})`)

// dockerClaim tells whether a process is in a container of Docker, or is the
// proxy that holds a published port.
func (c containerProcesses) dockerClaim(l Listener) (claim, bool) {
	if l.Forward != "" {
		return claim{}, true
	}
	for _, pid := range l.Owner.PIDs {
		dir := path.Join(c.proc, strconv.Itoa(pid))
		if link, _ := os.Readlink(dir + "/exe"); path.Base(strings.TrimSuffix(link, " (deleted)")) == "docker-proxy" {
			return claim{}, true
		}
		groups, err := os.ReadFile(dir + "/cgroup")
		if err != nil {
			continue
		}
		if found := dockerGroup.FindSubmatch(groups); found != nil {
			return claim{id: string(found[1])}, true
		}
	}
	return claim{}, false
}
