package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
)

// These tests are about who else changes the network.

func (b *bench) event(part platform.Part, why string) {
	b.Helper()
	b.a.event(platform.Event{Part: part, Why: why})
	b.settle()
}

func TestWhatIsTakenAwayIsPutBackInTheSameTurn(t *testing.T) {
	b := newBench(t, enforcing)
	b.order(Order{Verb: Isolate, Reason: "x"})
	want := b.m.InForce()
	b.pass(2 * time.Second)
	b.m.SetInForce(platform.Restrictions{})
	b.m.Connect(connection("192.0.2.2:40000", "198.51.100.7:443"))
	b.a.event(platform.Event{Part: platform.PartRestrictions, Why: "table firebreak was deleted by process 4711"})
	b.a.turn(t.Context())
	if !b.m.InForce().Equal(want) {
		t.Fatalf("in force %+v", b.m.InForce())
	}
	b.settle()
	if len(b.m.Connections()) != 0 || b.m.LeaseLeft() != 15*time.Minute {
		t.Errorf("connected %v, lease %v", b.m.Connections(), b.m.LeaseLeft())
	}
	if !strings.Contains(b.story(), "they are put back (table firebreak was deleted by process 4711)") {
		t.Error(b.story())
	}
	if n := strings.Count(b.story(), "cut off"); n != 1 {
		t.Errorf("the cut is told %d times\n%s", n, b.story())
	}
}

func TestAnEventWithNothingBehindItIsNotTold(t *testing.T) {
	b := newBench(t, enforcing)
	b.order(Order{Verb: Isolate, Reason: "x"})
	b.pass(2 * time.Second)
	story := b.story()
	b.event(platform.PartRestrictions, "table firebreak was changed")
	if b.story() != story {
		t.Errorf("told:%s", strings.TrimPrefix(b.story(), story))
	}
}

func TestAFightFillsNoHistoryAndIsAlwaysRepaired(t *testing.T) {
	b := newBench(t, enforcing)
	b.order(Order{Verb: Isolate, Reason: "x"})
	b.pass(2 * time.Second)
	before := len(b.m.Calls())
	for range 10 * 60 * 10 {
		b.m.SetNow(b.m.Now().Add(100 * time.Millisecond))
		b.m.SetInForce(platform.Restrictions{})
		b.event(platform.PartRestrictions, "nft flush ruleset")
		if !b.isolated() {
			t.Fatalf("open\n%s", b.story())
		}
	}
	if n := strings.Count(b.story(), "changed"); n > 8 || n < 2 {
		t.Errorf("it is told %d times\n%s", n, b.story())
	}
	cuts := 0
	for _, call := range b.m.Calls()[before:] {
		if strings.HasPrefix(call, "Connections.Cut") {
			cuts++
		}
	}
	if cuts > 700 {
		t.Errorf("%d cuts in ten minutes", cuts)
	}
	b.tick(3*time.Hour, time.Minute)
	story := b.story()
	b.pass(2 * time.Second)
	b.m.SetInForce(platform.Restrictions{})
	b.event(platform.PartRestrictions, "by hand")
	if !strings.Contains(strings.TrimPrefix(b.story(), story), "by hand") {
		t.Errorf("what happens long after is not told at once:\n%s", b.story())
	}
}

func TestManyEventsAreOneCheck(t *testing.T) {
	b := newBench(t, enforcing)
	b.order(Order{Verb: Isolate, Reason: "x"})
	b.pass(2 * time.Second)
	b.event(platform.PartRestrictions, "one")
	b.m.SetInForce(platform.Restrictions{})
	b.event(platform.PartRestrictions, "two")
	if b.isolated() {
		t.Fatal("checked twice at the same instant")
	}
	if wait := b.a.untilNext(); wait > 50*time.Millisecond {
		t.Errorf("the loop sleeps for %v", wait)
	}
	b.pass(50 * time.Millisecond)
	if !b.isolated() {
		t.Error("not put back")
	}
}

func TestAnIsolationThatIsTakenAwayAgainAndAgainLastsNoLonger(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddSession(platform.Session{User: "lena", Terminal: "pts/0"})
	b.order(Order{Verb: Isolate, Reason: "x", For: time.Hour})
	since := b.a.state.Isolated.Since
	b.tick(10*time.Minute, 10*time.Second)
	b.m.SetInForce(platform.Restrictions{})
	b.m.Fail("Firewall.Apply", platform.ErrNotPermitted)
	b.event(platform.PartRestrictions, "nft flush ruleset")
	if s := b.a.Status(); s.Isolated || !strings.Contains(b.story(), "NOT in force") {
		t.Fatalf("said to be isolated: %+v\n%s", s.Isolation, b.story())
	}
	b.m.Fail("Firewall.Apply", nil)
	b.pass(200 * time.Millisecond)
	p := b.a.state.Isolated
	if !b.isolated() || !p.Since.Equal(since) || p.Spent < 9*time.Minute || len(b.m.Notices()) != 1 {
		t.Errorf("isolated %v, %+v, told %d times", b.isolated(), p, len(b.m.Notices()))
	}
}

func TestAChangedNetworkIsJudgedAndProvedAgain(t *testing.T) {
	b := newBench(t, enforcing+keeping)
	b.order(Order{Verb: Isolate, Reason: "x"})
	b.pass(3 * time.Second)
	before := len(b.m.Calls())
	b.m.SetNetwork(homeOnNFS)
	proofs := b.a.proofs
	b.event(platform.PartNetwork, "wg0 is up")
	if calls := b.m.Calls()[before:]; len(calls) == 0 || calls[0] != "Firewall.Apply isolated" {
		t.Errorf("a new link has no rules: %q", calls)
	}
	if s := b.a.Status().Isolation; b.a.proofs == proofs || s.State != IsolationDegraded || !strings.Contains(strings.Join(s.Reasons, " "), "/home") {
		t.Errorf("%d proofs, %+v", b.a.proofs-proofs, s)
	}
	if strings.Contains(b.story(), "somebody changed") {
		t.Error(b.story())
	}
	b.m.SetNetwork(platform.Network{})
	b.pass(3 * time.Second)
	b.event(platform.PartNetwork, "wg0 is down")
	if s := b.a.Status().Isolation; s.State != IsolationFull {
		t.Errorf("%+v", s)
	}
}

func TestAChangedNetworkCostsNothingWhenNotIsolated(t *testing.T) {
	b := newBench(t, enforcing)
	before := len(b.m.Calls())
	b.event(platform.PartNetwork, "veth0 is up")
	if calls := b.m.Calls()[before:]; len(calls) != 0 || b.a.looking {
		t.Errorf("%q", calls)
	}
}

func TestTheRunningAgentPutsBackAtOnce(t *testing.T) {
	b := newBench(t, enforcing)
	defer b.running()()
	if _, err := b.a.Do(t.Context(), Order{Verb: Isolate, Reason: "x", By: "jd"}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	b.m.SetInForce(platform.Restrictions{})
	for !b.isolated() && time.Since(began) < 5*time.Second {
		<-time.After(time.Millisecond)
	}
	if took := time.Since(began); took > 100*time.Millisecond {
		t.Errorf("put back after %v", took)
	}
}
