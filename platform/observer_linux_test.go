package platform

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/platform/sockets"
)

func look(t *testing.T, o Observer, parts ...Part) Snapshot {
	t.Helper()
	s, err := o.Snapshot(context.Background(), parts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// listenTCP listens until the end of the test and returns the port.
func listenTCP(t *testing.T, network, address string) uint16 {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Skipf("listens on %s, which is refused here: %v", address, err)
	}
	t.Cleanup(func() { l.Close() })
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}

func onPort(s Snapshot, p Protocol, port uint16) []Listener {
	return slices.DeleteFunc(slices.Clone(s.Listeners), func(l Listener) bool { return l.Protocol != p || l.Port != port })
}

func TestSnapshotTellsWhoListens(t *testing.T) {
	port := listenTCP(t, "tcp", ":0")
	o := newObserver(Options{}, nil)
	for _, turn := range []string{"first look", "second look"} {
		s := look(t, o, PartListeners, PartOwners)
		found := onPort(s, TCP, port)
		if len(found) != 1 {
			t.Fatalf("%s: got %d listeners on port %d; want 1", turn, len(found), port)
		}
		l := found[0]
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		want := Owner{
			PIDs: []int{os.Getpid()}, PID: os.Getpid(), Start: s.Agent.Start, Process: filepath.Base(exe),
			Exe: exe, User: l.Owner.User, Unit: l.Owner.Unit, UserUnit: l.Owner.UserUnit, Container: l.Owner.Container,
		}
		if fmt.Sprint(l.Owner) != fmt.Sprint(want) {
			t.Errorf("%s: got owner %+v; want %+v", turn, l.Owner, want)
		}
		if !l.DualStack || l.Address != netip.IPv6Unspecified() || l.Owner.User == "" || l.Owner.Start == 0 {
			t.Errorf("%s: got %+v; want a dual-stack listener with user and start time", turn, l)
		}
	}
}

func TestSnapshotWithoutOwners(t *testing.T) {
	port := listenTCP(t, "tcp4", "127.0.0.1:0")
	found := onPort(look(t, newObserver(Options{}, nil), PartListeners), TCP, port)
	if len(found) != 1 || found[0].Owner.PID != 0 || found[0].Reach != ReachLoopback {
		t.Errorf("got %+v; want one listener on loopback without owner", found)
	}
}

func TestSnapshotLeavesOutClients(t *testing.T) {
	client, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	port := netip.MustParseAddrPort(client.LocalAddr().String()).Port()
	if !newUDPServices().HandedOut(port) {
		t.Fatalf("the kernel handed out port %d, which it should not", port)
	}
	o := newObserver(Options{}, nil)
	for range 2 {
		if got := onPort(look(t, o, PartListeners, PartOwners), UDP, port); len(got) != 0 {
			t.Errorf("got %+v; want no listener on a port that the kernel handed out", got)
		}
	}
}

func TestSnapshotOfDeletedAndReplacedProgram(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "listener")
	copyProgram(t, exe)
	cmd := exec.Command(exe, "-test.run=^TestListenForParent$", "-test.v")
	cmd.Env = append(os.Environ(), listenForParent+"=1")
	port := startListening(t, cmd)
	o := newObserver(Options{}, nil)
	owner := func() Owner {
		t.Helper()
		found := onPort(look(t, o, PartListeners, PartOwners), TCP, port)
		if len(found) != 1 {
			t.Fatalf("got %d listeners on port %d; want 1", len(found), port)
		}
		return found[0].Owner
	}
	if got := owner(); got.Exe != exe || got.ExeDeleted || got.PID != cmd.Process.Pid {
		t.Fatalf("got %+v; want %s of process %d", got, exe, cmd.Process.Pid)
	}
	if err := os.Remove(exe); err != nil {
		t.Fatal(err)
	}
	if got := owner(); got.Exe != exe || !got.ExeDeleted {
		t.Errorf("after its file was deleted: got %q, deleted %v; want %q, true", got.Exe, got.ExeDeleted, exe)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if got := onPort(look(t, o, PartListeners, PartOwners), TCP, port); len(got) != 0 {
		t.Errorf("after it ended: got %+v; want nothing", got)
	}
}

// TestListenForParent is the listening process of another test.
func TestListenForParent(t *testing.T) {
	if os.Getenv(listenForParent) == "" {
		t.Skip("is run by other tests, as the process they look at")
	}
	fmt.Println("port", listenTCP(t, "tcp4", "127.0.0.1:0"))
	io.Copy(io.Discard, os.Stdin)
}

const listenForParent = "FIREBREAK_TEST_LISTEN"

func copyProgram(t *testing.T, to string) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

func startListening(t *testing.T, cmd *exec.Cmd) (port uint16) {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	for {
		var word string
		if _, err := fmt.Fscan(stdout, &word); err != nil {
			t.Fatalf("process that should listen: %v", err)
		}
		if word == "port" {
			if _, err := fmt.Fscan(stdout, &port); err != nil {
				t.Fatal(err)
			}
			return port
		}
	}
}

func TestSnapshotOfOtherRoot(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/os-release"), []byte("ID=debian\nVERSION_ID=11\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := look(t, newObserver(Options{Root: root}, nil), AllParts...)
	if s.OS.ID != "debian" || s.OS.Version != "11" || s.Boot.ID != "" {
		t.Errorf("got %+v, boot %+v; want Debian 11 that never booted", s.OS, s.Boot)
	}
	for _, p := range []Part{PartListeners, PartRestrictions, PartSessions} {
		if s.Missing(p) == nil {
			t.Errorf("got no gap for %s; want one: this host is not what is looked at", p)
		}
	}
	if len(s.Listeners)+len(s.Sessions) > 0 {
		t.Errorf("got %v and %v of another root", s.Listeners, s.Sessions)
	}
}

func TestSnapshotBoot(t *testing.T) {
	b := look(t, newObserver(Options{}, nil), PartOS).Boot
	if len(b.ID) != 36 || b.Uptime <= 0 || time.Since(b.Time) < b.Uptime-time.Minute {
		t.Errorf("got %+v; want ID, uptime and a time that agree", b)
	}
}

func TestEventsNameWhatChanged(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	events := make(chan Event, 10)
	ended := make(chan struct{})
	diag, err := sockets.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer diag.Close()
	go func() {
		w := &listenerWatch{diag: diag, udp: newUDPServices(), news: &sockets.News{}}
		w.watch(ctx, func(p Part, why string) { events <- Event{p, why} }, 5*time.Millisecond)
		close(ended)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	time.Sleep(50 * time.Millisecond) // the first poll is what others are compared with
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	wait := func(want string) {
		t.Helper()
		timeout := time.After(10 * time.Second)
		for {
			select {
			case e := <-events:
				if e.Part == PartListeners && strings.Contains(e.Why, want) {
					return
				}
			case <-timeout:
				t.Fatalf("no event said %q", want)
			}
		}
	}
	wait(fmt.Sprintf("tcp %d began to listen", port))
	l.Close()
	wait(fmt.Sprintf("tcp %d ceased to listen", port))
}

func TestEventsEndWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	events := newObserver(Options{}, nil).Events(ctx)
	cancel()
	for range events { // ends only when the channel is closed
	}
}

func TestPollIsCheap(t *testing.T) {
	listenTCP(t, "tcp4", "127.0.0.1:0")
	diag, err := sockets.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer diag.Close()
	w := listenerWatch{diag: diag, udp: newUDPServices()}
	poll := func() {
		if _, err := w.poll(); err != nil {
			t.Fatal(err)
		}
	}
	poll()
	poll()
	if n := testing.AllocsPerRun(100, poll); n > 0 {
		t.Errorf("got %v allocations for a poll; want none", n)
	}
}
