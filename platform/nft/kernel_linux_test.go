package nft

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// inNewNetns runs test in a network namespace of its own, with lo up. The thread
// is thrown away afterwards, and the namespace with it.
func inNewNetns(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to make a network namespace")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs the program %s", tool)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("make network namespace: %v", err)
			return
		}
		shell(t, "ip link set lo up")
		test(t)
	}()
	<-done
	if t.Failed() {
		t.FailNow()
	}
}

// shell runs commands in the namespace of the calling thread.
func shell(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", script, err, out)
		runtime.Goexit()
	}
	return string(out)
}

// must ends the test's thread on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
}

// contained are tables of the three families, as containment has them.
func contained() []*Table {
	lease := Set{Name: "lease", Key: []Type{Mark}, Timed: true, Elements: []Element{{First: Word(0), Last: Word(0), Timeout: 15 * time.Minute}}}
	ended := NewRule("", LeaseEnded("lease"), Then(Accept))
	drop := NewRule("", Then(Counter{}), Then(Drop))
	filter := func(number uint32) *Hook {
		return &Hook{Type: "filter", Number: number, Priority: -190, Policy: Accept}
	}
	egress := filter(NetdevEgress)
	egress.AnyDevice = true
	return []*Table{
		{Family: Inet, Name: "t", Flags: Owner | Persist, Sets: []Set{lease}, Chains: []Chain{
			{Name: "out", Hook: filter(Output), Rules: []Rule{
				ended,
				NewRule("", UserID.Is(Word(1000)), PacketMark.With(16), ConnMark.With(16), Then(Accept)),
				NewRule("", ControlGroup(1).Is(Long(77)), ConnMark.Any(Word(16)), Then(Accept)),
				drop,
			}},
		}},
		{Family: Bridge, Name: "t", Flags: Owner | Persist, Sets: []Set{lease}, Chains: []Chain{
			{Name: "forward", Hook: filter(Forward), Rules: []Rule{NewRule("", Then(Jump{"rules"}))}},
			{Name: "rules", Rules: []Rule{ended, drop}},
		}},
		{Family: Netdev, Name: "t", Flags: Owner | Persist, Sets: []Set{lease}, Chains: []Chain{
			{Name: "egress", Hook: egress, Rules: []Rule{
				ended,
				NewRule("", PacketMark.Any(Word(16)), Then(Accept)),
				NewRule("", EtherType.Is(Frame(0x0806)), Then(Accept)),
				NewRule("", EtherType.Is(Frame(0x888e)), Then(Accept)),
				NewRule("", IPDest.Within(netip.MustParsePrefix("10.0.0.0/9")), TCPDest.Is(Port(22)), Then(Accept)),
				NewRule("", IPDest.Within(netip.MustParsePrefix("10.0.0.1/32")), LaterFragment(), Then(Accept)),
				NewRule("", IP6Dest.Within(netip.MustParsePrefix("ff02::16/128")), ICMPv6Type.Is([]byte{143}), HopLimit.Is([]byte{1}), Then(Accept)),
				NewRule("", NetworkProtocol.Is([]byte{V4}), UDPDest.Is(Port(67)), Then(Accept)),
				NewRule("", NextHeader.Is([]byte{44}), Then(Accept)),
				drop,
			}},
		}},
	}
}

// dial opens a line that is closed with the test.
func dial(t *testing.T) *Conn {
	t.Helper()
	c, err := Dial()
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func keys(tables []*Table) []Key {
	var out []Key
	for _, t := range tables {
		out = append(out, t.Key())
	}
	return out
}

// check reads the tables and compares them with want.
func check(t *testing.T, c *Conn, want []*Table) []*Table {
	t.Helper()
	have, err := c.Read(context.Background(), keys(want)...)
	must(t, err)
	if len(have) != len(want) {
		t.Errorf("got %d tables; want %d", len(have), len(want))
		runtime.Goexit()
	}
	for i := range want {
		if d := Differences(have[i], want[i]); d != nil {
			t.Errorf("%v: %q", want[i].Key(), d)
		}
	}
	return have
}

// What is written is what is read back, in each family, and changing it into
// itself changes nothing.
func TestKernelKeepsWhatIsWritten(t *testing.T) {
	inNewNetns(t, func(t *testing.T) {
		c, want := dial(t), contained()
		ctx := context.Background()
		must(t, c.Replace(ctx, nil, want))
		have := check(t, c, want)
		for i := range want {
			if d := cmp.Diff(want[i].Text(), have[i].Text()); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if left := have[i].Sets[0].Elements[0].Left; left <= 14*time.Minute || left > 15*time.Minute {
				t.Errorf("got %v left; want just under 15m", left)
			}
		}
		before, err := c.Generation()
		must(t, err)
		must(t, c.Replace(ctx, have, want))
		if after, _ := c.Generation(); after != before {
			t.Error("replacing tables by themselves changed nftables")
		}
		_ = exec.Command("ping", "-c1", "-W1", "127.0.0.1").Run()
		if n := check(t, c, want)[0].Chains[0].Rules[3].Packets(); n != 1 {
			t.Errorf("the counter has seen %d packets; want 1", n)
		}
		must(t, c.Replace(ctx, have, want[:1]))
		check(t, c, want[:1])
		must(t, c.Replace(ctx, want[:1], nil))
		if left, err := c.Read(ctx, keys(want)...); err != nil || left != nil {
			t.Errorf("got %v, %v; want nothing", left, err)
		}
	})
}

// The rules are those of the text: nft makes the same of it. An nft that cannot
// print a hook on all devices reads it from the text of one device.
func TestTextIsWhatTheKernelHas(t *testing.T) {
	inNewNetns(t, func(t *testing.T) {
		c, want := dial(t), contained()
		for _, table := range want {
			table.Flags = 0
			for i := range table.Chains {
				if h := table.Chains[i].Hook; h != nil && h.AnyDevice {
					h.AnyDevice, h.Device = false, "lo"
				}
			}
		}
		// nft takes a control group by its path only.
		want[0].Chains[0].Rules = slices.Delete(want[0].Chains[0].Rules, 2, 3)
		for _, table := range want {
			cmd := exec.Command("nft", "-f", "-")
			cmd.Stdin = strings.NewReader(table.Text())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
				return
			}
		}
		check(t, c, want)
	})
}

func TestOwnership(t *testing.T) {
	inNewNetns(t, func(t *testing.T) {
		ctx := context.Background()
		first, err := Dial()
		must(t, err)
		want := contained()
		must(t, first.Replace(ctx, nil, want))
		other := dial(t)
		shell(t, "timeout 5 nft flush ruleset")
		check(t, other, want)
		if err := other.Replace(ctx, want, nil); !errors.Is(err, syscall.EPERM) {
			t.Errorf("deleting another's tables: got %v; want EPERM", err)
		}
		check(t, other, want) // the refusal has spoilt nothing

		// A copy of the file keeps the tables after the first line is closed.
		fd, err := unix.FcntlInt(uintptr(first.FD()), unix.F_DUPFD_CLOEXEC, 0)
		must(t, err)
		port := first.Port()
		must(t, first.Close())
		second, err := Adopt(fd)
		must(t, err)
		if second.Port() != port {
			t.Errorf("the adopted line has port %d; want %d", second.Port(), port)
		}
		shell(t, "timeout 5 nft flush ruleset")
		check(t, other, want)
		must(t, second.Renew(ctx, keys(want), "lease", Word(0), time.Hour))

		// Without its last file the tables stay, with their rules, as orphans.
		must(t, second.Close())
		have, err := other.Read(ctx, keys(want)...)
		must(t, err)
		for _, h := range have {
			if h.Flags != Persist || len(h.Chains) == 0 {
				t.Errorf("%v: got flags %d and %d chains; want an orphan as it was", h.Key(), h.Flags, len(h.Chains))
			}
		}
		requests := changes(have, want)
		if len(requests) != len(want) {
			t.Errorf("adoption takes %d requests; want one per table", len(requests))
		}
		must(t, other.Replace(ctx, have, want))
		shell(t, "timeout 5 nft flush ruleset")
		check(t, other, want)
		// Flags that come later need the table to be made anew.
		plain := contained()
		for _, table := range plain {
			table.Name, table.Flags = "plain", 0
		}
		owned := contained()
		for _, table := range owned {
			table.Name = "plain"
		}
		must(t, other.Replace(ctx, nil, plain))
		must(t, other.Replace(ctx, plain, owned))
		check(t, other, owned)
	})
}

func TestAdoptRefuses(t *testing.T) {
	file, err := os.Open("/dev/null")
	must(t, err)
	defer file.Close()
	if _, err := Adopt(int(file.Fd())); err == nil {
		t.Error("adopted a file")
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	if _, err := Adopt(fd); !errors.Is(err, unix.EPROTOTYPE) {
		t.Errorf("a socket to routing: got %v; want EPROTOTYPE", err)
	}
}

// No refusal, and no answer left unread, spoils the line.
func TestErrorsLeaveTheLineGood(t *testing.T) {
	inNewNetns(t, func(t *testing.T) {
		c, want := dial(t), contained()
		ctx := context.Background()
		must(t, c.Replace(ctx, nil, want))
		bad := &Table{Family: Inet, Name: "bad", Chains: []Chain{{Name: "x", Rules: []Rule{NewRule("", PacketMark.In("none"), Then(Drop)), NewRule("", PacketMark.In("none"), Then(Drop))}}}}
		for range 20 {
			if err := c.Replace(ctx, nil, []*Table{bad}); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %v; want ErrNotExist", err)
			}
			leaveUnread(t, c)
			check(t, c, want)
		}
	})
}

// leaveUnread asks for all rules and does not read the answer.
func leaveUnread(t *testing.T, c *Conn) {
	t.Helper()
	m := message(getRule, 0, netlink.Dump, func(*encoder) {})
	m.Header.Length = uint32(unix.NLMSG_HDRLEN + len(m.Data))
	b, err := m.MarshalBinary()
	must(t, err)
	must(t, unix.Sendto(c.FD(), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
}

func TestTrialLeavesNothing(t *testing.T) {
	inNewNetns(t, func(t *testing.T) {
		c := dial(t)
		ctx := context.Background()
		before, err := c.Generation()
		must(t, err)
		must(t, c.Trial(ctx, contained()...))
		wrong := contained()[2]
		wrong.Chains[0].Hook.Number = 7
		if err := c.Trial(ctx, wrong); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("a hook that there is not: got %v; want a refusal", err)
		}
		if after, _ := c.Generation(); after != before {
			t.Errorf("generation %d, then %d; want nothing changed", before, after)
		}
		if left := shell(t, "timeout 5 nft list ruleset"); left != "" {
			t.Errorf("left behind:\n%s", left)
		}
	})
}

// As many devices as a host can well have: one transaction.
func TestLargeTransaction(t *testing.T) {
	inNewNetns(t, func(t *testing.T) {
		c := dial(t)
		ctx := context.Background()
		want := &Table{Family: Inet, Name: "large", Flags: Owner}
		for i := range 4096 {
			want.Chains = append(want.Chains, Chain{Name: fmt.Sprintf("c%d", i), Rules: contained()[2].Chains[0].Rules[1:]})
		}
		start := time.Now()
		must(t, c.Replace(ctx, nil, []*Table{want}))
		made := time.Since(start)
		check(t, c, []*Table{want})
		t.Logf("made in %v, read in %v", made, time.Since(start)-made)
	})
}

// A renewal is not noticed by any packet, and none brings an ended lease back.
func TestRenew(t *testing.T) {
	inNewNetns(t, func(t *testing.T) {
		c, want := dial(t), contained()
		ctx := context.Background()
		must(t, c.Replace(ctx, nil, want))
		silent := flood(t)
		for i := range 5000 {
			must(t, c.Renew(ctx, keys(want), "lease", Word(0), time.Duration(i+1)*time.Minute))
		}
		sent, passed := silent()
		have := check(t, c, want)
		dropped := have[0].Chains[0].Rules[3].Packets()
		t.Logf("%d packets sent, %d dropped, %d came through", sent, dropped, passed)
		if passed != 0 || sent == 0 || dropped != sent {
			t.Errorf("of %d packets %d were dropped and %d came through; want all dropped", sent, dropped, passed)
		}
		if left := have[0].Sets[0].Elements[0].Left; left < 4999*time.Minute {
			t.Errorf("got %v left; want 5000m", left)
		}

		must(t, c.Renew(ctx, keys(want), "lease", Word(0), 100*time.Millisecond))
		loud := flood(t)
		time.Sleep(300 * time.Millisecond)
		if _, passed := loud(); passed == 0 {
			t.Error("no packet came through after the end of the lease")
		}
		for name, renew := range map[string]func() error{
			"ended":    func() error { return c.Renew(ctx, keys(want), "lease", Word(0), time.Hour) },
			"no set":   func() error { return c.Renew(ctx, keys(want), "none", Word(0), time.Hour) },
			"no table": func() error { return c.Renew(ctx, []Key{{Inet, "none"}}, "lease", Word(0), time.Hour) },
		} {
			if err := renew(); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: got %v; want ErrNotExist", name, err)
			}
		}
		if have, err := c.Read(ctx, keys(want)...); err != nil || len(have[0].Sets[0].Elements) != 0 {
			t.Errorf("the ended lease came back: %v, %v", have, err)
		}
	})
}

// flood sends packets through the loopback device as fast as one core can; the
// function it returns ends it and counts what was sent, and what came through.
func flood(t *testing.T) func() (sent, passed uint64) {
	t.Helper()
	to, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	from, err := net.DialUDP("udp4", nil, to.LocalAddr().(*net.UDPAddr))
	must(t, err)
	var sent, passed atomic.Uint64
	var end atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		for !end.Load() {
			_, _ = from.Write([]byte{1}) // EPERM: dropped
			sent.Add(1)
		}
	})
	all.Go(func() {
		for {
			if _, err := to.Read(make([]byte, 8)); err != nil {
				return
			}
			passed.Add(1)
		}
	})
	return func() (uint64, uint64) {
		end.Store(true)
		time.Sleep(50 * time.Millisecond) // for the last one to arrive
		_ = to.Close()
		all.Wait()
		_ = from.Close()
		return sent.Load(), passed.Load()
	}
}

func TestWatch(t *testing.T) {
	inNewNetns(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		seen, err := Watch(ctx)
		must(t, err)
		c, want := dial(t), contained()
		must(t, c.Replace(ctx, nil, want))
		next := func() Change {
			select {
			case change := <-seen:
				return change
			case <-time.After(5 * time.Second):
				t.Error("no change was told")
				return Change{}
			}
		}
		if got := next(); got.Port != c.Port() || got.PID == 0 || got.Process != "nft.test" || !slices.Equal(got.Tables, keys(want)) {
			t.Errorf("got %+v; want all tables, by port %d of nft.test", got, c.Port())
		}
		shell(t, "nft add table ip somebody")
		if got := next(); got.Process != "nft" || !slices.Equal(got.Tables, []Key{{2, "somebody"}}) {
			t.Errorf("got %+v; want somebody's table, by nft", got)
		}
		// Nobody reads while more happens than the queue holds.
		have := want
		for i := range 100 {
			many := *want[0]
			many.Chains = slices.Clone(many.Chains)
			for j := range 500 {
				many.Chains = append(many.Chains, Chain{Name: fmt.Sprintf("c%d-%d", i, j)})
			}
			all := append([]*Table{&many}, want[1:]...)
			must(t, c.Replace(ctx, have, all))
			have = all
		}
		for got := next(); !got.Lost; got = next() {
			if t.Failed() {
				return
			}
		}
		cancel()
		for range seen {
		}
	})
}

// This kernel may have no flowtables: the message is made by hand.
func TestFlowtables(t *testing.T) {
	m := message(22, Inet, 0, func(ae *encoder) {
		ae.String(attrAnyTable, "fw4")
		ae.String(attrFlowtableName, "ft")
	})
	if got, err := decodeFlowtable(m); err != nil || got != "inet fw4 ft" {
		t.Errorf("got %q, %v", got, err)
	}
	inNewNetns(t, func(t *testing.T) {
		if got, err := dial(t).Flowtables(context.Background()); err != nil || got != nil {
			t.Errorf("got %v, %v; want none", got, err)
		}
	})
}
