package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
)

func TestHowWellAnIsolationHolds(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(*bench)
		state  IsolationState
		reason string
	}{
		"whole": {func(*bench) {}, IsolationFull, ""},
		"a kernel that lacks something": {
			func(b *bench) { b.m.SetLacks("this kernel has no netdev egress hook") }, IsolationDegraded, "no netdev egress hook",
		},
		"a connection that goes on": {
			func(b *bench) { b.m.Stubborn(connection("192.0.2.2:40000", "198.51.100.7:443")) },
			IsolationDegraded, "1 connection could not be ended, such as tcp from 192.0.2.2:40000 to 198.51.100.7:443",
		},
		"connections that cannot be ended": {
			func(b *bench) { b.m.Fail("Connections.Cut", errors.New("no SOCK_DESTROY")) }, IsolationDegraded, "no SOCK_DESTROY",
		},
		"a hub that was not there before either": {
			func(b *bench) { b.m.SetPeer(hub, platform.Silent, platform.Silent) }, IsolationDegraded, "10.0.0.5 port 443, which should stay reachable, does not answer",
		},
		"frames get out":         {func(b *bench) { b.m.SetRaw(platform.Answered) }, IsolationFailed, "no IP packets still get out"},
		"counters stand still":   {func(b *bench) { b.m.SetUncounted(true) }, IsolationFailed, "counted none"},
		"connections not seen":   {func(b *bench) { b.m.Fail("Connections.Live", errors.New("odd")) }, IsolationFailed, "connections are left: odd"},
		"standing not read":      {func(b *bench) { b.m.Fail("Firewall.Standing", errors.New("odd")) }, IsolationFailed, "cannot be read: odd"},
		"not tried from outside": {func(b *bench) { b.m.Fail("Prober.Inbound", errors.New("odd")) }, IsolationFailed, "from outside: odd"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, enforcing+keeping)
			c.spoil(b)
			r := b.order(Order{Verb: Isolate, Reason: "x"})
			s := b.a.Status().Isolation
			if s == nil || s.State != c.state || s.Proved != (c.state != IsolationFailed) || r.Done != s.Proved {
				t.Fatalf("%+v, %+v; want %s", r, s, c.state)
			}
			if said := strings.Join(s.Reasons, "; "); !strings.Contains(said, c.reason) || c.reason == "" && said != "" || !strings.Contains(s.Detail, c.reason) {
				t.Errorf("reasons %q, detail %q; want %q", said, s.Detail, c.reason)
			}
		})
	}
}

func TestADivergenceIsToldWithinHalfAMinute(t *testing.T) {
	b := newBench(t, enforcing)
	b.order(Order{Verb: Isolate, Reason: "x"})
	b.m.SetUncounted(true)
	b.tick(25*time.Second, 5*time.Second)
	if s := b.a.Status().Isolation; s.State != IsolationFailed || s.Proved {
		t.Errorf("%+v", s)
	}
	b.m.SetUncounted(false)
	b.tick(25*time.Second, 5*time.Second)
	if s := b.a.Status().Isolation; s.State != IsolationFull || len(s.Reasons) != 0 {
		t.Errorf("%+v", s)
	}
	b.m.Connect(connection("192.0.2.2:40000", "198.51.100.7:443"))
	b.tick(25*time.Second, 5*time.Second)
	if s := b.a.Status().Isolation; len(b.m.Connections()) != 0 || s.Ended != 1 || s.State != IsolationFull {
		t.Errorf("connected %v, %+v", b.m.Connections(), s)
	}
}

func TestAClockThatIsSetBackStopsNoProof(t *testing.T) {
	b := newBench(t, enforcing)
	b.order(Order{Verb: Isolate, Reason: "x"})
	b.m.SetClock(b.m.Now().AddDate(-3, 0, 0))
	b.m.SetUncounted(true)
	b.tick(25*time.Second, 5*time.Second)
	if s := b.a.Status().Isolation; s.State != IsolationFailed {
		t.Errorf("%+v", s)
	}
}

func TestAProofOfWhatWasChangedMeanwhileSaysNothing(t *testing.T) {
	b := newBench(t, enforcing+keeping)
	b.order(Order{Verb: Isolate, Reason: "x"})
	b.m.SetNow(b.m.Now().Add(20 * time.Second))
	b.a.turn(t.Context())
	proof := b.a.toIsolate[0]
	b.a.toIsolate = b.a.toIsolate[1:]
	b.policy(enforcing + "isolation: {keep: [\"10.0.0.6:443\"]}\n")
	b.a.loadPolicy()
	b.a.turn(t.Context())
	proof(t.Context())(t.Context())
	b.settle()
	if s := b.a.Status().Isolation; s.State != IsolationFull || strings.Contains(b.story(), "FAILED") || strings.Contains(b.story(), "somebody changed") {
		t.Errorf("%+v\n%s", s, b.story())
	}
}
