//go:build linux

package lab_test

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

// faultPoints are all the places where the agent can be ended by a test: before
// and after each step of each action and each write of the journal. The test
// fails if one of them is never passed, and if one is passed that is not here.
var faultPoints = []string{
	"journal: before commit", "journal: after commit",
	"restrictions: before apply", "restrictions: after apply",
	"intent: before write", "intent: after write",
	"close-port: before do", "close-port: after do", "close-port: before result",
	"services.masked", "services.stopped", "services.disabled",
	"close-port: ended process", "processes.terminated",
	"flag-os-upgrade: before do", "flag-os-upgrade: after do", "flag-os-upgrade: before result",
	"flag-os-upgrade: before notice", "flags.written",
	"verdict: before",
	"close-port: before undo", "close-port: after undo",
	"flag-os-upgrade: before undo", "flag-os-upgrade: after undo",
	"services.unmasked", "services.relinked",
}

// kills is how often the agent is killed at least.
const kills = 200

// spare are kills on top of these: a life that took another turn may not come to
// its point.
const spare = 20

// stories are what the agent does before and after it is killed, each with the
// policy it runs under; testdata/crash.sh tells them.
var stories = map[string]string{
	"service": crashPolicy("deny: [{port: 6379, severity: critical, plan: close}]"),
	"process": crashPolicy("deny: [{port: 7001, severity: critical, plan: shut}]"),
	"isolate": crashPolicy("deny: []"),
}

func crashPolicy(deny string) string {
	return `version: firebreak/v1
name: crash
mode: enforce
ports:
  allow: [{port: 22}]
  ` + deny + `
os: {extended: none, plan: upgrade}
plans:
  close: {remediate: [close-port]}
  shut: {mitigate: [block-port], remediate: [close-port]}
  upgrade: {remediate: [flag-os-upgrade]}
limits: {disruptivePerHour: 1000}
`
}

//go:embed testdata/crash.sh
var crashScript []byte

// life is what the script says of one host after one crash.
type life struct {
	Killed bool `json:"killed"` // the agent ended at its fault point
	Status struct {
		Isolated bool     `json:"isolated"`
		Blocked  []any    `json:"blocked"`
		Troubles []string `json:"troubles"`
	} `json:"status"`
	Threats struct {
		Threats []lab.Threat `json:"threats"`
	} `json:"threats"`
	Unit    string `json:"unit"`    // ActiveState and UnitFileState of redis-server
	Tables  string `json:"tables"`  // nft list tables
	History string `json:"history"` // how many lines mention redis-server
}

// TestKilledAnywhere kills the agent at every fault point, at every passing of
// it, on a host with real systemd, nftables and processes, and looks what the
// next agent makes of what was left.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	hosts := n.Boot(t, "alpha", "beta", "gamma", "delta")
	binary := faultBinary(t)
	for _, h := range hosts {
		openRedis(t, h)
		h.Put(t, "/usr/local/bin/firebreak", 0o755, binary)
		h.Put(t, "/usr/local/bin/crash", 0o755, crashScript)
		for name, policy := range stories {
			h.Put(t, "/etc/crash-"+name+"/policy.yaml", 0o644, []byte(policy))
		}
	}
	plan := killList(passings(t, hosts[0]))
	hit := make(chan string, len(plan))
	t.Run("hosts", func(t *testing.T) {
		for i, h := range hosts {
			t.Run(h.Name, func(t *testing.T) {
				t.Parallel()
				for j := i; j < len(plan); j += len(hosts) {
					if crash(t, h, plan[j]) {
						hit <- plan[j].point
					}
				}
			})
		}
	})
	close(hit)
	count := map[string]int{}
	total := 0
	for point := range hit {
		count[point]++
		total++
	}
	for _, point := range faultPoints {
		if count[point] == 0 {
			t.Errorf("the agent was never killed at %q", point)
		}
	}
	t.Logf("killed %d times at %d points", total, len(count))
	if total < kills {
		t.Errorf("killed %d times; want at least %d", total, kills)
	}
}

// faultBinary is the agent, built so that it can be ended at a fault point.
func faultBinary(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "firebreak")
	build := exec.Command("go", "build", "-tags=faults", "-trimpath", "-buildvcs=false", "-o", path, "github.com/firebreak-sec/firebreak/cmd/firebreak")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the agent: %v: %s", err, out)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// kill is one death: in which story, at which passing of which point.
type kill struct {
	story, point string
	nth          int
}

func (k kill) String() string { return fmt.Sprintf("%s, %s#%d", k.story, k.point, k.nth) }

// killList has every passing of every point in every story, the first ones
// first, and begins again until there are enough.
func killList(passed map[string]map[string]int) []kill {
	var all []kill
	for _, story := range slices.Sorted(maps.Keys(passed)) {
		for _, point := range faultPoints {
			for nth := range passed[story][point] {
				all = append(all, kill{story, point, nth + 1})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b kill) int { return a.nth - b.nth })
	plan := slices.Clone(all)
	for len(plan) < kills+spare {
		plan = append(plan, all...)
	}
	return plan[:max(len(all), kills+spare)]
}

// passings lets the agent live through every story once, unharmed, and returns
// how often it passed each point.
func passings(t *testing.T, h *lab.Host) map[string]map[string]int {
	t.Helper()
	passed := map[string]map[string]int{}
	total := map[string]int{}
	for story := range stories {
		passed[story] = map[string]int{}
		if l, log := oneLife(t, h, kill{story: story, point: "none"}); l.Killed {
			t.Fatalf("%s: the agent ended by itself: %s", story, log)
		}
		for line := range strings.Lines(h.Run(t, "cat", "/run/crash.log")) {
			passed[story][strings.TrimSpace(line)]++
			total[strings.TrimSpace(line)]++
		}
	}
	for _, point := range faultPoints {
		if total[point] == 0 {
			t.Errorf("no story passes %q", point)
		}
	}
	for point := range total {
		if !slices.Contains(faultPoints, point) {
			t.Errorf("a story passes %q, which is not in the list", point)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	return passed
}

// crash kills the agent at a point, lets another one take over, and checks what
// is left. It returns whether the agent was killed there.
func crash(t *testing.T, h *lab.Host, point kill) bool {
	t.Helper()
	l, log := oneLife(t, h, point)
	closed := point.story == "service" && l.Unit != "active enabled"
	for _, th := range l.Threats.Threats {
		if th.Subject.OS != nil {
			continue
		}
		if th.Stage != "resolved" && th.Stage != "excepted" {
			t.Errorf("%s: %s is left %s (%s)\n%s", point, th.ID, th.Stage, th.Summary, log)
		}
		if th.IsPort(6379) && th.Stage == "excepted" && closed {
			t.Errorf("%s: undone, and yet redis-server is %q\n%s", point, l.Unit, log)
		}
	}
	if want := map[string]int{"service": 2, "process": 2, "isolate": 1}[point.story]; len(l.Threats.Threats) < want {
		t.Errorf("%s: only %d threats are known\n%s", point, len(l.Threats.Threats), log)
	}
	if closed && l.History == "0" {
		t.Errorf("%s: redis-server is %q and the journal says nothing of it\n%s", point, l.Unit, log)
	}
	if rules := strings.Contains(l.Tables, "firebreak"); rules && len(l.Status.Blocked) == 0 && !l.Status.Isolated {
		t.Errorf("%s: rules without a threat: %s\n%s", point, l.Tables, log)
	}
	if len(l.Status.Troubles) > 0 {
		t.Errorf("%s: troubles %q\n%s", point, l.Status.Troubles, log)
	}
	return l.Killed
}

func oneLife(t *testing.T, h *lab.Host, k kill) (l life, log string) {
	t.Helper()
	began := time.Now()
	point := k.point
	if k.nth > 0 {
		point = fmt.Sprintf("%s#%d", k.point, k.nth)
	}
	out, log, code := h.Try("/usr/local/bin/crash", k.story, point)
	t.Logf("%s: %s", k, time.Since(began).Round(10*time.Millisecond))
	if code != 0 {
		t.Fatalf("%s: the story broke off: exit code %d\n%s%s", k, code, out, log)
	}
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		t.Fatalf("%s: %v in %q\n%s", k, err, out, log)
	}
	return l, log
}
