package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
)

func TestAJournalThatIsTakenAwayIsWrittenAnew(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddService("smbd.service", "/usr/sbin/smbd", tcp("0.0.0.0:445"))
	b.look()
	b.order(Order{Verb: PauseIt, For: 5 * time.Hour})
	if err := os.Remove(filepath.Join(b.dir, "journal.db")); err != nil {
		t.Fatal(err)
	}
	b.m.AddService("redis.service", "/usr/bin/redis", tcp("0.0.0.0:6379"))
	b.look()
	b.pass(time.Minute)
	b.pass(time.Minute)
	b.want(6379, threat.Resolved, "")
	if s := b.a.Status(); len(s.Troubles) != 0 {
		t.Errorf("troubles %q", s.Troubles)
	}
	b.crash()
	if b.a.Status().Paused == nil || !strings.Contains(b.story(), "taken away") {
		t.Errorf("paused %v\n%s", b.a.Status().Paused, b.story())
	}
	b.order(Order{Verb: Undo, Threat: b.want(445, threat.Resolved, "").ID})
	if active, file := b.m.UnitState("smbd.service"); active != "active" || file != "enabled" {
		t.Errorf("smbd.service is %s, %s; its inverse was lost with the journal", active, file)
	}
}

func TestNobodyWaitsForWhatPolicyDoesNotAsk(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.look()
	b.want(5900, threat.Waiting, threat.ForApproval)
	b.policy(strings.Replace(enforcing, "mode: enforce", "mode: audit", 1))
	b.a.loadPolicy()
	b.settle()
	b.want(5900, threat.Identified, "")
}
