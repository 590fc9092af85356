package platform

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/live"
)

// cutting ends connections in the namespace of the calling thread and in those
// that are named, and never anywhere else.
func cutting(t *testing.T, names ...string) connections {
	t.Helper()
	var all []namespace
	for _, name := range names {
		path := "/run/netns/" + name
		var s unix.Stat_t
		if err := unix.Stat(path, &s); err != nil {
			t.Fatal(err)
		}
		all = append(all, namespace{id: fmt.Sprintf("net:[%d]", s.Ino), path: path})
	}
	return connections{func() ([]namespace, []mount, error) { return all, nil, nil }}
}

func cut(t *testing.T, c connections, iso Isolation) Cut {
	t.Helper()
	done, err := c.Cut(context.Background(), iso)
	if err != nil {
		t.Fatalf("cut: %v", err)
	}
	if len(done.Left) > 0 || len(done.Lacks) > 0 {
		t.Errorf("got left %v, lacks %q; want none", done.Left, done.Lacks)
	}
	return done
}

// call is one connection, with both ends.
type call struct{ near, far net.Conn }

// connect makes a connection from the calling thread's namespace to a listener.
func connect(t *testing.T, l net.Listener, network, to string) call {
	t.Helper()
	near, err := net.DialTimeout(network, to, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return call{near, far}
}

func listen(t *testing.T, network, at string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// reaches tells whether what one end sends comes out at the other, and how soon.
func reaches(from, to net.Conn, within time.Duration) (time.Duration, bool) {
	began := time.Now()
	if _, err := from.Write([]byte("hello")); err != nil {
		return 0, false
	}
	_ = to.SetReadDeadline(began.Add(within))
	n, err := to.Read(make([]byte, 64))
	return time.Since(began), err == nil && n == 5
}

// errorOf is what a program that reads gets now; nil is nothing.
func errorOf(c net.Conn) error {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, err := c.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

func (w world) listenOutside(t *testing.T, network, at string) (l net.Listener) {
	t.Helper()
	w.fromOutside(t, func() { l = listen(t, network, at) })
	return l
}

func (w world) connectFromOutside(t *testing.T, l net.Listener, network, to string) (c call) {
	t.Helper()
	w.fromOutside(t, func() { c = connect(t, l, network, to) })
	return c
}

func keep(text string, protocol Protocol, port uint16, inbound bool) Peer {
	return Peer{Network: netip.MustParsePrefix(text), Protocol: protocol, Port: port, Inbound: inbound}
}

func TestCut(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		iso := Isolation{
			Keep:  []Peer{keep(far4+"/32", TCP, 443, false), keep(far6+"/128", TCP, 22, true), keep(far4+"/32", UDP, 4500, false)},
			Users: []uint32{4711}, Resolvers: []netip.Addr{netip.MustParseAddr(far4)},
		}
		hub, web, web6 := w.listenOutside(t, "tcp4", ":443"), w.listenOutside(t, "tcp4", ":80"), w.listenOutside(t, "tcp6", ":80")
		ssh, smb := listen(t, "tcp", ":22"), listen(t, "tcp", ":445")
		user := connect(t, web, "tcp4", far4+":80")
		chown(t, user.near, 4711)
		keeps := map[string]call{
			"to the hub":         connect(t, hub, "tcp4", far4+":443"),
			"from an admin":      w.connectFromOutside(t, ssh, "tcp6", "["+host6+"]:22"),
			"of a kept user":     user,
			"over lo":            connect(t, smb, "tcp4", "127.0.0.1:445"),
			"over lo, IPv6":      connect(t, smb, "tcp6", "[::1]:445"),
			"to its own address": connect(t, smb, "tcp4", host4+":445"),
		}
		ends := map[string]net.Conn{
			"to another port":           connect(t, web, "tcp4", far4+":80").near,
			"over IPv6":                 connect(t, web6, "tcp6", "["+far6+"]:80").near,
			"link-local":                connect(t, web6, "tcp6", "[fe80::2%77]:80").near,
			"from outside":              w.connectFromOutside(t, smb, "tcp4", host4+":445").far,
			"from the hub":              w.connectFromOutside(t, ssh, "tcp4", host4+":22").far,
			"IPv4 from an IPv6 socket":  mapped(t, web),
			"udp":                       dialUDP(t, far4+":9999"),
			"udp over IPv6":             dialUDP(t, "["+far6+"]:9999"),
			"udp, from a port below":    dialUDPFrom(t, ":700", far4+":9999"),
			"udp to the hub's tcp port": dialUDP(t, far4+":443"),
		}
		keepsUDP := []net.Conn{dialUDP(t, far4+":4500"), dialUDP(t, far4+":53"), dialUDP(t, "127.0.0.1:9999"), dialUDP(t, host4+":9999")}
		quic, service := listenUDP(t, ":0"), listenUDP(t, ":5353")
		listenUDP(t, "127.0.0.1:0")

		c := cutting(t)
		live, err := c.Live(context.Background(), iso)
		if err != nil || len(live) != len(ends)+1 {
			t.Errorf("live: got %d, %v; want %d\n%v", len(live), err, len(ends)+1, live)
		}
		if done := cut(t, c, iso); done.Ended != len(ends)+1 {
			t.Errorf("got %d ended; want %d", done.Ended, len(ends)+1)
		}
		for name, k := range keeps {
			if _, ok := reaches(k.near, k.far, patience); !ok {
				t.Errorf("the connection %s was not kept", name)
			}
			if _, ok := reaches(k.far, k.near, patience); !ok {
				t.Errorf("the connection %s was not kept the other way", name)
			}
		}
		for name, e := range ends {
			if err := errorOf(e); !errors.Is(err, unix.ECONNABORTED) {
				t.Errorf("the connection %s: got error %v; want %v", name, err, unix.ECONNABORTED)
			}
		}
		for _, k := range append(keepsUDP, service) {
			if err := errorOf(k); err != nil {
				t.Errorf("udp %v: got error %v; want none", k.LocalAddr(), err)
			}
		}
		if err := errorOf(quic); !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("udp without a peer: got error %v; want %v", err, unix.ECONNABORTED)
		}
		if done := cut(t, c, iso); done.Ended != 0 {
			t.Errorf("a second time: got %d ended; want 0", done.Ended)
		}
	})
}

// chown makes a socket another user's.
func chown(t *testing.T, c net.Conn, uid int) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.Fchown(int(fd), uid, -1) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// mapped connects over IPv4 with a socket of IPv6.
func mapped(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	peer := netip.MustParseAddr("::ffff:" + far4)
	if err := unix.Connect(fd, &unix.SockaddrInet6{Port: l.Addr().(*net.TCPAddr).Port, Addr: peer.As16()}); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "mapped")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if far, err := l.Accept(); err != nil {
		t.Fatal(err)
	} else {
		t.Cleanup(func() { far.Close() })
	}
	return c
}

func dialUDP(t *testing.T, to string) net.Conn { return dialUDPFrom(t, "", to) }

func dialUDPFrom(t *testing.T, from, to string) net.Conn {
	t.Helper()
	var d net.Dialer
	if from != "" {
		d.LocalAddr, _ = net.ResolveUDPAddr("udp", from)
	}
	c, err := d.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func listenUDP(t *testing.T, at string) net.Conn {
	t.Helper()
	p, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p.(*net.UDPConn)
}

// TestCutEveryState has a socket in each state that a TCP connection can be in
// without a program that would notice.
func TestCutEveryState(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		listen(t, "tcp4", ":445")
		web := w.listenOutside(t, "tcp4", ":80")
		var closing []call
		for range 3 {
			closing = append(closing, connect(t, web, "tcp4", far4+":80"))
		}
		closing[0].near.Close() // TIME_WAIT, after the other end has closed too
		closing[0].far.Close()
		closing[1].far.Close() // CLOSE_WAIT
		time.Sleep(50 * time.Millisecond)
		shell(t, `ip netns exec `+w.outside+` nft -f - <<'F'
			table inet t { chain c { type filter hook input priority 0
				ip saddr 192.0.2.1 tcp flags & (syn|fin|ack) != 0 drop
			}
			}
F`)
		closing[2].near.Close()           // FIN_WAIT1
		dialling := dialOnly(t, far4, 80) // SYN_SENT
		w.fromOutside(t, func() {         // SYN_RECV
			dialOnly(t, host4, 445)
		})
		time.Sleep(50 * time.Millisecond)
		states := func() []uint8 {
			s, err := live.OpenSockets()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var found []uint8
			err = s.List(live.TCP, func(s *live.Socket) {
				if s.State != live.Listening {
					found = append(found, s.State)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(found)
			return found
		}
		want := []uint8{live.SynSent, live.SynReceived, 4, live.TimeWait, 8}
		if got := states(); !slices.Equal(got, want) {
			t.Fatalf("before: got states %d; want %d", got, want)
		}
		if done := cut(t, cutting(t), Isolation{}); done.Ended != len(want) {
			t.Errorf("got %d ended; want %d", done.Ended, len(want))
		}
		if got := states(); len(got) > 0 {
			t.Errorf("after: got states %d; want none", got)
		}
		if code, err := unix.GetsockoptInt(dialling, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || unix.Errno(code) != unix.ECONNABORTED {
			t.Errorf("who connects: got error %v, %v; want %v", unix.Errno(code), err, unix.ECONNABORTED)
		}
	})
}

// dialOnly begins to connect.
func dialOnly(t *testing.T, to string, port int) (fd int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return -1
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: netip.MustParseAddr(to).As4()}); err != unix.EINPROGRESS {
		t.Errorf("connect: %v", err)
	}
	return fd
}

// TestCutLeavesKernelSockets has a socket of the kernel's own on a port that the
// kernel hands out, as WireGuard has without a port of its choice.
func TestCutLeavesKernelSockets(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		shell(t, `ip link add vx0 type vxlan id 7 remote 192.0.2.2 dstport 40999
			ip addr add 10.7.0.1/24 dev vx0; ip link set vx0 up
			ip -n `+w.outside+` link add vx0 type vxlan id 7 remote 192.0.2.1 dstport 40999
			ip -n `+w.outside+` addr add 10.7.0.2/24 dev vx0; ip -n `+w.outside+` link set vx0 up`)
		// Where root may not look into every process, it says so.
		if done, err := cutting(t).Cut(context.Background(), Isolation{}); err != nil || done.Ended != 0 || len(done.Left) != 0 {
			t.Errorf("got %+v, error %v; want 0 ended", done, err)
		}
		w.fromOutside(t, func() { serve(t, "80") })
		if !talks("tcp", "10.7.0.2", "80", "") {
			t.Error("the tunnel is dead")
		}
	})
}

// TestCutKeepsUnits has a program in the control group of a service that is kept,
// and one in a group that a service could have made below itself.
func TestCutKeepsUnits(t *testing.T) {
	root, err := findGroupRoot()
	if err != nil {
		t.Skip("needs control groups of version 2: ", err)
	}
	inWorld(t, func(t *testing.T, w world) {
		slice := fmt.Sprintf("%s/fbtest%d.slice", root, os.Getpid())
		groups := []string{slice, slice + "/rustdesk.service", slice + "/rustdesk.service/worker", slice + "/evil.service", slice + "/evil.service/rustdesk.service"}
		for _, g := range groups {
			if err := os.Mkdir(g, 0o755); err != nil {
				t.Skip("cannot make control groups: ", err)
			}
		}
		defer func() {
			for _, g := range slices.Backward(groups) {
				for range 100 {
					if os.Remove(g) == nil {
						break
					}
					time.Sleep(10 * time.Millisecond) // the last process is just leaving
				}
			}
		}()
		web := w.listenOutside(t, "tcp4", ":80")
		want := map[string]bool{groups[1]: true, groups[2]: true, groups[3]: false, groups[4]: false}
		from := map[string]net.Conn{}
		for g := range want {
			// The shell joins the group and then connects.
			cmd := exec.Command("bash", "-c", `echo $$ > "$0"/cgroup.procs && exec 3<>/dev/tcp/`+far4+`/80 && read x <&3`, g)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer cmd.Process.Kill()
			far, err := web.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer far.Close()
			from[g] = far
		}
		if done := cut(t, cutting(t), Isolation{Units: []string{"rustdesk.service"}}); done.Ended != 2 {
			t.Errorf("got %d ended; want 2", done.Ended)
		}
		for g, kept := range want {
			if err := errorOf(from[g]); (err == nil) != kept {
				t.Errorf("%s: got error %v; want kept %v", strings.TrimPrefix(g, slice), err, kept)
			}
		}
	})
}

func TestCutWithoutPrivilege(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		web := w.listenOutside(t, "tcp4", ":80")
		k := connect(t, web, "tcp4", far4+":80")
		// The thread gives up all it may do, and ends with the test.
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			t.Fatal(err)
		}
		_, err := cutting(t).Cut(context.Background(), Isolation{})
		if !errors.Is(err, ErrNotPermitted) {
			t.Errorf("cut: got error %v; want %v", err, ErrNotPermitted)
		}
		if _, err := cutting(t).Live(context.Background(), Isolation{}); !errors.Is(err, ErrNotPermitted) {
			t.Errorf("live: got error %v; want %v", err, ErrNotPermitted)
		}
		if err := errorOf(k.near); err != nil {
			t.Errorf("the connection: got error %v; want none", err)
		}
	})
}

func TestCutAfterItsTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := cutting(t).Cut(ctx, Isolation{}); !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v; want %v", err, context.Canceled)
		}
	})
}

func TestRefusalOf(t *testing.T) {
	tests := []struct {
		state uint8
		err   unix.Errno
		want  refusal
	}{
		{live.Established, unix.ENOENT, passing},
		{live.Established, unix.EPERM, forbidden},
		{live.Established, unix.EOPNOTSUPP, unable}, // without INET_DIAG_DESTROY
		{live.Established, unix.EINVAL, unable},     // before Linux 4.5
		{live.TimeWait, unix.EOPNOTSUPP, harmless},
	}
	for _, test := range tests {
		if got := refusalOf(&live.Socket{State: test.state}, test.err); got != test.want {
			t.Errorf("%v in state %d: got %d; want %d", test.err, test.state, got, test.want)
		}
	}
}
