package platform

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/platform/bpf"
	"github.com/firebreak-sec/firebreak/platform/sockets"
)

// spaced makes a network namespace with a name, and calls there inside it.
func spaced(t *testing.T, name string, there func()) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to make a network namespace")
	}
	if part, err := confined(); err != nil || part {
		t.Skipf("this program is confined to a part of the machine: %v", err)
	}
	needTools(t, "ip")
	shell(t, "ip netns add "+name+" && ip -n "+name+" link set lo up")
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	err := inNamespaces([]namespace{{path: "/run/netns/" + name}}, func(_ namespace, err error) {
		if err != nil {
			t.Fatal(err)
		}
		there()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// found returns the listeners on a port.
func (r *listenerReader) found(t *testing.T, port uint16) []Listener {
	t.Helper()
	all, _, err := r.read(context.Background(), true)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(l Listener) bool { return l.Port != port })
}

func TestListenersOfOtherNamespaces(t *testing.T) {
	name := fmt.Sprintf("fb-seen-%d", os.Getpid())
	r, err := newListenerReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if got := r.found(t, 40991); len(got) > 0 {
		t.Fatalf("before: %v", got)
	}
	var open []net.Listener
	spaced(t, name, func() {
		for network, address := range map[string]string{"tcp4": "127.0.0.1:40991", "tcp6": "[::]:40991"} {
			l, err := net.Listen(network, address)
			if err != nil {
				t.Error(err)
				return
			}
			open = append(open, l)
		}
	})
	r.others.walked = time.Time{} // nothing but the mount is new
	got := r.found(t, 40991)
	if len(got) != 2 {
		t.Fatalf("got %v; want two listeners", got)
	}
	for _, l := range got {
		if l.NetNS != name || l.Owner.PID != os.Getpid() {
			t.Errorf("got %s in %q, held by %d; want %s, held by %d", l.Address, l.NetNS, l.Owner.PID, name, os.Getpid())
		}
		if want := l.Address.IsLoopback(); (l.Reach == ReachLoopback) != want {
			t.Errorf("%s: reach %s", l.Address, l.Reach)
		}
	}
	for _, l := range open {
		l.Close()
	}
	shell(t, "ip netns del "+name)
	r.others.walked = time.Time{}
	if got := r.found(t, 40991); len(got) > 0 {
		t.Errorf("gone, and still there: %v", got)
	}
	for _, s := range r.others.open {
		if s.name == name {
			t.Error("a socket to the namespace is still open")
		}
	}
}

// TestNewNamespaceIsSeenAtOnce: a process that has just started is asked where it
// is, without a walk through all.
func TestNewNamespaceIsSeenAtOnce(t *testing.T) {
	name := fmt.Sprintf("fb-new-%d", os.Getpid())
	spaced(t, name, func() {})
	r, err := newListenerReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	shell(t, "ip netns del "+name)
	r.found(t, 40992) // walks
	cmd := exec.Command("unshare", "-n", os.Args[0], "-test.run=^TestListenInNamespace$")
	cmd.Env = append(os.Environ(), "FIREBREAK_LISTENS=40992")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	line := make([]byte, 16)
	if n, err := out.Read(line); err != nil || !strings.HasPrefix(string(line[:n]), "listens") {
		t.Fatalf("it said %q, %v", line[:n], err)
	}
	got := r.found(t, 40992)
	if len(got) != 1 || !strings.HasPrefix(got[0].NetNS, "net:[") || got[0].Owner.PID != cmd.Process.Pid {
		t.Errorf("got %v; want one listener in a namespace without a name", got)
	}
}

func TestListenInNamespace(t *testing.T) {
	port := os.Getenv("FIREBREAK_LISTENS")
	if port == "" {
		t.Skip("is run by TestNewNamespaceIsSeenAtOnce as a process of its own")
	}
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fmt.Println("listens")
	time.Sleep(time.Minute)
}

// TestServicesOfOtherNamespacesFromBefore has UDP sockets on ports that the kernel
// hands out, one of which asked for its port, before anybody looks.
func TestServicesOfOtherNamespacesFromBefore(t *testing.T) {
	name := fmt.Sprintf("fb-before-%d", os.Getpid())
	var given uint16
	spaced(t, name, func() {
		for _, port := range []int{40992, 0} {
			c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: port})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { c.Close() })
			given = uint16(c.LocalAddr().(*net.UDPAddr).Port)
		}
	})
	r, err := newListenerReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	r.heed(&sockets.News{}, bpf.ThisKernel())
	if got := r.found(t, 40992); len(got) != 1 || got[0].NetNS != name {
		t.Errorf("got %v; want the socket that asked for its port", got)
	}
	if got := r.found(t, given); len(got) != 0 {
		t.Errorf("got %v; want nothing of a socket that was given its port", got)
	}
}

// TestQuietNamespacesAreReadOnce opens a port behind the back of what the kernel is
// said to tell.
func TestQuietNamespacesAreReadOnce(t *testing.T) {
	name := fmt.Sprintf("fb-quiet-%d", os.Getpid())
	news := &sockets.News{}
	var held []net.Listener
	listen := func() {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { l.Close() })
		held = append(held, l)
	}
	var s *netSpace
	spaced(t, name, func() {
		listen()
		diag, err := sockets.Open()
		if err != nil {
			t.Error(err)
			return
		}
		s = &netSpace{inode: 7, name: name, diag: diag}
	})
	defer s.diag.Close()
	n := &netSpaces{news: news, open: map[uint32]*netSpace{7: s}}
	now := time.Now()
	read := func(after time.Duration) int {
		t.Helper()
		now = now.Add(after)
		all, err := n.read(nil, now, quietFor)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	more := func() {
		t.Helper()
		if err := inNamespaces([]namespace{{path: "/run/netns/" + name}}, func(namespace, error) { listen() }); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name  string
		do    func()
		after time.Duration
		want  int
	}{
		{"at first", func() {}, 0, 1},
		{"while the kernel tells nothing at all", more, time.Second, 2},
		{"once it tells everything", func() { news.Begin(); more() }, time.Second, 3},
		{"behind its back", more, 3 * time.Second, 3},
		{"after it told of another namespace", func() { news.Stirs(8, now) }, time.Second, 3},
		{"after it told of this one", func() { news.Stirs(7, now) }, time.Second / 2, 4},
		{"behind its back, just after it told", more, time.Second / 4, 5},
		{"behind its back, later", more, 2 * time.Second, 6}, // what was read last may have been too early
		{"behind its back, again", more, time.Second, 6},
		{"after it told of a socket somewhere", func() { news.Stirs(0, now) }, time.Second / 2, 7},
		{"after it missed something", func() { now = now.Add(5 * time.Second); read(0); more(); news.Begin() }, time.Second, 8},
		{"behind its back, for long", more, quietFor, 9},
		{"after it ceased to tell", func() { news.End(); more() }, time.Second, 10},
	} {
		step.do()
		if got := read(step.after); got != step.want {
			t.Errorf("%s: got %d ports; want %d", step.name, got, step.want)
		}
	}
}

// nothingOfItsOwn stands for a namespace without sockets.
type nothingOfItsOwn struct{}

func (nothingOfItsOwn) Read(into []sockets.Socket) ([]sockets.Socket, error) { return into, nil }

// TestOtherNamespacesArePolledAsOftenAsTheyAreWorth opens ports in one where nothing
// tells of them.
func TestOtherNamespacesArePolledAsOftenAsTheyAreWorth(t *testing.T) {
	name := fmt.Sprintf("fb-polled-%d", os.Getpid())
	listen := func() {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { l.Close() })
	}
	spaced(t, name, listen)
	a := &allSpaces{own: nothingOfItsOwn{}, others: newNetSpaces()}
	defer a.others.close()
	read := func() (n int) {
		t.Helper()
		all, err := a.Read(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if space := a.others.open[s.NetNS]; space != nil && space.name == name {
				n++
			}
		}
		return n
	}
	if n := read(); n != 1 {
		t.Fatalf("got %d ports; want 1", n)
	}
	if rest := time.Until(a.due); rest < 10*time.Millisecond || rest > time.Minute {
		t.Errorf("they are read again in %v", rest)
	}
	a.due = time.Now().Add(time.Minute)
	if err := inNamespaces([]namespace{{path: "/run/netns/" + name}}, func(namespace, error) { listen() }); err != nil {
		t.Fatal(err)
	}
	if n := read(); n != 1 {
		t.Errorf("got %d ports before it is time; want 1", n)
	}
	a.due = time.Time{}
	if n := read(); n != 2 {
		t.Errorf("got %d ports when it is time; want 2", n)
	}
}
