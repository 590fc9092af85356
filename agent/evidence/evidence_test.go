package evidence

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
	"github.com/firebreak-sec/firebreak/platform/platformtest"
)

var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// samba returns a machine with a file server and the threat that its port is.
func samba() (*platformtest.Machine, threat.Threat) {
	m := platformtest.New()
	m.AddSession(platform.Session{User: "lena", Terminal: "pts/0"})
	m.AddService("smbd.service", "/usr/sbin/smbd", platform.Listener{
		Protocol: platform.TCP, Address: netip.MustParseAddr("0.0.0.0"), Port: 445,
	})
	m.AddFile("/usr/lib/systemd/system/smbd.service", []byte("[Service]\nExecStart=/usr/sbin/smbd\n"))
	m.AddProcess("/usr/bin/python3", platform.Listener{Protocol: platform.TCP, Address: netip.MustParseAddr("::"), Port: 8000})
	m.Systemctl("start", "smbd.service")
	return m, threatOn(m, 445)
}

func threatOn(m *platformtest.Machine, port uint16) threat.Threat {
	t := threat.Threat{ID: "T-7KX3", Detector: "open-port", Summary: "a port is open", Subject: platform.Subject{Port: &platform.PortSubject{Port: port}}}
	for _, l := range m.Snapshot().Listeners {
		if p := t.Subject.Port; l.Port == port {
			p.Protocol, p.PID, p.Exe, p.Unit = l.Protocol, l.Owner.PID, l.Owner.Exe, l.Owner.Unit
			p.Sockets = append(p.Sockets, l)
		}
	}
	return t
}

func collect(t *testing.T, m *platformtest.Machine, about threat.Threat, dir string, l Limits) string {
	t.Helper()
	name, err := Collect(t.Context(), m.Host(), about, m.Snapshot(), m.Now(), dir, l)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// unpack returns the files of a bundle in the order they stand in it.
func unpack(t *testing.T, path string) (names []string, contents map[string][]byte, m Manifest) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	contents = map[string][]byte{}
	for tape := tar.NewReader(zip); ; {
		head, err := tape.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if head.Mode != 0o600 {
			t.Errorf("%s has mode %o; want 600", head.Name, head.Mode)
		}
		data, err := io.ReadAll(tape)
		if err != nil {
			t.Fatal(err)
		}
		names, contents[head.Name] = append(names, head.Name), data
	}
	if err := json.Unmarshal(contents[manifestName], &m); err != nil {
		t.Fatal(err)
	}
	return names, contents, m
}

func gaps(m Manifest) string {
	var all []string
	for _, g := range m.Gaps {
		all = append(all, g.What+": "+g.Reason)
	}
	return strings.Join(all, "\n")
}

func TestBundleOfAService(t *testing.T) {
	m, about := samba()
	dir := filepath.Join(t.TempDir(), "evidence")
	path := collect(t, m, about, dir, Limits{})
	if got := filepath.Base(path); got != "EV-T-7KX3-20260901T120000.000Z.tar.gz" {
		t.Errorf("got name %s", got)
	}
	names, contents, manifest := unpack(t, path)
	want := []string{
		"manifest.json", "executables.json", "files/usr/lib/systemd/system/smbd.service", "listeners.json",
		"processes.json", "sessions.json", "sockets.json", "system.json", "threat.json", "units.json",
	}
	if !slices.Equal(names, want) {
		t.Errorf("got %q; want %q", names, want)
	}
	for file, text := range map[string]string{
		"executables.json": `"path": "/usr/sbin/smbd"`,
		"processes.json":   `"role": "ancestor"`,
		"listeners.json":   `"port": 8000`,
		"sessions.json":    `"user": "lena"`,
		"system.json":      "bookworm",
		"units.json":       `"fragment": "/usr/lib/systemd/system/smbd.service"`,
		"files/usr/lib/systemd/system/smbd.service": "ExecStart=/usr/sbin/smbd",
	} {
		if !bytes.Contains(contents[file], []byte(text)) {
			t.Errorf("%s has no %q:\n%s", file, text, contents[file])
		}
	}
	if len(manifest.Gaps) > 0 {
		t.Errorf("got gaps %s; want none", gaps(manifest))
	}
	if err := Verify(path); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]os.FileMode{dir: 0o700, path: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}

func TestSameEvidenceSameBytes(t *testing.T) {
	m, about := samba()
	var bundles [2][]byte
	for i := range bundles {
		data, err := os.ReadFile(collect(t, m, about, t.TempDir(), Limits{}))
		if err != nil {
			t.Fatal(err)
		}
		bundles[i] = data
	}
	if !bytes.Equal(bundles[0], bundles[1]) {
		t.Error("two bundles of the same evidence differ")
	}
}

func TestProcessGoneMeanwhile(t *testing.T) {
	m, _ := samba()
	about := threatOn(m, 8000)
	snap := m.Snapshot()
	m.Kill(about.Subject.Port.PID)
	dir := t.TempDir()
	name, err := Collect(t.Context(), m.Host(), about, snap, m.Now(), dir, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	_, contents, manifest := unpack(t, filepath.Join(dir, name))
	if !strings.Contains(gaps(manifest), "it is no longer there") {
		t.Errorf("got gaps %q; want that the process is gone", gaps(manifest))
	}
	if !bytes.Contains(contents["executables.json"], []byte("/usr/bin/python3")) {
		t.Errorf("got executables %s; want the file that is still there", contents["executables.json"])
	}
}

func TestNumberOfProcessUsedAgain(t *testing.T) {
	m, about := samba()
	about.Subject.Port.Sockets[0].Owner.Start--
	_, _, manifest := unpack(t, collect(t, m, about, t.TempDir(), Limits{}))
	if !strings.Contains(gaps(manifest), "another process has its number now") {
		t.Errorf("got gaps %q; want that it is another process", gaps(manifest))
	}
}

func TestHugeUnitFileIsCutOff(t *testing.T) {
	m, about := samba()
	m.AddFile("/usr/lib/systemd/system/smbd.service", bytes.Repeat([]byte("x"), maxFile*3))
	path := collect(t, m, about, t.TempDir(), Limits{})
	_, contents, manifest := unpack(t, path)
	const name = "files/usr/lib/systemd/system/smbd.service"
	if got := len(contents[name]); got != maxFile {
		t.Errorf("got %d bytes; want %d", got, maxFile)
	}
	i := slices.IndexFunc(manifest.Items, func(i Item) bool { return i.Name == name })
	if got := manifest.Items[i].Note; got != "cut off after 262144 bytes" {
		t.Errorf("got note %q", got)
	}
}

func TestWhatCannotBeReadIsAGap(t *testing.T) {
	for _, method := range []string{"Services.Inspect", "Files.Facts", "Files.Read", "Processes.Inspect", "Processes.Children"} {
		t.Run(method, func(t *testing.T) {
			m, about := samba()
			m.Fail(method, errors.New("the bus is down"))
			path := collect(t, m, about, t.TempDir(), Limits{})
			_, _, manifest := unpack(t, path)
			if !strings.Contains(gaps(manifest), "the bus is down") {
				t.Errorf("got gaps %q; want one that says why", gaps(manifest))
			}
			if err := Verify(path); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestGapsOfTheSnapshotAreGapsOfTheBundle(t *testing.T) {
	m, about := samba()
	m.SetGaps(platform.Gap{Part: platform.PartSessions, Reason: "utmp is not readable"})
	_, _, manifest := unpack(t, collect(t, m, about, t.TempDir(), Limits{}))
	if got := gaps(manifest); got != "sessions: utmp is not readable" {
		t.Errorf("got gaps %q", got)
	}
}

func TestHostThatCanDoNothing(t *testing.T) {
	m, about := samba()
	dir := t.TempDir()
	name, err := Collect(t.Context(), &platform.Host{}, about, m.Snapshot(), noon, dir, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	_, _, manifest := unpack(t, filepath.Join(dir, name))
	if got := strings.Count(gaps(manifest), platform.ErrUnsupported.Error()); got != 3 {
		t.Errorf("got gaps %q; want three that say it is not supported", gaps(manifest))
	}
}

// stuck is a file system on which reading never returns.
type stuck struct{ platform.Files }

func (stuck) Facts(context.Context, int, string) (platform.FileFacts, error) { select {} }

func TestLookThatNeverReturns(t *testing.T) {
	m, about := samba()
	host := m.Host()
	host.Files = stuck{host.Files}
	dir := t.TempDir()
	begun := time.Now()
	name, err := Collect(t.Context(), host, about, m.Snapshot(), noon, dir, Limits{Within: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("took %v; want about the time it was given", took)
	}
	names, _, manifest := unpack(t, filepath.Join(dir, name))
	if !slices.Contains(names, "processes.json") {
		t.Errorf("got %q; want what was there in time", names)
	}
	if got := gaps(manifest); got != "executables: there was no time left\nunits: there was no time left" {
		t.Errorf("got gaps %q", got)
	}
}

// crowd is a process with endless children, all with an endless command line.
type crowd struct{ platform.Processes }

func (crowd) Inspect(_ context.Context, pid int) (platform.Process, error) {
	return platform.Process{
		ProcessID: platform.ProcessID{PID: pid, Start: uint64(pid) * 10}, PPID: pid / 2,
		Args: []string{"a", strings.Repeat("b", maxArgs)},
	}, nil
}

func (crowd) Children(_ context.Context, pid int) ([]int, error) {
	return []int{pid * 2, pid*2 + 1}, nil
}

func TestEndlessFamily(t *testing.T) {
	m, about := samba()
	host := m.Host()
	host.Processes = crowd{}
	about.Subject.Port.Sockets[0].Owner.Start = 0
	dir := t.TempDir()
	name, err := Collect(t.Context(), host, about, m.Snapshot(), noon, dir, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	_, contents, manifest := unpack(t, filepath.Join(dir, name))
	var tree []relative
	if err := json.Unmarshal(contents["processes.json"], &tree); err != nil {
		t.Fatal(err)
	}
	if len(tree) != maxProcesses || len(strings.Join(tree[0].Args, "")) != maxArgs {
		t.Errorf("got %d processes with a command line of %d bytes", len(tree), len(strings.Join(tree[0].Args, "")))
	}
	if !strings.Contains(gaps(manifest), "more processes: only the first 256 are kept") {
		t.Error("nothing says that there were more")
	}
}

func TestOtherSubjects(t *testing.T) {
	m, _ := samba()
	for name, s := range map[string]platform.Subject{
		"os":      {OS: &platform.OSSubject{ID: "debian"}},
		"file":    {File: &platform.FileSubject{Path: "/tmp/x"}},
		"process": {Process: &platform.ProcessSubject{ProcessID: platform.ProcessID{PID: platformtest.AgentPID}}},
		"none":    {},
	} {
		t.Run(name, func(t *testing.T) {
			path := collect(t, m, threat.Threat{ID: "T-7KX3", Subject: s}, t.TempDir(), Limits{})
			if err := Verify(path); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestIDThatIsAPath(t *testing.T) {
	m, about := samba()
	for _, id := range []string{"", "../x", "T/1", "T-7KX3\x00", "-", "T-"} {
		about.ID = id
		if _, err := Collect(t.Context(), m.Host(), about, m.Snapshot(), noon, t.TempDir(), Limits{}); err == nil {
			t.Errorf("%q was taken", id)
		}
	}
}

func TestFolderThatCannotBeMade(t *testing.T) {
	m, about := samba()
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	name, err := Collect(t.Context(), m.Host(), about, m.Snapshot(), noon, dir, Limits{})
	if err == nil || name != "" {
		t.Errorf("got %q, %v; want an error and no name", name, err)
	}
}
