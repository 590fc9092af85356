package detect_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

var updatePorts = flag.Bool("update-open-port", false, "rewrite the expected findings in testdata/open_port")

// An example is an archive of a policy (the embedded one if it has none), a
// snapshot, the findings, and, if it asks, answers about ports.
func TestOpenPortByExample(t *testing.T) {
	for _, path := range openPortExamples(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			policy, snapshot := readExample(t, archive)
			findings, err := detect.OpenPort.Find(detect.Input{Policy: policy, Snapshot: snapshot})
			if err != nil {
				t.Fatal(err)
			}
			compareOrRewrite(t, path, archive, "findings", showFindings(findings))
			if questions := fileIn(archive, "questions"); questions != nil {
				compareOrRewrite(t, path, archive, "answers", answer(t, string(questions), policy, snapshot))
			}
		})
	}
}

func openPortExamples(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/open_port/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	return paths
}

func readExample(t testing.TB, archive *txtar.Archive) (configs.Policy, platform.Snapshot) {
	t.Helper()
	policy, err := configs.Default()
	if file := fileIn(archive, "policy.yaml"); file != nil {
		policy, err = configs.ParsePolicy(file, "policy.yaml")
	}
	if err != nil {
		t.Fatal(err)
	}
	var snapshot platform.Snapshot
	decoder := json.NewDecoder(strings.NewReader(string(fileIn(archive, "snapshot.json"))))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&snapshot); err != nil {
		t.Fatal(err)
	}
	return policy, snapshot
}

func fileIn(archive *txtar.Archive, name string) []byte {
	for _, f := range archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

func compareOrRewrite(t *testing.T, path string, archive *txtar.Archive, name, got string) {
	t.Helper()
	if want := string(fileIn(archive, name)); got == want {
		return
	} else if !*updatePorts {
		t.Errorf("%s: got:\n%s\nwant:\n%s", name, got, want)
		return
	}
	for i := range archive.Files {
		if archive.Files[i].Name == name {
			archive.Files[i].Data = []byte(got)
		}
	}
	if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

func showFindings(findings []detect.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		verdict := string(f.Severity)
		switch {
		case f.Allowed:
			verdict = "allowed"
		case f.Unlisted:
			verdict += ", unlisted"
		}
		if f.Plan != "" {
			verdict += ", plan " + f.Plan
		}
		p := f.Subject.Port
		fmt.Fprintf(&b, "%s: %s\n  because  %s\n  address  %s, reach %s\n  key      %s\n", verdict, f.Summary, f.Because, p.Address, p.Reach, f.Key)
	}
	return b.String()
}

// answer answers lines of "explain tcp 445" and "shut".
func answer(t *testing.T, questions string, policy configs.Policy, snapshot platform.Snapshot) string {
	t.Helper()
	var b strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(questions), "\n") {
		fmt.Fprintf(&b, "? %s\n", line)
		if line == "shut" {
			found, err := detect.WouldShut(policy, snapshot)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range found {
				fmt.Fprintf(&b, "%s\n", f.Summary)
			}
			continue
		}
		words := strings.Fields(line)
		port, err := strconv.ParseUint(words[2], 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		explanation, err := detect.ExplainPort(policy, snapshot, platform.Protocol(words[1]), uint16(port))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, strings.Join(explanation.Lines(), "\n"))
	}
	return b.String()
}

// The order in which a snapshot lists sockets means nothing, and neither does a
// pid, an inode or a namespace: after a restart of everything the threats are
// the same ones.
func TestOpenPortIsStable(t *testing.T) {
	for _, path := range openPortExamples(t) {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		policy, snapshot := readExample(t, archive)
		want := find(t, policy, snapshot)
		random := rand.New(rand.NewPCG(1, 2))
		for range 20 {
			shuffled := snapshot
			shuffled.Listeners = slices.Clone(snapshot.Listeners)
			random.Shuffle(len(shuffled.Listeners), func(i, j int) {
				l := shuffled.Listeners
				l[i], l[j] = l[j], l[i]
			})
			if got := find(t, policy, shuffled); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: got:\n%s\nin another order:\n%s", path, showFindings(want), showFindings(got))
			}
		}
		if got := find(t, policy, restarted(snapshot)); showFindings(got) != showFindings(want) {
			t.Errorf("%s: got:\n%s\nafter a restart:\n%s", path, showFindings(want), showFindings(got))
		}
	}
}

func find(t testing.TB, policy configs.Policy, snapshot platform.Snapshot) []detect.Finding {
	t.Helper()
	found, err := detect.OpenPort.Find(detect.Input{Policy: policy, Snapshot: snapshot})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// restarted gives every process another pid, and every socket and namespace
// another number.
func restarted(s platform.Snapshot) platform.Snapshot {
	s.Listeners = slices.Clone(s.Listeners)
	for i := range s.Listeners {
		l := &s.Listeners[i]
		l.Inode += 1000
		l.Cookie += 1000
		if l.NetNS != "" {
			l.NetNS += "9"
		}
		if l.Owner.PID > 1 {
			l.Owner.PID += 5000
			l.Owner.Start += 77
		}
	}
	if s.Agent.PID != 0 {
		s.Agent.PID += 5000
		s.Agent.Start += 77
	}
	return s
}

// What could not be read is unknown, never absent.
func TestOpenPortWithoutListeners(t *testing.T) {
	gap := platform.Gap{Part: platform.PartListeners, Reason: "the kernel did not answer"}
	in := detect.Input{Snapshot: platform.Snapshot{Gaps: []platform.Gap{gap}}}
	if found, err := detect.OpenPort.Find(in); err == nil {
		t.Errorf("got %v; want an error", found)
	}
	if verdict, _ := detect.OpenPort.Verify("open-port tcp/23", in); verdict != detect.Unknown {
		t.Errorf("got verdict %s; want unknown", verdict)
	}
	if _, err := detect.WouldShut(in.Policy, in.Snapshot); err == nil {
		t.Error("WouldShut knows what nobody read")
	}
	if _, err := detect.ExplainPort(in.Policy, in.Snapshot, platform.TCP, 23); err == nil {
		t.Error("ExplainPort knows what nobody read")
	}
}

// An exception may name exactly the detectors there are.
func TestDetectorNames(t *testing.T) {
	var names []string
	for _, d := range detect.All() {
		names = append(names, d.Name)
	}
	if !slices.Equal(names, configs.DetectorNames) {
		t.Errorf("detect.All has %v; configs.DetectorNames has %v", names, configs.DetectorNames)
	}
}

// A service that is bound to loopback instead is a threat no more.
func TestOpenPortIsClearedByRebinding(t *testing.T) {
	policy, err := configs.ParsePolicy([]byte("version: firebreak/v1\nports: {deny: [{port: 6379}]}\n"), "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	open := platform.Listener{
		Protocol: platform.TCP, Port: 6379, Address: netip.IPv6Unspecified(), DualStack: true, Reach: platform.ReachAny,
		Owner: platform.Owner{PID: 7, Process: "redis-server", Exe: "/usr/bin/redis-check-rdb", Unit: "redis-server.service"},
	}
	in := detect.Input{Policy: policy, Snapshot: platform.Snapshot{Listeners: []platform.Listener{open}}}
	key := find(t, policy, in.Snapshot)[0].Key
	if verdict, _ := detect.OpenPort.Verify(key, in); verdict != detect.Persists {
		t.Errorf("open: got %s", verdict)
	}
	open.Address, open.DualStack, open.Reach = netip.IPv6Loopback(), false, platform.ReachLoopback
	in.Snapshot.Listeners[0] = open
	if verdict, _ := detect.OpenPort.Verify(key, in); verdict != detect.Cleared {
		t.Errorf("on loopback: got %s", verdict)
	}
}

func TestProtectedPorts(t *testing.T) {
	policy, err := configs.ParsePolicy([]byte(`version: firebreak/v1
mode: enforce
ports:
  deny:
    - {port: 22, protocol: tcp, plan: shut, protected: override}
    - {port: 8005, plan: shut, protected: override}
plans: {shut: {mitigate: [block-port]}}
isolation: {keep: ["10.0.0.0/8:9443 in", "10.0.0.5:443", "10.0.0.6:161/udp in"]}
protect: {ports: ["8000-8010"]}
`), "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sshd := func(port uint16, exe, process, container string) platform.Listener {
		return platform.Listener{
			Protocol: platform.TCP, Port: port, Address: netip.IPv4Unspecified(), Reach: platform.ReachAny,
			Owner: platform.Owner{PID: 9, Exe: exe, Process: process, Container: container},
		}
	}
	protected := detect.Protected(policy, platform.Snapshot{Listeners: []platform.Listener{
		sshd(2222, "/usr/sbin/sshd", "sshd", ""),
		sshd(2223, "/tmp/sshd", "sshd", ""),
		sshd(2224, "/usr/sbin/sshd", "sshd", "web"),
	}})
	for _, test := range []struct {
		protocol platform.Protocol
		port     uint16
		want     string
	}{
		{"tcp", 22, "SSH"},
		{"udp", 22, ""},
		{"tcp", 3389, "RDP"},
		{"tcp", 2222, "SSH"}, // where the SSH server really is
		{"tcp", 2223, ""},    // a name alone protects nothing
		{"tcp", 2224, ""},    // nor does a path inside a container
		{"tcp", 9443, "management path"},
		{"udp", 161, "management path"},
		{"tcp", 443, ""}, // this host connects to it, it does not serve it
		{"udp", 68, "DHCP client"},
		{"tcp", 8000, "by policy"},
		{"udp", 8010, "by policy"},
		{"tcp", 8011, ""},
	} {
		if got := protected.Why(test.protocol, test.port); got != test.want {
			t.Errorf("%s %d: got %q; want %q", test.protocol, test.port, got, test.want)
		}
	}
	guarded := protected.Guarded(policy)
	for _, test := range []struct {
		protocol platform.Protocol
		port     uint16
		want     bool
	}{
		{"tcp", 22, false}, {"tcp", 2222, true}, {"tcp", 8004, true}, {"tcp", 8005, false}, {"udp", 8005, false}, {"tcp", 8006, true}, {"udp", 3389, true},
	} {
		got := slices.ContainsFunc(guarded, func(r platform.PortRule) bool {
			return r.Protocol == test.protocol && r.First <= test.port && test.port <= r.Last
		})
		if got != test.want {
			t.Errorf("%s %d: guarded %v; want %v", test.protocol, test.port, got, test.want)
		}
	}
}

// FuzzOpenPort: whatever a host says of its sockets, a finding has one subject,
// a reason, a sentence without control characters, and a key of its own; a plan
// never acts on a protected port or in a container.
func FuzzOpenPort(f *testing.F) {
	for _, path := range openPortExamples(f) {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(fileIn(archive, "policy.yaml"), fileIn(archive, "snapshot.json"))
	}
	f.Fuzz(func(t *testing.T, file, host []byte) {
		policy, err := configs.ParsePolicy(file, "policy.yaml")
		if err != nil {
			policy, err = configs.Default()
		}
		var snapshot platform.Snapshot
		if err != nil || json.Unmarshal(host, &snapshot) != nil || snapshot.Missing(platform.PartListeners) != nil {
			return
		}
		found := find(t, policy, snapshot)
		keys := map[string]bool{}
		protected := detect.Protected(policy, snapshot)
		for _, finding := range found {
			p := finding.Subject.Port
			switch {
			case keys[finding.Key]:
				t.Errorf("two findings have the key %s", finding.Key)
			case finding.Because == "" || strings.ContainsAny(finding.Summary, "\x00\x1b\n\r"):
				t.Errorf("got %+v", finding)
			case finding.Plan != "" && protected.Why(p.Protocol, p.Port) != "" && !strings.Contains(string(file), "override"):
				t.Errorf("plan %s would act on protected port %d", finding.Plan, p.Port)
			}
			keys[finding.Key] = true
		}
		slices.Reverse(snapshot.Listeners)
		if again := find(t, policy, snapshot); showFindings(again) != showFindings(found) {
			t.Errorf("got:\n%s\nin another order:\n%s", showFindings(found), showFindings(again))
		}
	})
}
