package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
)

// lines counts the lines of the history that have a text in them.
func (b *bench) lines(text string) int {
	b.Helper()
	entries, err := b.a.History(0, 0)
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if strings.Contains(e.Text, text) {
			n++
		}
	}
	return n
}

func TestAServiceThatStartsAgainIsTheSameThreat(t *testing.T) {
	b := newBench(t, enforcing)
	first := b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.look()
	id := b.only(5900).ID
	blocked := func(when string) {
		t.Helper()
		if len(b.m.InForce().Blocked) != 1 {
			t.Errorf("%s: not blocked", when)
		}
	}
	b.m.Kill(first) // an upgrade
	b.listening("tcp 5900 ceased to listen")
	b.settle()
	blocked("while it starts again")
	b.pass(3 * time.Second)
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.listening("tcp 5900 began to listen")
	b.settle()
	blocked("after it")
	x := b.want(5900, threat.Waiting, threat.ForApproval)
	if x.ID != id || x.Recurrences != 0 || x.Flaps != 1 {
		t.Errorf("got %s, came back %d times, flapped %d times; want %s, never and once", x.ID, x.Recurrences, x.Flaps, id)
	}
	for _, text := range []string{"resolved", "came back", "lifted", "comes and goes"} {
		if n := b.lines(text); n != 0 {
			t.Errorf("%d lines with %q\n%s", n, text, b.story())
		}
	}
}

func TestWhatFlapsStaysBlockedAndIsToldOnce(t *testing.T) {
	b := newBench(t, enforcing)
	for range 37 {
		pid := b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
		b.listening("tcp 5900 began to listen")
		b.settle()
		if len(b.m.InForce().Blocked) != 1 {
			t.Fatalf("open\n%s", b.story())
		}
		b.m.Kill(pid)
		b.listening("tcp 5900 ceased to listen")
		b.settle()
		b.pass(time.Minute / 2)
	}
	x := b.only(5900)
	if x.Flaps != 36 {
		t.Errorf("counted %d; want 36\n%s", x.Flaps, b.story())
	}
	if n := b.lines("it comes and goes"); n != 2 {
		t.Errorf("told %d times; want at 3 and at 30\n%s", n, b.story())
	}
	if entries, _ := b.a.History(0, 0); len(entries) > 35 {
		t.Errorf("%d lines\n%s", len(entries), b.story())
	}
	b.pass(threat.FlapWindow + time.Minute)
	b.want(5900, threat.Resolved, "")
}

// TestAPortThatIsOpenedAgainAndAgainIsNotClosedForEver has somebody start a
// service again each time that the agent has stopped it.
func TestAPortThatIsOpenedAgainAndAgainIsNotClosedForEver(t *testing.T) {
	b := newBench(t, strings.Replace(enforcing, "again: {on: shut, times: 2,", "again: {on: cut, times: 2,", 1))
	for range 20 {
		b.m.AddProcess("/opt/share", tcp("0.0.0.0:445"))
		b.listening("tcp 445 began to listen")
		b.pass(30 * time.Second)
	}
	ends := 0
	for _, call := range b.m.Calls() {
		if strings.HasPrefix(call, "Processes.End") {
			ends++
		}
	}
	if ends != threat.Restless {
		t.Errorf("ended %d times\n%s", ends, b.story())
	}
	x := b.want(445, threat.Waiting, threat.ForPerson)
	if !slices.Equal(x.InForce, []string{"block-port"}) {
		t.Errorf("in force %v", x.InForce)
	}
	if !strings.Contains(x.Next, "something starts it again") {
		t.Errorf("next: %s", x.Next)
	}
}

func TestComingBackIsAnsweredMoreStrongly(t *testing.T) {
	b := newBench(t, strings.Replace(enforcing, "isolate-host], approve: all", "isolate-host]", 1))
	for i := range 3 {
		if isolated := b.m.InForce().Isolation != nil; isolated {
			t.Fatalf("isolated after coming back %d times", i-1)
		}
		b.m.AddProcess("/opt/share", tcp("0.0.0.0:445"))
		b.look()
		b.pass(time.Minute)
	}
	if b.m.InForce().Isolation == nil {
		t.Errorf("came back twice, and is answered as ever\n%s", b.story())
	}
}
