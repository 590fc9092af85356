package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
)

// TestHeldStillWhileEvidenceIsKept ends a program that nobody started but a person.
func TestHeldStillWhileEvidenceIsKept(t *testing.T) {
	b := newBench(t, enforcing)
	pid := b.m.AddProcess("/opt/evil", tcp("0.0.0.0:6379"))
	b.look()
	var order []string
	for _, call := range b.m.Calls() {
		for _, name := range []string{"Freeze", "Thaw", "End"} {
			if call == fmt.Sprintf("Processes.%s %d", name, pid) {
				order = append(order, name)
			}
		}
	}
	if want := []string{"Freeze", "Thaw", "End"}; !slices.Equal(order, want) {
		t.Errorf("got %v; want %v", order, want)
	}
	if th := b.only(6379); len(th.Evidence) != 1 {
		t.Errorf("evidence %v; want a bundle", th.Evidence)
	}
}

// TestSharedOwner has a service with a denied port and one that a rule allows which
// names no number.
func TestSharedOwner(t *testing.T) {
	const shared = `version: firebreak/v1
name: test
revision: 1
mode: enforce
ports:
  allow:
    - {unit: web.service, protocol: tcp, reach: lan}
  deny:
    - {port: 6379, plan: shut}
plans:
  shut: {mitigate: [block-port], remediate: [close-port]SHARED}
`
	for _, c := range []struct {
		name, word string
		other      string // the address of the other port
		stage      threat.Stage
		wait       threat.Wait
	}{
		{"it serves an allowed port", "", "192.168.7.1:8080", threat.Waiting, threat.ForPerson},
		{"the plan stops it anyway", ", shared: stop", "192.168.7.1:8080", threat.Resolved, ""},
		{"the rule does not allow that much", "", "0.0.0.0:8080", threat.Resolved, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, strings.Replace(shared, "SHARED", c.word, 1))
			b.m.AddService("web.service", "/usr/sbin/web", tcp("0.0.0.0:6379"), tcp(c.other))
			b.look()
			x := b.want(6379, c.stage, c.wait)
			if blocked := slices.Contains(x.InForce, "block-port"); blocked != (c.stage == threat.Waiting) {
				t.Errorf("in force %v", x.InForce)
			}
		})
	}
}

// TestAProgramThatDoesNotEnd has a program that outlives SIGKILL, as one does that
// the kernel is busy for: what lessens it stays, and nobody is told that it is closed.
func TestAProgramThatDoesNotEnd(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/opt/evil", tcp("0.0.0.0:6379"))
	b.m.Fail("Processes.End", errors.New("end process 812: it was killed and still does not end: the kernel is busy for it"))
	b.look()
	x := b.only(6379)
	if !x.Open() || !slices.Contains(x.InForce, "block-port") {
		t.Errorf("stage %s, in force %v; want it open, and blocked", x.Stage, x.InForce)
	}
	if last := x.Actions[len(x.Actions)-1]; last.Result != "failed" || !strings.Contains(last.Detail, "the kernel is busy for it") {
		t.Errorf("the last action %s: %s", last.Result, last.Detail)
	}
	b.m.Fail("Processes.End", nil)
	b.pass(time.Hour)
	b.want(6379, threat.Resolved, "")
}

// TestUndoneAndNotYetNamed has a look that does not know the unit of a port which a
// person had just put back.
func TestUndoneAndNotYetNamed(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddSocketService("evil", "/usr/sbin/evil", tcp("0.0.0.0:6379"))
	b.look()
	id := b.want(6379, threat.Resolved, "").ID
	b.m.Nameless("evil.socket", true)
	if r := b.order(Order{Verb: Undo, Threat: id}); !r.Done {
		t.Fatalf("undo: %+v", r)
	}
	b.look()
	for _, x := range b.a.Threats(true) {
		if x.Subject.Port != nil && x.ID != id && (x.Stage != threat.Excepted || len(x.Actions) > 0) {
			t.Errorf("%s is %s, with %+v; want it left open as %s is", x.ID, x.Stage, x.Actions, id)
		}
	}
	b.m.Nameless("evil.socket", false)
	b.look()
	b.pass(time.Minute)
	if active, file := b.m.UnitState("evil.socket"); active != "active" || file != "enabled" {
		t.Errorf("evil.socket is %s, %s; want it as undo left it\n%s", active, file, b.story())
	}
}
