//go:build linux

package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Status is what a test asks of `firebreak status --json`. It and Threat are
// written from the contract, not from the program: a field that is renamed is
// found out.
type Status struct {
	State    string         `json:"state"`
	Mode     string         `json:"mode"`
	Isolated bool           `json:"isolated"`
	Open     map[string]int `json:"open"`
	Policy   struct {
		Version string `json:"version"`
		Valid   bool   `json:"valid"`
	} `json:"policy"`
	Gaps []struct {
		Part   string `json:"part"`
		Reason string `json:"reason"`
	} `json:"gaps"`
	Troubles []string `json:"troubles"`
	Flags    []struct {
		Name string   `json:"name"`
		Text string   `json:"text"`
		Told []string `json:"told"`
	} `json:"flags"`
	Agent struct {
		Version    string  `json:"version"`
		RSSBytes   uint64  `json:"rss_bytes"`
		CPUSeconds float64 `json:"cpu_seconds"`
	} `json:"agent"`
}

// Threat is one of `firebreak threats --json`.
type Threat struct {
	ID       string `json:"id"`
	Detector string `json:"detector"`
	Subject  struct {
		Port *struct {
			Protocol string `json:"protocol"`
			Port     uint16 `json:"port"`
			Address  string `json:"address"`
			Exe      string `json:"exe"`
			Unit     string `json:"unit"`
			Package  string `json:"package"`
			Reach    string `json:"reach"`
			NetNS    string `json:"netns"`
		} `json:"port"`
		OS *struct {
			ID       string `json:"id"`
			Version  string `json:"version"`
			Verdict  string `json:"verdict"`
			DataDate string `json:"data_date"`
		} `json:"os"`
	} `json:"subject"`
	Severity    string   `json:"severity"`
	Stage       string   `json:"stage"`
	WaitingFor  string   `json:"waiting_for"`
	InForce     []string `json:"in_force"`
	Summary     string   `json:"summary"`
	Next        string   `json:"next"`
	Recurrences int      `json:"recurrences"`
	Verdict     string   `json:"verdict"`
	Evidence    []string `json:"evidence"`
	Actions     []struct {
		Name   string `json:"name"`
		Kind   string `json:"kind"`
		Result string `json:"result"`
		Detail string `json:"detail"`
	} `json:"actions"`
	Proofs []struct {
		Look    string `json:"look"`
		How     string `json:"how"`
		Verdict string `json:"verdict"`
	} `json:"proofs"`
}

// IsPort tells whether the threat is about this port.
func (th Threat) IsPort(port uint16) bool {
	return th.Subject.Port != nil && th.Subject.Port.Port == port
}

// InstallAgent builds the agent, copies it to the host, writes its policy, and
// installs and starts it as its user would.
func (h *Host) InstallAgent(t testing.TB, policy string) {
	t.Helper()
	h.CopyAgent(t)
	h.SetPolicy(t, policy)
	h.Run(t, agentPath, "install")
	h.Run(t, agentPath, "start")
	h.WaitForAgent(t)
}

const agentPath = "/usr/local/bin/firebreak"

// CopyAgent copies the agent to the host, without installing it.
func (h *Host) CopyAgent(t testing.TB) {
	t.Helper()
	h.Put(t, agentPath, 0o755, AgentProgram(t))
}

// AgentProgram builds the agent, or takes the one that FIREBREAK_BIN names.
func AgentProgram(t testing.TB) []byte {
	t.Helper()
	binary := os.Getenv("FIREBREAK_BIN")
	if binary == "" {
		binary = filepath.Join(t.TempDir(), "firebreak")
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.version=lab",
			"-o", binary, "github.com/firebreak-sec/firebreak/cmd/firebreak")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build the agent: %v: %s", err, out)
		}
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatalf("read the agent: %v", err)
	}
	return content
}

// SetPolicy writes the host's policy file.
func (h *Host) SetPolicy(t testing.TB, policy string) {
	t.Helper()
	h.Put(t, "/etc/firebreak/policy.yaml", 0o644, []byte(policy))
}

// WaitForAgent waits until the agent has looked once.
func (h *Host) WaitForAgent(t testing.TB) {
	t.Helper()
	Eventually(t, 20*time.Second, func() error {
		out, errs, code := h.Try(agentPath, "status", "--json")
		if code > 1 {
			return fmt.Errorf("firebreak status: exit code %d: %s%s", code, out, errs)
		}
		var looked struct {
			LastLook *time.Time `json:"last_look"`
		}
		if err := json.Unmarshal([]byte(out), &looked); err != nil {
			return fmt.Errorf("read status: %w: %s", err, out)
		}
		if looked.LastLook == nil {
			return fmt.Errorf("the agent has not looked yet: %s", out)
		}
		return nil
	})
}

// Firebreak runs a command of the agent on the host and returns what it printed.
func (h *Host) Firebreak(t testing.TB, args ...string) string {
	t.Helper()
	return h.Run(t, append([]string{agentPath}, args...)...)
}

// TryFirebreak is Firebreak for a command that may fail.
func (h *Host) TryFirebreak(args ...string) (stdout, stderr string, code int) {
	return h.Try(append([]string{agentPath}, args...)...)
}

// Status asks the agent how the host is.
func (h *Host) Status(t testing.TB) Status {
	t.Helper()
	var s Status
	h.ask(t, &s, "status", "--json")
	return s
}

// Threats asks the agent for all threats, the resolved ones too.
func (h *Host) Threats(t testing.TB) []Threat {
	t.Helper()
	var list struct {
		Threats []Threat `json:"threats"`
	}
	h.ask(t, &list, "threats", "--all", "--json")
	return list.Threats
}

// ask reads the JSON of a command that exits with 1 when something is open.
func (h *Host) ask(t testing.TB, into any, args ...string) {
	t.Helper()
	out, errs, code := h.TryFirebreak(args...)
	if code > 1 {
		t.Fatalf("%s: firebreak %s: exit code %d: %s%s", h.Name, strings.Join(args, " "), code, out, errs)
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("%s: firebreak %s: %v: %s", h.Name, strings.Join(args, " "), err, out)
	}
}

// WaitThreat waits until a threat is as wanted and returns it. What says in
// words what is waited for.
func (h *Host) WaitThreat(t testing.TB, within time.Duration, what string, wanted func(Threat) bool) Threat {
	t.Helper()
	var found Threat
	Eventually(t, within, func() error {
		all := h.Threats(t)
		for _, th := range all {
			if wanted(th) {
				found = th
				return nil
			}
		}
		text, _ := json.Marshal(all)
		return fmt.Errorf("%s: no threat is %s: %s", h.Name, what, text)
	})
	return found
}

// Eventually calls f until it returns nil, and fails the test with f's last
// error if it does not within this time.
func Eventually(t testing.TB, within time.Duration, f func() error) {
	t.Helper()
	end := time.Now().Add(within)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %s: %v", within, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// SSH runs a command on the host through its sshd, with a terminal, as a person
// who logs in from the management computer does. It runs until stop is called,
// which returns all that the terminal showed.
func (h *Host) SSH(t testing.TB, user, command string) (stop func() string) {
	t.Helper()
	var screen strings.Builder
	cmd := exec.Command("nsenter", "--net="+h.network.Management.ns.Path(), "ssh", "-tt", "-q",
		"-i", h.network.base.key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "BatchMode=yes", user+"@"+h.IPv4.String(), command)
	cmd.Stdout, cmd.Stderr = &screen, &screen
	if err := cmd.Start(); err != nil {
		t.Fatalf("start ssh: %v", err)
	}
	stopped := false
	stop = func() string {
		if !stopped {
			stopped = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		return screen.String()
	}
	t.Cleanup(func() { stop() })
	return stop
}
