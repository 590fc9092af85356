package platform

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

// frameType is a type of frames for experiments: it is not IP, nor anything that
// isolation lets pass.
const frameType = 0x88b5

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
}

// hearFrames says when a frame for experiments comes in over a link of the
// calling thread's namespace.
func hearFrames(t *testing.T) chan string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, int(networkOrder(frameType)))
	must(t, err)
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	heard, done := make(chan string, 99), make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		defer unix.Close(fd)
		for b := make([]byte, 99); ; {
			_, _, err := unix.Recvfrom(fd, b, 0)
			select {
			case <-done:
				return
			default:
			}
			if err == nil {
				heard <- "frame"
			}
		}
	}()
	return heard
}

// sendFrame sends a frame for experiments past IP, from the calling thread's
// namespace.
func sendFrame(t *testing.T, index int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
	must(t, err)
	defer unix.Close(fd)
	// What is dropped on its way out is an error for the sender.
	_ = unix.Sendto(fd, []byte("secret"), 0, &unix.SockaddrLinklayer{
		Protocol: networkOrder(frameType), Ifindex: index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255},
	})
}

func networkOrder(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

// box joins a namespace to the bridge br0 of the host.
func box(t *testing.T, w world, name, address string) world {
	t.Helper()
	b := world{outside: w.outside + "-" + name}
	shell(t, "ip netns add "+b.outside)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", b.outside).Run() })
	shell(t, `echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null || true # else IP's chains see what is bridged
		ip link show br0 >/dev/null 2>&1 || { ip link add br0 type bridge; ip link set br0 up; }
		ip link add `+name+` type veth peer name eth0 netns `+b.outside+`
		ip link set `+name+` master br0 up
		ip -n `+b.outside+` addr add `+address+`/24 dev eth0; ip -n `+b.outside+` link set lo up; ip -n `+b.outside+` link set eth0 up`)
	return b
}

// eventually waits until something is so, and fails the test if it never is.
func eventually(t *testing.T, within time.Duration, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if so() {
			return
		}
	}
	t.Errorf("not within %s: %s", within, what)
}

func standing(t *testing.T, f Firewall) Standing {
	t.Helper()
	s, err := f.Standing(context.Background())
	must(t, err)
	return s
}

// holderRole is set in the process that TestLeaseEndOpens makes of itself.
const holderRole = "FIREBREAK_HOLDS_ISOLATION"

// With the agent stopped, all three tables let go when the lease ends.
func TestLeaseEndOpens(t *testing.T) {
	const lease = 3 * time.Second
	if os.Getenv(holderRole) != "" {
		must(t, newFirewall().Apply(context.Background(), isolated(Isolation{Lease: lease})))
		fmt.Println("isolated")
		time.Sleep(time.Minute)
		return
	}
	inWorld(t, func(t *testing.T, w world) {
		a, b := box(t, w, "boxa", "10.9.0.2"), box(t, w, "boxb", "10.9.0.3")
		var heard, bridged, frames chan string
		w.fromOutside(t, func() { heard, frames = hear(t, "9001"), hearFrames(t) })
		b.fromOutside(t, func() { bridged = hear(t, "9002") })
		everything := func() {
			if c, err := net.Dial("udp", far4+":9001"); err == nil {
				_, _ = c.Write([]byte("x"))
				c.Close()
			}
			sendFrame(t, 77)
			a.fromOutside(t, func() { send(t, "10.9.0.3", "9002", "9003") })
		}
		everything()
		expect(t, heard, "9001")
		expect(t, frames, "frame")
		expect(t, bridged, "9002")

		holder := exec.Command("/proc/self/exe", "-test.run=^TestLeaseEndOpens$")
		holder.Env = append(os.Environ(), holderRole+"=1")
		out, err := holder.StdoutPipe()
		must(t, err)
		must(t, holder.Start())
		defer func() { _ = holder.Process.Kill(); _ = holder.Wait() }()
		_, err = out.Read(make([]byte, 99))
		must(t, err)
		began := time.Now()
		must(t, holder.Process.Signal(syscall.SIGSTOP))

		for time.Since(began) < lease-500*time.Millisecond {
			everything()
			expect(t, heard, "")
			expect(t, frames, "")
			expect(t, bridged, "")
		}
		for name, c := range map[string]chan string{"inet": heard, "netdev": frames, "bridge": bridged} {
			eventually(t, time.Until(began.Add(lease+time.Second)), name+" lets go", func() bool {
				everything()
				select {
				case <-c:
					return true
				default:
					return false
				}
			})
		}
		got, err := newFirewall().InForce(context.Background())
		if err != nil || got.Isolation != nil {
			t.Errorf("in force after the lease: %+v, %v; want nothing", got, err)
		}
	})
}

// The agent itself sees a lease that has ended, and puts it together again.
func TestLeaseEndIsNoIsolation(t *testing.T) {
	needTools(t, "nft", "ip")
	inNewNetns(t, func(t *testing.T) {
		f := newFirewall()
		want := isolated(Isolation{Lease: 300 * time.Millisecond, DHCP: true})
		want.Blocked = []PortRule{{TCP, 445, 445}}
		apply(t, f, want)
		if s := standing(t, f); s.Left <= 0 || s.Left > 300*time.Millisecond || s.Lacks != nil {
			t.Errorf("standing: %+v; want up to 300ms left and nothing that lacks", s)
		}
		time.Sleep(400 * time.Millisecond)
		got, err := f.InForce(context.Background())
		if err != nil || got.Isolation != nil || len(got.Blocked) != 1 {
			t.Errorf("in force: %+v, %v; want the block alone", got, err)
		}
		if s := standing(t, f); !cmp.Equal(s, Standing{}) {
			t.Errorf("standing: %+v; want none", s)
		}
		if err := f.Renew(context.Background(), time.Minute); err == nil {
			t.Error("a lease that had ended was renewed")
		}
		apply(t, f, want)
		if s := standing(t, f); s.Left <= 0 {
			t.Errorf("applied again: %s left", s.Left)
		}
		apply(t, f, Restrictions{})
		for name, r := range map[string]Restrictions{"nothing": {}, "a block": {Blocked: want.Blocked}, "no lease": isolated(Isolation{})} {
			apply(t, f, r)
			if err := f.Renew(context.Background(), time.Minute); err == nil {
				t.Errorf("with %s in force, a lease was renewed", name)
			}
		}
	})
}

// Renewing interrupts nothing: neither the isolation, nor what is kept.
func TestRenewUnderTraffic(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		var heard chan string
		w.fromOutside(t, func() { heard = hear(t, "9001"); serve(t, "443") })
		f := newFirewall()
		const lease = 2 * time.Second
		apply(t, f, isolated(Isolation{Lease: lease, Keep: []Peer{{Network: prefix(far4 + "/32"), Protocol: TCP, Port: 443}}}))
		kept, err := net.Dial("tcp", far4+":443")
		must(t, err)
		defer kept.Close()
		flood := flooding(t, far4+":9001")
		before := generation(t)
		for began := time.Now(); time.Since(began) < 2*lease; time.Sleep(lease / 8) {
			must(t, f.Renew(context.Background(), lease))
			if !echoes(kept) {
				t.Error("the kept connection was interrupted")
			}
		}
		must(t, f.Renew(context.Background(), time.Hour))
		sent := uint64(flood())
		if s := standing(t, f); s.Left < 59*time.Minute || s.Dropped < sent || sent == 0 {
			t.Errorf("standing: %+v; want an hour left and %d datagrams counted", s, sent)
		}
		expect(t, heard, "")
		if generation(t) == before {
			t.Error("nothing was renewed")
		}
	})
}

// flooding sends datagrams to the address from the calling thread's namespace
// until the function it returns is called, which says how many there were.
func flooding(t *testing.T, address string) (stop func() int64) {
	t.Helper()
	c, err := net.Dial("udp", address)
	must(t, err)
	var ended atomic.Bool
	sent := make(chan int64)
	go func() {
		n := int64(0)
		for ; !ended.Load(); n++ {
			_, _ = c.Write([]byte("secret"))
			if n%64 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		c.Close()
		sent <- n
	}()
	return func() int64 { ended.Store(true); return <-sent }
}

// reapplications is how often the list of who is kept changes under load.
func reapplications(t *testing.T) int {
	n := 2000
	if s := os.Getenv("FIREBREAK_REAPPLICATIONS"); s != "" {
		_, err := fmt.Sscan(s, &n)
		must(t, err)
	}
	return n
}

// A list of kept peers that changes all the time lets nobody else in or out, by
// IP, past IP and over a bridge, and interrupts nobody who stays on it.
func TestKeepListChangesUnderLoad(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		a, b := box(t, w, "boxa", "10.9.0.2"), box(t, w, "boxb", "10.9.0.3")
		var heard, bridged, frames chan string
		w.fromOutside(t, func() { heard, frames = hear(t, "9001"), hearFrames(t); serve(t, "443") })
		b.fromOutside(t, func() { bridged = hear(t, "9002") })
		inside := hear(t, "9004")
		f := newFirewall()
		hub := Peer{Network: prefix(far4 + "/32"), Protocol: TCP, Port: 443}
		apply(t, f, isolated(Isolation{Lease: time.Hour, Keep: []Peer{hub}}))
		kept, err := net.Dial("tcp", far4+":443")
		must(t, err)
		defer kept.Close()

		stops := []func() int64{flooding(t, far4+":9001"), flooding(t, "["+far6+"]:9001")}
		w.fromOutside(t, func() { stops = append(stops, flooding(t, host4+":9004")) })
		a.fromOutside(t, func() { stops = append(stops, flooding(t, "10.9.0.3:9002")) })
		raw, ended := make(chan int), make(chan struct{})
		host, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		must(t, err)
		defer host.Close()
		go func() {
			runtime.LockOSThread()
			must(t, unix.Setns(int(host.Fd()), unix.CLONE_NEWNET))
			for n := 0; ; n++ {
				select {
				case <-ended:
					raw <- n
					return
				default:
					sendFrame(t, 77)
				}
			}
		}()

		n, dropped, began := reapplications(t), uint64(0), time.Now()
		for i := range n {
			iso := Isolation{Lease: time.Hour, Keep: []Peer{hub}, DHCP: i%2 == 0}
			for j := range i % 4 {
				iso.Keep = append(iso.Keep, Peer{Network: prefix(fmt.Sprintf("198.51.100.%d/32", (i+j)%250)), Protocol: UDP, Port: uint16(1 + i)})
			}
			must(t, f.Apply(context.Background(), isolated(iso)))
			if i%50 == 0 {
				if !echoes(kept) {
					t.Errorf("the kept connection was interrupted by change %d", i)
					break
				}
				now := standing(t, f).Dropped
				if now < dropped {
					t.Errorf("dropped packets went from %d to %d", dropped, now)
				}
				dropped = now
			}
		}
		took := time.Since(began)
		close(ended)
		sent := int64(<-raw)
		for _, stop := range stops {
			sent += stop()
		}
		if !echoes(kept) {
			t.Error("the kept connection was interrupted")
		}
		for _, c := range []chan string{heard, frames, bridged, inside} {
			expect(t, c, "")
		}
		t.Logf("%d changes in %s, %d packets tried, %d dropped", n, took.Round(time.Millisecond), sent, standing(t, f).Dropped)
	})
}

// A program in a container that has a child of the host's link is cut off too,
// in both directions, also while users are kept.
func TestIsolationOfMacvlan(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		child := world{outside: w.outside + "-child"}
		shell(t, "ip netns add "+child.outside)
		defer exec.Command("ip", "netns", "del", child.outside).Run()
		shell(t, `ip link add link eth0 name child index 79 netns `+child.outside+` type macvlan mode bridge
			ip -n `+child.outside+` addr add 192.0.2.3/24 dev child; ip -n `+child.outside+` link set lo up; ip -n `+child.outside+` link set child up`)
		child.fromOutside(t, func() { serve(t, "80") })
		w.fromOutside(t, func() { serve(t, "80") })
		both := func(want bool) {
			t.Helper()
			child.fromOutside(t, func() {
				check(t, "the child", talk{"udp", far4, "80", "", want}, talk{"tcp", far4, "80", "", want})
			})
			w.fromOutside(t, func() {
				check(t, "outside", talk{"udp", "192.0.2.3", "80", "", want}, talk{"tcp", "192.0.2.3", "80", "", want})
			})
		}
		both(true)
		f := newFirewall()
		for _, iso := range []Isolation{{}, {Users: []uint32{4321}}} {
			apply(t, f, isolated(iso))
			both(false)
		}
		var heard chan string
		child.fromOutside(t, func() { heard = hear(t, "81") })
		w.fromOutside(t, func() { send(t, "192.0.2.3", "81", "9001") })
		expect(t, heard, "")
		apply(t, f, Restrictions{})
		both(true)
	})
}

// Links that come while the host is isolated are shut from the start, where the
// kernel can.
func TestIsolationOfNewLinks(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		f := onKernel(t, everyAbility())
		apply(t, f, isolated(Isolation{}))
		if lacks := standing(t, f).Lacks; lacks != nil {
			t.Errorf("lacks %q; want nothing", lacks)
		}
		shell(t, "ip link add eth1 index 90 type veth peer name eth1 netns "+w.outside+"; ip link set eth1 up; ip -n "+w.outside+" link set eth1 up")
		var frames chan string
		w.fromOutside(t, func() { frames = hearFrames(t) })
		sendFrame(t, 90)
		expect(t, frames, "")
		apply(t, f, Restrictions{})
		sendFrame(t, 90)
		expect(t, frames, "frame")
	})
}

// asUser runs f on a thread with the user's ID, in the namespace of the calling
// thread. The thread is thrown away.
func asUser(t *testing.T, uid int, f func()) {
	t.Helper()
	host, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	must(t, err)
	defer host.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		must(t, unix.Setns(int(host.Fd()), unix.CLONE_NEWNET))
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			t.Error(errno)
			return
		}
		f()
	}()
	<-done
}

// A kept user's programs connect to anybody, and nobody connects to them.
func TestIsolationKeepsUsers(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		w.fromOutside(t, func() { serve(t, "80") })
		asUser(t, 4321, func() { serve(t, "8080") })
		f := newFirewall()
		apply(t, f, isolated(Isolation{Users: []uint32{4321}, Lease: time.Minute}))
		asUser(t, 4321, func() {
			check(t, "a kept user", talk{"tcp", far4, "80", "", true}, talk{"udp", far4, "80", "", true},
				talk{"tcp", far6, "80", "", true}, talk{"udp", far6, "80", "", true})
			big, err := net.Dial("udp", far4+":80")
			must(t, err)
			defer big.Close()
			must(t, big.SetDeadline(time.Now().Add(patience)))
			_, err = big.Write(make([]byte, 4000))
			must(t, err)
			if _, err := big.Read(make([]byte, 4000)); err != nil {
				t.Errorf("a datagram in fragments: %v", err)
			}
		})
		asUser(t, 4322, func() {
			check(t, "another user", talk{"tcp", far4, "80", "", false}, talk{"udp", far6, "80", "", false})
		})
		w.fromOutside(t, func() {
			check(t, "outside", talk{"tcp", host4, "8080", "", false}, talk{"udp", host4, "8080", "", false},
				talk{"tcp", host4, "8080", "80", false}, talk{"udp", host6, "8080", "80", false})
		})
		apply(t, f, isolated(Isolation{Lease: time.Minute}))
		asUser(t, 4321, func() {
			check(t, "a user who is kept no more", talk{"tcp", far4, "80", "", false}, talk{"udp", far4, "80", "", false})
		})
	})
}

// A kept unit is known by its control group. One that does not run, or runs
// anew, is said to be cut off until the restrictions are applied again.
func TestIsolationKeepsUnits(t *testing.T) {
	needTools(t, "bash", "head", "timeout")
	root, err := findGroupRoot()
	if err != nil {
		t.Skip(err)
	}
	slice := filepath.Join(root, fmt.Sprintf("fbtest%d.slice", os.Getpid()))
	unit := fmt.Sprintf("fbtest%d.service", os.Getpid())
	dir := filepath.Join(slice, unit)
	if err := os.Mkdir(slice, 0o755); err != nil {
		t.Skip(err)
	}
	defer os.Remove(slice)
	defer os.Remove(dir)
	inWorld(t, func(t *testing.T, w world) {
		w.fromOutside(t, func() { serve(t, "80") })
		// A group below the unit's belongs to it as well.
		talks := func() bool {
			sub := filepath.Join(dir, "sub")
			must(t, os.MkdirAll(sub, 0o755))
			out, err := exec.Command("bash", "-c", "echo $$ > "+sub+"/cgroup.procs; exec 3<>/dev/udp/"+far4+"/80; echo hello >&3; timeout 0.3 head -n1 <&3").Output()
			eventually(t, time.Second, "the group is empty", func() bool { return os.Remove(sub) == nil })
			return err == nil && bytes.HasPrefix(out, []byte("hello"))
		}
		f := newFirewall()
		want := isolated(Isolation{Units: []string{unit}, Lease: time.Minute})
		lacks := func(sentence string) {
			t.Helper()
			got := standing(t, f).Lacks
			if sentence == "" && got != nil || sentence != "" && (len(got) != 1 || !strings.Contains(got[0], sentence)) {
				t.Errorf("lacks %q; want %q", got, sentence)
			}
		}
		apply(t, f, want)
		lacks("not running")
		must(t, os.Mkdir(dir, 0o755))
		lacks("until the restrictions are applied again")
		if talks() {
			t.Error("the unit is connected before it has a rule")
		}
		apply(t, f, want)
		lacks("")
		if !talks() {
			t.Error("the kept unit is cut off")
		}
		check(t, "another program", talk{"udp", far4, "80", "", false})

		must(t, os.Remove(dir))
		lacks("not running")
		must(t, os.Mkdir(dir, 0o755))
		if got, err := f.InForce(context.Background()); err != nil || !got.Equal(want) {
			t.Errorf("in force: %+v, %v; want %+v", got, err, want)
		}
		lacks("until the restrictions are applied again")
		if talks() {
			t.Error("the unit's new group is connected before it has a rule")
		}
		apply(t, f, want)
		lacks("")
		if !talks() {
			t.Error("the restarted unit is cut off")
		}

		// A rule for the group of somebody else is no rule of the agent.
		other := filepath.Join(slice, "other.service")
		must(t, os.Mkdir(other, 0o755))
		defer os.Remove(other)
		id, _ := groupID(other)
		g := ground{can: f.can, groups: map[string]group{unit: {2, id}}}
		have, err := f.line.Read(context.Background(), tableKeys()...)
		must(t, err)
		forged, err := rulesets(want, g)
		must(t, err)
		must(t, f.line.Replace(context.Background(), have, forged))
		if got, err := f.InForce(context.Background()); !errors.Is(err, ErrAltered) {
			t.Errorf("the group of somebody else: got %+v, %v; want ErrAltered", got, err)
		}
	})
}

// olderKernel is this kernel without some of what it can.
type olderKernel struct {
	kernelLine
	can abilities
}

func (k olderKernel) Replace(ctx context.Context, have, want []*nft.Table) error {
	if err := k.refuses(want); err != nil {
		return err
	}
	return k.kernelLine.Replace(ctx, have, want)
}

func (k olderKernel) Trial(ctx context.Context, want ...*nft.Table) error {
	if err := k.refuses(want); err != nil {
		return err
	}
	return k.kernelLine.Trial(ctx, want...)
}

func (k olderKernel) refuses(tables []*nft.Table) error {
	text := rulesetText(tables)
	for _, r := range []struct {
		missing bool
		word    string
		errno   syscall.Errno
	}{
		{!k.can.Owned, "owner,persist", syscall.EINVAL},
		{!k.can.Bridge, "table bridge", syscall.EAFNOSUPPORT},
		{!k.can.Ingress, "hook ingress", syscall.EOPNOTSUPP},
		{!k.can.Egress, "hook egress", syscall.EOPNOTSUPP},
		{!k.can.AnyDevice, `"*"`, syscall.EINVAL},
		{!k.can.Reject, "reject", syscall.ENOENT},
		{!k.can.Groups, "cgroupv2", syscall.EOPNOTSUPP},
		{!k.can.Local, "fib daddr type local", syscall.ENOENT},
	} {
		if r.missing && strings.Contains(text, r.word) {
			return fmt.Errorf("receive: %w", r.errno)
		}
	}
	return nil
}

func onKernel(t *testing.T, can abilities) *firewall {
	t.Helper()
	f := newFirewall()
	must(t, f.open())
	f.line, f.can = olderKernel{f.line, can}, everyAbility()
	return f
}

// Where the kernel refuses something, the best of the rest is in force, and what
// is missing is said.
func TestIsolationOnOlderKernels(t *testing.T) {
	for name, c := range map[string]struct {
		without func(*abilities)
		lacks   []string
		// what gets out all the same
		frames, bridged bool
	}{
		"no owner":   {without: func(a *abilities) { a.Owned = false }, lacks: []string{"belong to the agent"}},
		"no bridge":  {without: func(a *abilities) { a.Bridge = false }, lacks: []string{"no bridge rules"}},
		"no ingress": {without: func(a *abilities) { a.Ingress = false }, lacks: []string{"no netdev ingress"}},
		"no egress":  {without: func(a *abilities) { a.Egress = false }, lacks: []string{"no netdev egress"}, frames: true},
		"each link":  {without: func(a *abilities) { a.AnyDevice = false }},
		"no reject":  {without: func(a *abilities) { a.Reject = false }, lacks: []string{"cannot reject"}},
		"no groups":  {without: func(a *abilities) { a.Groups = false }},
		"no local":   {without: func(a *abilities) { a.Local = false }},
		"least": {without: func(a *abilities) { *a = abilities{} }, frames: true, bridged: true, lacks: []string{
			"belong to the agent", "no netdev egress", "no netdev ingress", "no bridge rules", "cannot reject",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w world) {
				a, b := box(t, w, "boxa", "10.9.0.2"), box(t, w, "boxb", "10.9.0.3")
				var bridged, frames chan string
				w.fromOutside(t, func() { frames = hearFrames(t); serve(t, "443"); serve(t, "444") })
				b.fromOutside(t, func() { bridged = hear(t, "9002") })
				can := everyAbility()
				c.without(&can)
				f := onKernel(t, can)
				want := isolated(Isolation{Lease: time.Minute, Keep: []Peer{{Network: prefix(far4 + "/32"), Protocol: TCP, Port: 443}}})
				apply(t, f, want)
				check(t, "the isolated host", talk{"tcp", far4, "443", "", true}, talk{"tcp", far4, "444", "", false}, talk{"udp", far6, "443", "", false})
				sendFrame(t, 77)
				expect(t, frames, map[bool]string{true: "frame"}[c.frames])
				a.fromOutside(t, func() { send(t, "10.9.0.3", "9002", "9003") })
				expect(t, bridged, map[bool]string{true: "9002"}[c.bridged])
				got := standing(t, f)
				if len(got.Lacks) != len(c.lacks) || got.Dropped == 0 {
					t.Errorf("standing: %+v; want packets dropped and %d sentences", got, len(c.lacks))
				}
				for i, sentence := range c.lacks {
					if !strings.Contains(strings.Join(got.Lacks, "\n"), sentence) {
						t.Errorf("lacks %q; want %q in it", got.Lacks, c.lacks[i])
					}
				}
				// Another agent that only reads finds the same.
				if got, err := onKernel(t, can).InForce(context.Background()); err != nil || !got.Equal(want) {
					t.Errorf("another agent reads %+v, %v; want %+v", got, err, want)
				}
				if !can.AnyDevice && can.Egress {
					newLink(t, f, want)
				}
				apply(t, f, Restrictions{})
				if left := shell(t, "nft list ruleset"); left != "" {
					t.Errorf("left behind:\n%s", left)
				}
			})
		})
	}
}

// newLink checks that a new link is said to be open until the next Apply, and
// that one that is gone is no alteration.
func newLink(t *testing.T, f *firewall, want Restrictions) {
	t.Helper()
	shell(t, "ip link add late type veth peer name later")
	got := strings.Join(standing(t, f).Lacks, "\n")
	if !strings.Contains(got, "link late, which is new") {
		t.Errorf("lacks %q; want the new link in it", got)
	}
	apply(t, f, want)
	if got := strings.Join(standing(t, f).Lacks, "\n"); strings.Contains(got, "which is new") {
		t.Errorf("applied again, but lacks %q", got)
	}
	shell(t, "ip link del late")
	apply(t, f, want)
}

// What is refused as a whole is not in force in part.
func TestIsolationIsWholeOrNot(t *testing.T) {
	inNewNetns(t, func(t *testing.T) {
		f := newFirewall()
		must(t, f.open())
		f.line = brokenKernel{f.line}
		err := f.Apply(context.Background(), isolated(Isolation{}))
		if !errors.Is(err, ErrUnsupported) {
			t.Errorf("got %v; want ErrUnsupported", err)
		}
		t.Log(err)
		if left := shell(t, "nft list ruleset"); left != "" {
			t.Errorf("in force:\n%s", left)
		}
	})
}

// brokenKernel refuses everything.
type brokenKernel struct{ kernelLine }

func (brokenKernel) Replace(context.Context, []*nft.Table, []*nft.Table) error { return syscall.EINVAL }

func (brokenKernel) Trial(context.Context, ...*nft.Table) error { return syscall.EOPNOTSUPP }

// What belongs to the agent cannot be taken away by others, and outlives it.
func TestIsolationIsOwned(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		w.fromOutside(t, func() { serve(t, "80") })
		kept := &keptLine{}
		f := newKeptFirewall(kept)
		want := isolated(Isolation{Lease: time.Minute})
		apply(t, f, want)
		shell(t, `nft 'table inet admin { chain c { type filter hook input priority 0; } 
			}'
			nft flush ruleset`)
		if got, err := f.InForce(context.Background()); err != nil || !got.Equal(want) {
			t.Errorf("after a flush by somebody else: %+v, %v; want %+v", got, err, want)
		}
		check(t, "the isolated host", talk{"tcp", far4, "80", "", false})
		for _, family := range []string{"inet", "bridge", "netdev"} {
			if out, err := exec.Command("nft", "delete", "table", family, "firebreak").CombinedOutput(); err == nil {
				t.Errorf("somebody else took table %s away: %s", family, out)
			}
		}
		err := newFirewall().Apply(context.Background(), Restrictions{})
		if !errors.Is(err, ErrNotPermitted) || !strings.Contains(err.Error(), "another agent holds") {
			t.Errorf("another agent: got %v; want to be told of the first", err)
		}
		t.Log(err)

		// The agent dies; its line is kept, and the next one takes it over.
		fd, err := unix.Dup(kept.fd)
		must(t, err)
		must(t, f.line.(*nft.Conn).Close())
		next := newKeptFirewall(&keptLine{fd: fd, there: true})
		shell(t, "nft flush ruleset")
		if got, err := next.InForce(context.Background()); err != nil || !got.Equal(want) {
			t.Errorf("the next agent: %+v, %v; want %+v", got, err, want)
		}
		apply(t, next, isolated(Isolation{Lease: time.Minute, DHCP: true}))

		// It dies and nobody keeps its line: the tables outlive it, and the next
		// one makes them its own.
		must(t, next.line.(*nft.Conn).Close())
		last := newFirewall()
		want = isolated(Isolation{Lease: time.Minute, DHCP: true})
		if got, err := last.InForce(context.Background()); err != nil || !got.Equal(want) {
			t.Errorf("after the owner: %+v, %v; want %+v", got, err, want)
		}
		apply(t, last, want)
		shell(t, "nft flush ruleset")
		if got, err := last.InForce(context.Background()); err != nil || !got.Equal(want) {
			t.Errorf("adopted: %+v, %v; want %+v", got, err, want)
		}
		check(t, "the isolated host", talk{"tcp", far4, "80", "", false})
		apply(t, last, Restrictions{})
		check(t, "the released host", talk{"tcp", far4, "80", "", true})
	})
}

// keptLine is a service manager with one line.
type keptLine struct {
	fd    int
	there bool
}

func (k *keptLine) Take() (int, bool) { return k.fd, k.there }

func (k *keptLine) Keep(fd int) error {
	k.fd = fd
	return nil
}

// forgetful is a service manager that keeps nothing.
type forgetful struct{ noKeeper }

func (forgetful) Keep(int) error { return errors.New("no socket to the service manager") }

func TestIsolationSaysThatItIsNotKept(t *testing.T) {
	inNewNetns(t, func(t *testing.T) {
		f := newKeptFirewall(forgetful{})
		apply(t, f, isolated(Isolation{}))
		got := standing(t, f).Lacks
		if len(got) != 1 || !strings.Contains(got[0], "no socket to the service manager") {
			t.Errorf("lacks %q; want what the service manager said", got)
		}
	})
}

// Where tables cannot be owned, what somebody else took away is put back.
func TestIsolationIsRepaired(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		w.fromOutside(t, func() { serve(t, "80") })
		can := everyAbility()
		can.Owned = false
		f := onKernel(t, can)
		want := isolated(Isolation{Lease: time.Minute})
		apply(t, f, want)
		check(t, "the isolated host", talk{"tcp", far4, "80", "", false})
		dropped := standing(t, f).Dropped
		shell(t, "nft flush ruleset")
		if got, err := f.InForce(context.Background()); err != nil || !got.Zero() {
			t.Errorf("after a flush by somebody else: %+v, %v; want nothing", got, err)
		}
		check(t, "the opened host", talk{"tcp", far4, "80", "", true})
		apply(t, f, want)
		check(t, "the isolated host", talk{"tcp", far4, "80", "", false})
		if now := standing(t, f).Dropped; now <= dropped || dropped == 0 {
			t.Errorf("dropped packets went from %d to %d", dropped, now)
		}
	})
}

// A host with very many links is isolated as any other.
func TestIsolationOfManyLinks(t *testing.T) {
	links := 256
	if s := os.Getenv("FIREBREAK_LINKS"); s != "" {
		_, err := fmt.Sscan(s, &links)
		must(t, err)
	}
	inNewNetns(t, func(t *testing.T) {
		var batch strings.Builder
		for i := range links / 2 {
			fmt.Fprintf(&batch, "link add a%d type veth peer name b%d\n", i, i)
		}
		cmd := exec.Command("ip", "-batch", "-")
		cmd.Stdin = strings.NewReader(batch.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
			return
		}
		eachLink := everyAbility()
		eachLink.AnyDevice = false
		for name, can := range map[string]abilities{"one chain": everyAbility(), "a chain for each": eachLink} {
			f := onKernel(t, can)
			want := isolated(Isolation{Lease: time.Hour, DHCP: true})
			for _, r := range []Restrictions{want, want, {}} {
				began := time.Now()
				must(t, f.Apply(context.Background(), r))
				applied := time.Since(began)
				got, err := f.InForce(context.Background())
				if err != nil || !got.Equal(r) {
					t.Errorf("%s: in force %+v, %v; want %+v", name, got, err, r)
				}
				t.Logf("%d links, %s: applied in %s, read in %s", links, name, applied.Round(time.Microsecond), (time.Since(began) - applied).Round(time.Microsecond))
			}
		}
	})
}

// Several may apply, renew and read at once.
func TestFirewallIsForSeveral(t *testing.T) {
	inNewNetns(t, func(t *testing.T) {
		f := newFirewall()
		apply(t, f, isolated(Isolation{Lease: time.Minute}))
		done := make(chan error)
		for i := range 4 {
			go func() {
				var err error
				for j := range 25 {
					iso := Isolation{Lease: time.Minute, DHCP: (i+j)%2 == 0}
					err = errors.Join(err, f.Apply(context.Background(), isolated(iso)), f.Renew(context.Background(), time.Minute))
					_, readErr := f.Standing(context.Background())
					err = errors.Join(err, readErr)
				}
				done <- err
			}()
		}
		for range 4 {
			must(t, <-done)
		}
	})
}
