package agent

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

// These tests are about what must come to an end, and what must not grow.

func TestAFlagThatCannotBeTakenDownDoesNotSpin(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.SetOS(platform.OS{ID: "debian", Version: "9", Name: "Debian GNU/Linux 9 (stretch)", Codename: "stretch"})
	b.look()
	b.m.Fail("Flags.ClearFlag", errors.New("read-only file system"))
	b.m.SetOS(platform.OS{ID: "debian", Version: "13", Name: "Debian GNU/Linux 13 (trixie)", Codename: "trixie"})
	b.look()
	b.m.Fail("Flags.ClearFlag", nil)
	b.pass(time.Minute)
	if s := b.a.Status(); len(s.Flags) != 0 {
		t.Errorf("flags %+v", s.Flags)
	}
}

func TestAProgramThatComesAndGoesFillsNoJournal(t *testing.T) {
	b := newBench(t, strings.Replace(enforcing, "mode: enforce", "mode: audit", 1))
	for range 100 {
		pid := b.m.AddProcess("/opt/flaps", tcp("0.0.0.0:6379"))
		b.look()
		b.m.Kill(pid)
		b.pass(time.Second)
		b.look()
	}
	entries, err := b.a.History(0, 0)
	if err != nil || len(entries) > 40 {
		t.Errorf("%d lines, error %v\n%s", len(entries), err, b.story())
	}
	b.pass(2 * time.Minute)
	b.want(6379, threat.Identified, "") // it was seen to flap, and may come again
	b.pass(threat.FlapWindow)
	b.want(6379, threat.Resolved, "")
	if !strings.Contains(b.story(), "it is proved gone, after it opened and closed 99 times since 12:00") {
		t.Errorf("the history does not say how often\n%s", b.story())
	}
}

func TestALookThatCannotBeHadIsTriedEverLessOften(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddService("smbd.service", "/usr/sbin/smbd", tcp("0.0.0.0:445"))
	b.m.Fail("Prober.Inbound", platform.ErrNotPermitted)
	b.look()
	for range 24 * 60 {
		b.pass(time.Minute)
	}
	b.want(445, threat.Remediated, "")
	if n := strings.Count(b.story(), "verdict"); n > 40 {
		t.Errorf("%d verdicts in a day", n)
	}
	b.m.Fail("Prober.Inbound", nil)
	b.pass(time.Hour)
	b.want(445, threat.Resolved, "")
}

func TestHistoryThatCannotBeWrittenIsBounded(t *testing.T) {
	b := newBench(t, enforcing)
	for range 10_000 {
		b.a.note("agent", "", "", "x")
	}
	if n := len(b.a.batch.Entries); n > maxPending {
		t.Errorf("%d lines wait", n)
	}
	b.settle()
	if !strings.Contains(b.story(), "lines of the history are missing") {
		t.Error("the history does not say that lines are missing")
	}
}

func TestWhatIsUndoneIsForgotten(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddService("smbd.service", "/usr/sbin/smbd", tcp("0.0.0.0:445"))
	b.look()
	b.order(Order{Verb: Undo, Threat: b.only(445).ID})
	if len(b.a.intents) != 0 {
		t.Errorf("%+v", b.a.intents)
	}
}

func TestANewThreatThatIsolatesNothingEndsNoHoldOff(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/usr/bin/X", tcp("0.0.0.0:6000"))
	b.look()
	b.order(Order{Verb: Release})
	b.m.AddProcess("/usr/bin/editor", tcp("0.0.0.0:40000"))
	b.look()
	if b.m.InForce().Isolation != nil {
		t.Errorf("a harmless port isolated the computer again\n%s", b.story())
	}
}

func TestAShortIsolationDoesNotEndThatOfPolicy(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/usr/bin/X", tcp("0.0.0.0:6000"))
	b.look()
	b.order(Order{Verb: Isolate, Reason: "x", For: time.Minute})
	b.pass(2 * time.Minute)
	if b.m.InForce().Isolation == nil {
		t.Errorf("released\n%s", b.story())
	}
	b.pass(4 * time.Hour)
	if b.m.InForce().Isolation != nil {
		t.Errorf("isolated for longer than max\n%s", b.story())
	}
}

func TestAClockThatIsSetBackMakesNoIsolationLonger(t *testing.T) {
	b := newBench(t, enforcing)
	b.order(Order{Verb: Isolate, Reason: "x", For: time.Hour})
	b.m.SetClock(b.m.Now().AddDate(-1, 0, 0))
	b.crash()
	b.pass(time.Hour + time.Minute)
	if b.m.InForce().Isolation != nil {
		t.Error("still isolated")
	}
}

func TestANameStaysKnownOverAChangeOfPolicy(t *testing.T) {
	b := newBench(t, enforcing)
	hub := netip.MustParseAddr("192.0.2.7")
	b.a.state.Addresses = map[string][]netip.Addr{"hub.invalid": {hub}}
	b.policy(strings.Replace(enforcing, "plans:", "isolation: {keep: [\"hub.invalid:443\"]}\nplans:", 1))
	b.a.loadPolicy()
	b.order(Order{Verb: Isolate, Reason: "x"})
	iso := b.m.InForce().Isolation
	if iso == nil || len(iso.Keep) != 1 || iso.Keep[0].Network.Addr() != hub {
		t.Errorf("in force %+v", iso)
	}
	b.crash()
	if iso := b.m.InForce().Isolation; iso == nil || len(iso.Keep) != 1 {
		t.Errorf("after a restart %+v", iso)
	}
}
