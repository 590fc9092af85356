package platform

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/bpf"
)

// inBindPlace runs test in a network namespace and a mount namespace of its own:
// there, /sys/fs/bpf is another one than the machine's.
func inBindPlace(t *testing.T, test func(t *testing.T)) {
	needTools(t, "python3")
	if _, err := findGroupRoot(); err != nil {
		t.Skip(err)
	}
	inNewNetns(t, func(t *testing.T) {
		if err := errors.Join(
			unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS),
			unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""),
			unix.Mount("bpf", bpffs, "bpf", 0, ""),
		); err != nil {
			t.Errorf("make mount namespace: %v", err)
			return
		}
		test(t)
	})
}

// pythonBinds opens a port as any program would.
func pythonBinds(port string) string {
	out, err := exec.Command("python3", "-c", "import socket; s=socket.socket(); s.bind(('', "+port+")); s.listen(); print('listens')").CombinedOutput()
	if err != nil && strings.Contains(string(out), "PermissionError") {
		return "not permitted"
	}
	return strings.TrimSpace(string(out))
}

func TestBinds(t *testing.T) {
	inBindPlace(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		b := newBinds()
		attempts := b.Attempts(ctx)
		python := resolved(strings.TrimSpace(shell(t, "python3 -c 'import sys; print(sys.executable)'")))
		rules := []BindRule{
			{PortRule: PortRule{TCP, 445, 445}},
			{PortRule: PortRule{TCP, 6379, 6379}, Except: []BindException{{Exe: python}}},
			{PortRule: PortRule{TCP, 6380, 6380}, Except: []BindException{{User: "root", Unit: "none.service"}, {Exe: "/usr/sbin/not-there-yet"}}},
		}
		if err := b.Deny(ctx, rules); err != nil {
			t.Error(err)
			return
		}
		defer func() {
			if err := b.Deny(context.Background(), nil); err != nil {
				t.Error(err)
			}
		}()
		for port, want := range map[string]string{"445": "not permitted", "6379": "listens", "6380": "not permitted", "446": "listens"} {
			if got := pythonBinds(port); got != want {
				t.Errorf("port %s: %s; want %s", port, got, want)
			}
		}
		for range 2 {
			select {
			case a := <-attempts:
				if a.Protocol != TCP || a.Port != 445 && a.Port != 6380 || a.Exe != python || !strings.HasPrefix(a.Process, "python3") || a.User != "root" || a.PID == 0 || a.Times != 1 {
					t.Errorf("told of %+v", a)
				}
			case <-time.After(5 * time.Second):
				t.Error("a refused bind was not told of")
			}
		}
		// A restarted agent finds it as it was, and changes it.
		again := newBinds()
		if got, err := again.Denied(ctx); err != nil || !EqualBinds(got, rules) {
			t.Errorf("read back %+v, %v", got, err)
		}
		if err := again.Deny(ctx, rules[:1]); err != nil {
			t.Error(err)
		}
		if got := pythonBinds("6380"); got != "listens" {
			t.Errorf("a port that is not denied any more: %s", got)
		}
		// What somebody took away is put back.
		if err := os.Remove(bindPins + "/bind4"); err != nil {
			t.Error(err)
		}
		if _, err := again.Denied(ctx); err == nil {
			t.Error("a missing pin was not noticed")
		}
		if err := again.Deny(ctx, rules[:1]); err != nil {
			t.Error(err)
		}
		if got := pythonBinds("445"); got != "not permitted" {
			t.Errorf("put back, and port 445 %s", got)
		}
		if err := again.Deny(ctx, nil); err != nil {
			t.Error(err)
		}
		if got := pythonBinds("445"); got != "listens" {
			t.Errorf("nothing is in force, and port 445 %s", got)
		}
		if got, err := again.Denied(ctx); err != nil || len(got) > 0 {
			t.Errorf("nothing is in force, and %v, %v is read back", got, err)
		}
	})
}

func TestBindsRefuseWhatCannotBeTold(t *testing.T) {
	for name, e := range map[string]BindException{
		"nobody":          {},
		"unknown account": {User: "nobody-here"},
		"socket unit":     {Unit: "ssh.socket"},
		"deep path":       {Exe: strings.Repeat("/x", 20)},
	} {
		rule := BindRule{PortRule: PortRule{TCP, 445, 445}, Except: []BindException{e}}
		_, err := compileBinds([]BindRule{rule})
		var about *BindError
		if errors.Is(err, ErrUnsupported) {
			t.Skip(err)
		}
		if !errors.As(err, &about) || about.Rule.PortRule != rule.PortRule {
			t.Errorf("%s: got %v; want a BindError of the rule", name, err)
		}
	}
}

func TestPlaceInMount(t *testing.T) {
	mounts := parseMounts(strings.Join([]string{
		"1 0 254:1 /@rootfs / rw - btrfs /dev/vda1 rw",
		"2 1 0:45 / /srv rw - overlay overlay rw",
		"3 1 254:300000 / /srv/deep rw - ext4 /dev/x rw",
		"4 1 254:2 / /srv/deep rw - ext4 /dev/y rw",
	}, "\n"))
	for path, want := range map[string]bpf.Exe{
		"/usr/bin/nc":     {Device: 254<<20 | 1, Path: "/@rootfs/usr/bin/nc"},
		"/srv/a":          {Device: 45, Path: "/a"},
		"/srvother/a":     {Device: 254<<20 | 1, Path: "/@rootfs/srvother/a"},
		"/srv/deep/bin/a": {Device: 254<<20 | 2, Path: "/bin/a"},
	} {
		got, err := placeInMount(path, mounts)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", path, got, err, want)
		}
		if back := pathInMounts(want, mounts); back != path {
			t.Errorf("%+v: %s; want %s", want, back, path)
		}
	}
	if got := pathInMounts(bpf.Exe{Device: 99, Path: "/bin/a"}, mounts); got != "" {
		t.Errorf("a file system that is not mounted: %s", got)
	}
}

func TestMergedBinds(t *testing.T) {
	m, now := mergedBinds{}, time.Now()
	nc := BindAttempt{Protocol: TCP, Port: 445, Exe: "/usr/bin/nc", PID: 1, Times: 1}
	m.add(nc, now)
	if got := m.due(now); len(got) != 1 || got[0].Times != 1 {
		t.Fatalf("the first one: %+v", got)
	}
	for i := range 1000 {
		nc.PID = i
		m.add(nc, now)
	}
	if got := m.due(now.Add(59 * time.Second)); len(got) != 0 {
		t.Fatalf("told of %+v within the minute", got)
	}
	other := nc
	other.Port, other.Times = 23, 1
	m.add(other, now)
	if got := m.due(now); len(got) != 1 || got[0].Port != 23 {
		t.Fatalf("another port: %+v", got)
	}
	if got := m.due(now.Add(time.Minute)); len(got) != 1 || got[0].Times != 1000 || got[0].PID != 999 {
		t.Fatalf("after a minute: %+v", got)
	}
	m.due(now.Add(3 * time.Minute))
	if len(m) != 0 {
		t.Errorf("%d are remembered for ever", len(m))
	}
}
