package agent

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

// These tests are about how long an isolation lasts.

func TestTheLeaseIsRenewedWhileTheAgentIsWell(t *testing.T) {
	b := newBench(t, enforcing)
	b.order(Order{Verb: Isolate, Reason: "x"})
	for range 120 {
		b.pass(10 * time.Second)
		if left := b.m.LeaseLeft(); left < 15*time.Minute-renewEvery {
			t.Fatalf("only %v is left of the lease", left)
		}
	}
}

func TestTheLoopWakesToRenew(t *testing.T) {
	for lease, most := range map[string]time.Duration{"15m": renewEvery, "30s": 10 * time.Second} {
		b := newBench(t, enforcing+"isolation: {lease: "+lease+"}\n")
		b.order(Order{Verb: Isolate, Reason: "x"})
		if wait := b.a.untilNext(); wait > most {
			t.Errorf("lease %s: the loop sleeps for %v", lease, wait)
		}
		b.m.SetClock(b.m.Now().AddDate(-10, 0, 0))
		b.settle()
		if wait := b.a.untilNext(); wait > most {
			t.Errorf("lease %s, clock set back: the loop sleeps for %v", lease, wait)
		}
	}
}

func TestTheLeaseOfAnAgentThatIsGoneEnds(t *testing.T) {
	b := newBench(t, enforcing)
	b.order(Order{Verb: Isolate, Reason: "x"})
	b.m.SetNow(b.m.Now().Add(15 * time.Minute))
	if got, err := b.m.Host().Firewall.InForce(t.Context()); err != nil || got.Isolation != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestALeaseThatEndedIsToldAndTheComputerIsolatedAgain(t *testing.T) {
	b := newBench(t, enforcing)
	b.order(Order{Verb: Isolate, Reason: "x"})
	b.m.SetNow(b.m.Now().Add(16 * time.Minute)) // the agent hangs
	b.m.Connect(connection("192.0.2.2:40000", "198.51.100.7:443"))
	b.settle()
	if b.m.LeaseLeft() != 15*time.Minute || len(b.m.Connections()) != 0 || strings.Count(b.story(), leaseEnded) != 1 {
		t.Errorf("left %v, connected %v\n%s", b.m.LeaseLeft(), b.m.Connections(), b.story())
	}
	if s := b.a.Status(); s.Isolation == nil || s.Isolation.State != IsolationFull || len(s.Troubles) != 0 {
		t.Errorf("%+v, troubles %q", s.Isolation, s.Troubles)
	}
	b.m.SetNow(b.m.Now().Add(16 * time.Minute))
	b.crash()
	if b.m.LeaseLeft() != 15*time.Minute || strings.Count(b.story(), leaseEnded) != 2 {
		t.Errorf("after a restart: left %v\n%s", b.m.LeaseLeft(), b.story())
	}
}

func TestTheLeaseIsNeverLongerThanTheIsolation(t *testing.T) {
	b := newBench(t, enforcing)
	b.order(Order{Verb: Isolate, Reason: "x", For: 20 * time.Minute})
	if left := b.m.LeaseLeft(); left != 15*time.Minute {
		t.Errorf("left %v", left)
	}
	b.tick(10*time.Minute, 10*time.Second)
	if left := b.m.LeaseLeft(); left > 10*time.Minute || left < 10*time.Minute-renewEvery {
		t.Errorf("after 10 minutes of 20: %v", left)
	}
}

func TestALongerLeaseCountsAtOnce(t *testing.T) {
	b := newBench(t, enforcing)
	b.order(Order{Verb: Isolate, Reason: "x"})
	b.pass(2 * time.Second)
	b.policy(enforcing + "isolation: {lease: 30m}\n")
	b.a.loadPolicy()
	b.settle()
	if left := b.m.LeaseLeft(); left != 30*time.Minute {
		t.Errorf("left %v", left)
	}
}

func TestAClosedLeaseLastsUntilTheEnd(t *testing.T) {
	b := newBench(t, enforcing+"isolation: {lease: 15m, max: 4h, onLeaseEnd: closed}\n")
	b.order(Order{Verb: Isolate, Reason: "x", For: time.Hour})
	if left := b.m.LeaseLeft(); left != time.Hour || !b.a.Status().Isolation.Closed {
		t.Errorf("left %v", left)
	}
}

func TestAPlanRenewsForTheLongestTimeOnly(t *testing.T) {
	b := newBench(t, enforcing+"isolation: {lease: 15m, max: 1h}\n")
	b.m.AddProcess("/usr/bin/X", tcp("0.0.0.0:6000"))
	b.look()
	if left := b.m.LeaseLeft(); left != 15*time.Minute {
		t.Errorf("left %v", left)
	}
	b.tick(50*time.Minute, 10*time.Second)
	if left := b.m.LeaseLeft(); left > 10*time.Minute || left == 0 {
		t.Errorf("10 minutes before the end: %v", left)
	}
	b.tick(10*time.Minute, 10*time.Second)
	if b.isolated() || b.a.state.IsolationHoldOff == nil {
		t.Errorf("in force %+v, hold-off %+v", b.m.InForce(), b.a.state.IsolationHoldOff)
	}
}

func TestARenewalThatIsRefused(t *testing.T) {
	b := newBench(t, enforcing)
	b.order(Order{Verb: Isolate, Reason: "x"})
	before := len(b.m.Calls())
	b.m.Fail("Firewall.Renew", errors.New("no such set"))
	b.pass(renewEvery)
	if !slices.Contains(b.m.Calls()[before:], "Firewall.Apply isolated") {
		t.Error("it was not put in force anew")
	}
	if s := b.a.Status(); len(s.Troubles) == 0 || !strings.Contains(s.Troubles[0], "lease") {
		t.Errorf("troubles %q", s.Troubles)
	}
	b.m.Fail("Firewall.Renew", nil)
	b.pass(2 * time.Second)
	if s := b.a.Status(); len(s.Troubles) != 0 || b.m.LeaseLeft() != 15*time.Minute {
		t.Errorf("troubles %q, left %v", s.Troubles, b.m.LeaseLeft())
	}
}

func TestWhatCannotBeReleasedIsNotRenewed(t *testing.T) {
	b := newBench(t, enforcing)
	b.order(Order{Verb: Isolate, Reason: "x"})
	b.m.Fail("Firewall.Apply", platform.ErrUnsupported)
	if r := b.order(Order{Verb: Release}); r.Done {
		t.Fatalf("%+v", r)
	}
	b.tick(14*time.Minute, 10*time.Second)
	if left := b.m.LeaseLeft(); left > time.Minute {
		t.Errorf("the lease was renewed: %v", left)
	}
}

func TestWhatPolicyWantsNoMoreIsNotRenewed(t *testing.T) {
	b := newBench(t, enforcing)
	pid := b.m.AddProcess("/usr/bin/X", tcp("0.0.0.0:6000"))
	b.look()
	b.m.Fail("Firewall.Apply", platform.ErrUnsupported)
	b.m.Kill(pid)
	b.look()
	b.tick(14*time.Minute, 10*time.Second)
	if left := b.m.LeaseLeft(); left > 2*time.Minute || !b.isolated() {
		t.Errorf("isolated %v for %v", b.isolated(), left)
	}
}

func TestAClockThatJumpsChangesNoIsolation(t *testing.T) {
	for name, years := range map[string]int{"forward": 20, "back": -20} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, enforcing)
			b.order(Order{Verb: Isolate, Reason: "x", For: time.Hour})
			b.tick(10*time.Minute, 10*time.Second)
			b.m.SetClock(b.m.Now().AddDate(years, 0, 0))
			b.tick(40*time.Minute, 10*time.Second)
			s := b.a.Status().Isolation
			if s == nil || s.Left != 10*time.Minute || s.Until.Sub(b.m.Now().Add(10*time.Minute)).Abs() > 2*time.Second {
				t.Fatalf("%+v at %v\n%s", s, b.m.Now(), b.story())
			}
			b.crash()
			b.tick(9*time.Minute, 10*time.Second)
			if !b.isolated() {
				t.Error("it ended before its time")
			}
			b.tick(time.Minute, 10*time.Second)
			if b.isolated() {
				t.Error("it lasts longer than it was to")
			}
		})
	}
}

func TestAnIsolationGoesOnAfterARebootForWhatIsLeft(t *testing.T) {
	for name, c := range map[string]struct {
		off  time.Duration
		set  time.Duration // the clock is wrong by that much after the boot
		left time.Duration
	}{
		"at once":                  {0, 0, 40 * time.Minute},
		"off for a while":          {15 * time.Minute, 0, 25 * time.Minute},
		"off for longer":           {41 * time.Minute, 0, 0},
		"the clock lost its power": {15 * time.Minute, -40 * 365 * 24 * time.Hour, 40 * time.Minute},
		"the clock is years ahead": {15 * time.Minute, 40 * 365 * 24 * time.Hour, 40 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, enforcing)
			b.order(Order{Verb: Isolate, Reason: "x", For: time.Hour})
			b.tick(20*time.Minute, 10*time.Second)
			b.m.SetNow(b.m.Now().Add(c.off))
			b.m.Reboot()
			b.m.SetClock(b.m.Now().Add(c.set))
			at, lease := AtBoot(b.a.state, b.m.Boot(), b.m.Now())
			if (at.Isolation != nil) != (c.left > 0) || lease != min(c.left, 15*time.Minute) {
				t.Errorf("at boot %+v for %v", at.Isolation, lease)
			}
			b.crash()
			if s := b.a.Status().Isolation; c.left == 0 && s != nil || c.left > 0 && (s == nil || s.Left != c.left) {
				t.Errorf("%+v; want %v left", s, c.left)
			}
		})
	}
}

func TestWhatIsSpentIsWrittenDownEachMinute(t *testing.T) {
	b := newBench(t, enforcing)
	b.order(Order{Verb: Isolate, Reason: "x", For: time.Hour})
	b.tick(30*time.Minute, 10*time.Second)
	kept, err := b.a.cfg.Journal.Contents()
	if err != nil || kept.State.Isolation.Spent < 29*time.Minute || kept.State.Isolated.Spent < 29*time.Minute {
		t.Errorf("%+v, %+v, %v", kept.State.Isolation, kept.State.Isolated, err)
	}
}

func TestAHostThatDoesNotKnowItsBoot(t *testing.T) {
	b := newBench(t, enforcing)
	b.a.bootless = true
	b.order(Order{Verb: Isolate, Reason: "x", For: time.Hour})
	b.tick(59*time.Minute, 10*time.Second)
	if !b.isolated() {
		t.Errorf("it ended before its time\n%s", b.story())
	}
	b.tick(2*time.Minute, 10*time.Second)
	if b.isolated() {
		t.Error("it lasts longer than it was to")
	}
}

func TestAtBoot(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	iso := &platform.Isolation{Lease: 15 * time.Minute, Max: 4 * time.Hour}
	closed := &platform.Isolation{Lease: 15 * time.Minute, Max: 4 * time.Hour, Closed: true}
	block := []platform.PortRule{{Protocol: platform.TCP, First: 445, Last: 445}}
	counted := journal.Counted{Boot: "one", Uptime: time.Hour, At: now.Add(-5 * time.Minute)}
	asked := &journal.Isolation{For: time.Hour, Spent: 50 * time.Minute}
	heldOff := &threat.HoldOff{Reason: "released"}
	plan := journal.IsolationProof{Plan: true, Spent: time.Hour}
	for name, c := range map[string]struct {
		state    journal.State
		isolated bool
		lease    time.Duration
	}{
		"nothing":               {journal.State{Restrictions: platform.Restrictions{Blocked: block}, Counted: counted}, false, 0},
		"a plan's":              {journal.State{Restrictions: platform.Restrictions{Isolation: iso, Blocked: block}, Isolated: plan, Counted: counted}, true, 15 * time.Minute},
		"a plan's, closed":      {journal.State{Restrictions: platform.Restrictions{Isolation: closed, Blocked: block}, Isolated: plan, Counted: counted}, true, 2*time.Hour + 55*time.Minute},
		"a plan's, held off":    {journal.State{Restrictions: platform.Restrictions{Isolation: iso, Blocked: block}, Isolated: plan, IsolationHoldOff: heldOff, Counted: counted}, false, 0},
		"a person's":            {journal.State{Restrictions: platform.Restrictions{Isolation: iso, Blocked: block}, Isolation: asked, Counted: counted}, true, 5 * time.Minute},
		"a person's, not yet":   {journal.State{Restrictions: platform.Restrictions{Blocked: block}, Isolation: asked, Counted: counted}, false, 0},
		"a person's, is over":   {journal.State{Restrictions: platform.Restrictions{Isolation: iso, Blocked: block}, Isolation: &journal.Isolation{For: time.Hour, Spent: 56 * time.Minute}, Counted: counted}, false, 0},
		"a person's and a plan": {journal.State{Restrictions: platform.Restrictions{Isolation: closed, Blocked: block}, Isolation: asked, Isolated: plan, Counted: counted}, true, 2*time.Hour + 55*time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			got, lease := AtBoot(c.state, platform.Boot{ID: "two", Uptime: 4 * time.Second}, now)
			if (got.Isolation != nil) != c.isolated || lease != c.lease || len(got.Blocked) != 1 {
				t.Errorf("%+v for %v; want isolated %v for %v", got, lease, c.isolated, c.lease)
			}
		})
	}
}
