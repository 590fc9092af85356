package platform

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

// eventsUntil collects events until none has come for a while.
func eventsUntil(events <-chan Event, quiet time.Duration) []Event {
	var all []Event
	for {
		select {
		case e := <-events:
			all = append(all, e)
		case <-time.After(quiet):
			return all
		}
	}
}

// awaitEvent waits for an event of the part whose reason has want in it, and returns how
// long that took.
func awaitEvent(t *testing.T, events <-chan Event, part Part, want string) time.Duration {
	t.Helper()
	begun := time.Now()
	timeout := time.After(5 * time.Second)
	var all []string
	for {
		select {
		case e := <-events:
			all = append(all, string(e.Part)+": "+e.Why)
			if e.Part == part && strings.Contains(e.Why, want) {
				return time.Since(begun)
			}
		case <-timeout:
			t.Errorf("no event of %s said %q; heard %q", part, want, all)
			return 0
		}
	}
}

func TestEventsOfTheNetwork(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		events := newObserver(Options{}, nil).Events(t.Context())
		for _, c := range []struct{ do, want string }{
			{"ip link add eth1 type veth peer name eth2 netns " + w.outside, "eth1 was added"},
			{"ip link set eth1 up; ip -n " + w.outside + " link set eth2 up", "eth1 went up"},
			{"ip addr add 198.51.100.1/24 dev eth1", "198.51.100.1/24 was given to eth1"},
			{"ip -6 addr add 2001:db8:2::1/64 dev eth1 nodad", "2001:db8:2::1/64 was given to eth1"},
			{"ip route add 203.0.113.0/24 via 198.51.100.2", "a route to 203.0.113.0/24 changed"},
			{"ip -6 route add default via 2001:db8:2::2", "the default route changed"},
			{"ip addr del 198.51.100.1/24 dev eth1", "198.51.100.1/24 was taken from eth1"},
			{"ip -n " + w.outside + " link set eth2 down", "eth1 went down"},
			{"ip link del eth1", "eth1 is gone"},
		} {
			eventsUntil(events, 2*networkRest) // what came with the change before
			shell(t, c.do)
			if took := awaitEvent(t, events, PartNetwork, c.want); took > 2*networkRest {
				t.Errorf("%s: took %v", c.do, took)
			} else {
				t.Logf("%q after %v", c.want, took)
			}
		}
	})
}

// elsewhere tells whether an event may be about mounts that other tests make at
// the same time: names of namespaces and mounts belong to the whole machine.
func elsewhere(e Event) bool {
	return strings.Contains(e.Why, "network namespace ") || strings.Contains(e.Why, "mount ")
}

func TestEventsLeaveOutWhatIsNoChange(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		events := newObserver(Options{}, nil).Events(t.Context())
		prober := newProber()
		for _, v6 := range []bool{false, true} {
			if _, err := prober.Outbound(t.Context(), v6); err != nil {
				t.Fatal(err)
			}
			if _, err := prober.Inbound(t.Context(), TCP, netip.MustParseAddrPort("192.0.2.1:9")); err != nil {
				t.Fatal(err)
			}
		}
		shell(t, "ip addr change 192.0.2.1/24 dev eth0 valid_lft 600 preferred_lft 600; ip link set eth0 up; ip link set eth0 alias wan")
		for _, e := range eventsUntil(events, time.Second) {
			if e.Part != PartListeners && !elsewhere(e) {
				t.Errorf("got event %+v; want none", e)
			}
		}
	})
}

func TestBurstsBecomeAFewEvents(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		events := newObserver(Options{}, nil).Events(t.Context())
		var batch strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&batch, "route add 10.%d.%d.0/24 via 192.0.2.2\n", i/250, i%250)
		}
		file := filepath.Join(t.TempDir(), "batch")
		if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		shell(t, "ip -batch "+file)
		took := time.Since(begun)
		got := eventsUntil(events, time.Second)
		// Ports of other namespaces belong to the same host.
		got = slices.DeleteFunc(got, func(e Event) bool { return e.Part == PartListeners })
		if most := 2 + int(took/networkRest) + 1; len(got) == 0 || len(got) > most {
			t.Errorf("1000 routes in %v: got %d events; want 1 to %d", took, len(got), most)
		}
		for _, e := range got {
			t.Logf("%s: %s", e.Part, e.Why)
			if len(e.Why) > 300 && !elsewhere(e) {
				t.Errorf("the reason has %d characters", len(e.Why))
			}
		}
	})
}

// TestLostChangesAreLearnedAnew keeps the watch from reading until the kernel has
// had to throw changes away.
func TestLostChangesAreLearnedAnew(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		run, err := networkSource(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		shell(t, `for i in $(seq 400); do echo "link add v$i type veth peer name w$i"; done | ip -batch -; ip link set eth0 down`)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		said := make(chan string, 10000)
		go run(ctx, func(_ Part, why string) { said <- why })
		lost := false
		for timeout := time.After(5 * time.Second); !lost; {
			select {
			case why := <-said:
				lost = why == "the network changed a lot"
			case <-timeout:
				t.Error("nobody said that changes were lost")
				return
			}
		}
		for len(said) > 0 {
			<-said
		}
		time.Sleep(100 * time.Millisecond) // it learns
		shell(t, "ip link set eth0 up")
		for timeout := time.After(5 * time.Second); ; {
			select {
			case why := <-said: // an address may be given to a link meanwhile
				if why == "eth0 went up" {
					return
				}
			case <-timeout:
				t.Error("what changed after the lost changes was not said")
				return
			}
		}
	})
}

func TestEventsOfMountsAndNamespaces(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		events := newObserver(Options{}, nil).Events(t.Context())
		name := fmt.Sprintf("fb-new-%d", os.Getpid())
		defer shell(t, "ip netns del "+name+" 2>/dev/null || true")
		shell(t, "ip netns add "+name)
		t.Logf("namespace after %v", awaitEvent(t, events, PartNetwork, "network namespace "+name+" appeared"))
		shell(t, "ip netns del "+name)
		awaitEvent(t, events, PartNetwork, "network namespace "+name+" is gone")
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			t.Skipf("cannot mount here: %v", err)
		}
		defer unix.Unmount(dir, 0)
		for _, e := range eventsUntil(events, time.Second) {
			if strings.Contains(e.Why, dir) {
				t.Errorf("got %+v for a mount that needs no network; want no event", e)
			}
		}
	})
}

// TestNothingIsLostWhileNobodyListens says more of each part than the channel
// could hold.
func TestNothingIsLostWhileNobodyListens(t *testing.T) {
	w := newWatch()
	ctx, cancel := context.WithCancel(t.Context())
	events := make(chan Event)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.deliver(ctx, events)
	}()
	w.say(PartListeners, "tcp 1 began to listen")
	time.Sleep(10 * time.Millisecond) // it waits to hand this one out
	for i := range 100 {
		w.say(PartListeners, fmt.Sprintf("tcp %d began to listen", i+2))
		w.say(PartNetwork, "eth0 went down")
		w.say(PartRestrictions, "nft (pid 1) changed the agent's firewall rules")
	}
	want := []Event{
		{PartListeners, "tcp 1 began to listen"},
		{PartRestrictions, "nft (pid 1) changed the agent's firewall rules"},
		{PartNetwork, "eth0 went down"},
		{PartListeners, "tcp 2 began to listen, tcp 3 began to listen, tcp 4 began to listen, tcp 5 began to listen, and more"},
	}
	for _, want := range want {
		if got := <-events; got != want {
			t.Errorf("got %+v; want %+v", got, want)
		}
	}
	w.say(PartNetwork, "eth0 went up")
	w.say(PartRestrictions, "again")
	begun := time.Now()
	if got := <-events; got.Why != "again" {
		t.Errorf("got %+v; want what cannot wait", got)
	}
	if got := <-events; got.Why != "eth0 went up" || time.Since(begun) < networkRest/2 {
		t.Errorf("got %+v after %v; want it after a rest", got, time.Since(begun))
	}
	cancel()
	<-ended
}

func TestEventsOfTheAgentsRules(t *testing.T) {
	inWorld(t, func(t *testing.T, _ world) {
		own := newFirewall()
		events := newObserver(Options{}, own).Events(t.Context())
		blocked := Restrictions{Blocked: []PortRule{{TCP, 445, 445}}}
		if err := own.Apply(t.Context(), blocked); err != nil {
			t.Error(err)
			return
		}
		shell(t, "nft add table inet somebody")
		for _, e := range eventsUntil(events, time.Second) {
			if e.Part == PartRestrictions {
				t.Errorf("got %+v for the agent's own change and for a foreign table; want no event", e)
			}
		}
		begun := time.Now()
		shell(t, "nft add table bridge firebreak")
		took := awaitEvent(t, events, PartRestrictions, "changed the agent's firewall rules")
		t.Logf("told after %v, %v with nft itself", took, time.Since(begun))
		if took > 100*time.Millisecond {
			t.Errorf("took %v; want milliseconds", took)
		}
		shell(t, "nft delete table bridge firebreak")
		for range 3 {
			select {
			case e := <-events:
				if e.Part == PartRestrictions && strings.HasPrefix(e.Why, "nft (pid ") {
					return
				}
			case <-time.After(5 * time.Second):
			}
		}
		t.Error("nft was not named")
	})
}

func TestTampered(t *testing.T) {
	o := &observer{}
	ours, others := nft.Key{Family: nft.Netdev, Name: "firebreak"}, nft.Key{Family: nft.Inet, Name: "filter"}
	for _, c := range []struct {
		change nft.Change
		want   string
	}{
		{nft.Change{Lost: true}, "the firewall changed faster than could be followed"},
		{nft.Change{Port: 7, PID: 9, Process: "nft", Tables: []nft.Key{others}}, ""},
		{nft.Change{Port: 7, PID: 9, Process: "nft", Tables: []nft.Key{others, ours}}, "nft (pid 9) changed the agent's firewall rules"},
		{nft.Change{Port: 7, PID: 9, Process: "a\x1bb", Tables: []nft.Key{ours}}, "a b (pid 9) changed the agent's firewall rules"},
		{nft.Change{Port: 7, Tables: []nft.Key{ours}}, "somebody changed the agent's firewall rules"},
	} {
		if got := o.tampered(c.change); got != c.want {
			t.Errorf("%+v: got %q; want %q", c.change, got, c.want)
		}
	}
}
