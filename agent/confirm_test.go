package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
)

// These tests are about an isolation that would strand the computer.

func TestAnIsolationThatCutsOffTheHubIsTakenBack(t *testing.T) {
	b := newBench(t, enforcing+keeping)
	b.m.SetPeer(hub, platform.Answered, platform.Silent)
	answer := make(chan result, 1)
	b.a.order(t.Context(), request{Order: Order{Verb: Isolate, Reason: "x", By: "jd"}, reply: answer})
	b.settle()
	if wait := b.a.untilNext(); wait > confirmGap {
		t.Errorf("it is tried again after %v", wait)
	}
	b.tick(18*time.Second, 3*time.Second)
	if !b.isolated() || len(answer) != 0 {
		t.Fatalf("isolated %v after 18 s, answers %d", b.isolated(), len(answer))
	}
	b.tick(12*time.Second, 3*time.Second)
	const why = "10.0.0.5 port 443 answered before the cut and not after it"
	if r := <-answer; r.Done || !strings.Contains(r.Text, "NOT isolated") || !strings.Contains(r.Text, why) {
		t.Errorf("%+v", r)
	}
	if b.isolated() || b.m.Banner() != "" || !strings.Contains(b.story(), "isolation is taken back: "+why) {
		t.Errorf("isolated %v, banner %q\n%s", b.isolated(), b.m.Banner(), b.story())
	}
	if h := b.a.state.IsolationHoldOff; h == nil || h.Reason != why {
		t.Errorf("hold-off %+v", h)
	}
}

func TestAPlanThatCutsOffTheHubHoldsOff(t *testing.T) {
	b := newBench(t, enforcing+keeping)
	b.m.SetPeer(hub, platform.Answered, platform.Refused) // a firewall's own answer is none
	b.m.AddProcess("/usr/bin/X", tcp("0.0.0.0:6000"))
	b.look()
	b.tick(30*time.Second, 3*time.Second)
	if b.isolated() {
		t.Fatalf("not taken back\n%s", b.story())
	}
	b.look()
	b.tick(time.Hour, time.Minute)
	if b.isolated() {
		t.Error("the open threat isolated again")
	}
}

func TestOneSlowProbeTakesNothingBack(t *testing.T) {
	b := newBench(t, enforcing+keeping)
	b.m.SetPeer(hub, platform.Answered, platform.Silent)
	answer := make(chan result, 1)
	b.a.order(t.Context(), request{Order: Order{Verb: Isolate, Reason: "x", By: "jd"}, reply: answer})
	b.settle()
	b.tick(9*time.Second, 3*time.Second)
	b.m.SetPeer(hub, platform.Answered, platform.Answered)
	b.tick(time.Minute, 3*time.Second)
	if r := <-answer; !r.Done || !b.isolated() {
		t.Errorf("%+v\n%s", r, b.story())
	}
}

func TestAPeerThatIsLostLaterReleasesNothing(t *testing.T) {
	b := newBench(t, enforcing+keeping)
	if r := b.order(Order{Verb: Isolate, Reason: "x"}); !r.Done {
		t.Fatalf("%+v", r)
	}
	b.m.SetPeer(hub, platform.Answered, platform.Silent)
	b.tick(10*time.Minute, 3*time.Second)
	if s := b.a.Status().Isolation; s == nil || s.State != IsolationDegraded {
		t.Errorf("%+v\n%s", s, b.story())
	}
}

func TestAComputerThatSleptReleasesNothing(t *testing.T) {
	b := newBench(t, enforcing+keeping)
	b.m.SetPeer(hub, platform.Answered, platform.Silent)
	answer := make(chan result, 1)
	b.a.order(t.Context(), request{Order: Order{Verb: Isolate, Reason: "x", By: "jd"}, reply: answer})
	b.settle()
	b.pass(3 * time.Second)
	b.pass(10 * time.Minute)
	b.tick(time.Minute, 3*time.Second)
	if !b.isolated() || len(answer) != 1 {
		t.Errorf("isolated %v, %d answers\n%s", b.isolated(), len(answer), b.story())
	}
}

func TestAnAnswerOfLongAgoConfirmsNothing(t *testing.T) {
	b := newBench(t, enforcing+keeping)
	b.m.Fail("Firewall.Apply", platform.ErrUnsupported)
	b.order(Order{Verb: Isolate, Reason: "x"})
	b.m.SetPeer(hub, platform.Answered, platform.Silent)
	b.tick(2*time.Minute, 10*time.Second)
	b.m.Fail("Firewall.Apply", nil)
	b.tick(2*time.Minute, 3*time.Second)
	if !b.isolated() {
		t.Errorf("released\n%s", b.story())
	}
}
