package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

func TestFindContainFixProve(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddService("smbd.service", "/usr/sbin/smbd", tcp("0.0.0.0:445"), tcp("[::]:445"))
	b.look()
	x := b.want(445, threat.Resolved, "")
	if active, file := b.m.UnitState("smbd.service"); active != "inactive" || file != "masked" {
		t.Errorf("smbd.service is %s, %s; want inactive, masked", active, file)
	}
	if x.Verdict != detect.Cleared || len(x.Evidence) != 1 || len(x.InForce) != 0 {
		t.Errorf("verdict %s, evidence %v, in force %v", x.Verdict, x.Evidence, x.InForce)
	}
	if !b.m.InForce().Zero() {
		t.Errorf("the block outlived its threat: %+v", b.m.InForce())
	}
	how := map[string]bool{}
	for _, p := range x.Proofs {
		how[p.How] = true
	}
	if !how["snapshot"] || !how["probe"] {
		t.Errorf("proofs %+v; want a snapshot and a probe", x.Proofs)
	}
	calls := strings.Join(b.m.Calls(), "\n")
	if block, stop := strings.Index(calls, "Firewall.Apply"), strings.Index(calls, "Services.Close"); block < 0 || stop < block {
		t.Errorf("it must be blocked before it is closed:\n%s", calls)
	}
}

func TestLooksAgainAfterAMinuteAnHourAndAReboot(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddService("smbd.service", "/usr/sbin/smbd", tcp("0.0.0.0:445"))
	b.look()
	b.pass(time.Minute)
	b.pass(time.Hour)
	b.m.Reboot()
	b.crash()
	b.pass(2 * time.Minute)
	var looks []string
	for _, p := range b.want(445, threat.Resolved, "").Proofs {
		if p.How == "snapshot" {
			looks = append(looks, p.Look)
		}
	}
	if want := []string{"at once", "after 1m", "after 1h", "after reboot"}; !slices.Equal(looks, want) {
		t.Errorf("looks %q; want %q", looks, want)
	}
}

func TestUndoPutsBackAndIsNotUndone(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddService("smbd.service", "/usr/sbin/smbd", tcp("0.0.0.0:445"))
	b.look()
	id := b.only(445).ID
	if r := b.order(Order{Verb: Undo, Threat: id}); !r.Done {
		t.Fatalf("undo: %+v", r)
	}
	if active, file := b.m.UnitState("smbd.service"); active != "active" || file != "enabled" {
		t.Errorf("smbd.service is %s, %s; want active, enabled", active, file)
	}
	b.look()
	b.want(445, threat.Excepted, "")
	b.pass(4*time.Hour + time.Minute)
	b.want(445, threat.Resolved, "")
	if _, file := b.m.UnitState("smbd.service"); file != "masked" {
		t.Errorf("after the exception ended smbd.service is %s; want masked", file)
	}
}

func TestAuditChangesNothing(t *testing.T) {
	b := newBench(t, strings.Replace(enforcing, "mode: enforce", "mode: audit", 1))
	b.m.AddService("smbd.service", "/usr/sbin/smbd", tcp("0.0.0.0:445"))
	b.look()
	b.want(445, threat.Identified, "")
	for _, call := range b.m.Calls() {
		if strings.HasPrefix(call, "Services.Close") || strings.HasPrefix(call, "Processes.End") {
			t.Errorf("audit called %s", call)
		}
	}
	if len(b.a.plan.Steps) != 2 || len(b.a.plan.Carried()) != 0 {
		t.Errorf("plan %+v; want two steps, none carried out", b.a.plan.Steps)
	}
}

func TestWhatCannotBeClosedIsBlockedAndSaidSo(t *testing.T) {
	b := newBench(t, strings.Replace(enforcing, "shut: {mitigate: [block-port], ", "shut: {", 1))
	b.m.AddKernelListener(tcp("0.0.0.0:445"))
	b.look()
	x := b.want(445, threat.Waiting, threat.ForPerson)
	if !slices.Equal(x.InForce, []string{"block-port"}) || x.Verdict == detect.Cleared {
		t.Errorf("in force %v, verdict %s; want blocked and not cleared", x.InForce, x.Verdict)
	}
	if !x.Open() {
		t.Error("a blocked port counts as closed")
	}
}

func TestNothingIsFixedThatCouldNotBeRecorded(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddService("smbd.service", "/usr/sbin/smbd", tcp("0.0.0.0:445"))
	b.a.troubles["journal"] = "disk full"
	b.a.look("test")
	b.job()
	b.a.troubles["journal"] = "disk full"
	b.a.remediate(b.m.Now())
	if active, _ := b.m.UnitState("smbd.service"); active != "active" {
		t.Errorf("smbd.service is %s though the journal cannot be written", active)
	}
	if len(b.a.toAct) != 0 {
		t.Error("a remediation was begun though the journal cannot be written")
	}
}

func TestAFailedLookIsNoPass(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddService("smbd.service", "/usr/sbin/smbd", tcp("0.0.0.0:445"))
	b.m.Fail("Prober.Inbound", platform.ErrNotPermitted)
	b.look()
	x := b.want(445, threat.Remediated, "")
	if x.Verdict != detect.Unknown {
		t.Errorf("verdict %s; want unknown", x.Verdict)
	}
	b.m.Fail("Prober.Inbound", nil)
	b.pass(time.Minute)
	b.want(445, threat.Resolved, "")
}

func TestAPortThatStillAnswersPersists(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddSupervised("/opt/evil", "/usr/bin/runsv", tcp("0.0.0.0:6379"))
	b.look()
	for range 5 {
		b.pass(time.Minute)
	}
	x := b.want(6379, threat.Waiting, threat.ForPerson)
	if !slices.Contains(x.InForce, "block-port") {
		t.Errorf("in force %v; want block-port", x.InForce)
	}
}

func TestApproval(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.look()
	x := b.want(5900, threat.Waiting, threat.ForApproval)
	if !slices.Contains(x.InForce, "block-port") || !b.listens(5900) {
		t.Errorf("before approval: in force %v, listens %v", x.InForce, b.listens(5900))
	}
	if r := b.order(Order{Verb: Approve, Threat: x.ID}); !strings.Contains(r.Text, x.ID) {
		t.Errorf("approve said %q", r.Text)
	}
	b.want(5900, threat.Resolved, "")
	if b.listens(5900) {
		t.Error("it still listens")
	}
	if acts := b.only(5900).Actions; acts[len(acts)-1].Undoable {
		t.Error("a program that was ended is said to be undoable")
	}
}

func TestTheThirdTimeIsAnsweredMoreStrongly(t *testing.T) {
	b := newBench(t, enforcing)
	for range 2 {
		b.m.AddProcess("/opt/evil", tcp("0.0.0.0:6379"))
		b.look()
		b.want(6379, threat.Resolved, "")
	}
	b.m.AddProcess("/opt/evil", tcp("0.0.0.0:6379"))
	b.look()
	x := b.want(6379, threat.Waiting, threat.ForApproval)
	if x.Recurrences != 2 || x.Next == "" {
		t.Errorf("recurrences %d, next %q", x.Recurrences, x.Next)
	}
}

func TestIsolationByAPerson(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddSession(platform.Session{User: "lena", Terminal: "pts/0"})
	r := b.order(Order{Verb: Isolate, Reason: "test"})
	if !r.Done || b.m.InForce().Isolation == nil {
		t.Fatalf("isolate: %+v, in force %+v\n%s", r, b.m.InForce(), b.story())
	}
	if s := b.a.Status(); s.State != StateIsolated || !s.Isolated || !s.Isolation.Proved || s.Isolation.Reason != "test" {
		t.Errorf("status %+v", s.Isolation)
	}
	if len(b.m.Notices()) == 0 || !strings.Contains(b.m.Notices()[0], "4357") {
		t.Errorf("people were told %q; want the phone number", b.m.Notices())
	}
	if r := b.order(Order{Verb: Release}); !r.Done || !b.m.InForce().Zero() {
		t.Errorf("release: %+v, in force %+v", r, b.m.InForce())
	}
	if h := b.a.state.IsolationHoldOff; h == nil || h.Reason != "released by jd (uid 1000)" {
		t.Errorf("hold-off %+v", h)
	}
}

func TestIsolationEndsByItselfAndDoesNotComeBackAtOnce(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/usr/bin/X", tcp("0.0.0.0:6000"))
	b.look()
	if b.m.InForce().Isolation == nil {
		t.Fatalf("plan cut did not isolate:\n%s", b.story())
	}
	b.pass(4*time.Hour + time.Second)
	if b.m.InForce().Isolation != nil {
		t.Fatal("isolation lasts longer than max")
	}
	b.look()
	if b.m.InForce().Isolation != nil {
		t.Fatal("the open threat isolated again at once")
	}
	b.m.AddProcess("/opt/new", tcp("0.0.0.0:6001"))
	b.policy(strings.Replace(enforcing, "port: 6000", "port: [6000, 6001]", 1))
	b.a.loadPolicy()
	b.settle()
	if b.m.InForce().Isolation == nil {
		t.Errorf("a new threat does not end the hold-off:\n%s", b.story())
	}
}

func TestIsolationThatDoesNotHoldIsNotProved(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.Fail("Prober.Outbound", errors.New("no namespace"))
	if r := b.order(Order{Verb: Isolate, Reason: "test"}); r.Done || b.a.Status().Isolation.Proved {
		t.Errorf("said to be proved: %+v", r)
	}
	b.m.Fail("Prober.Outbound", nil)
	b.order(Order{Verb: Release})
	b.m.Fail("Firewall.Apply", platform.ErrUnsupported)
	if r := b.order(Order{Verb: Isolate, Reason: "test"}); r.Done || b.a.Status().Isolated {
		t.Errorf("said to be isolated: %+v", r)
	}
}

func TestIsolateOverOneselfAsks(t *testing.T) {
	b := newBench(t, enforcing)
	var refused *RefusedError
	if _, err := b.try(Order{Verb: Isolate, Reason: "x", Remote: "192.0.2.9"}); !errors.As(err, &refused) {
		t.Errorf("got %v; want a refusal", err)
	}
	if r := b.order(Order{Verb: Isolate, Reason: "x", Remote: "192.0.2.9", CutMe: true}); !r.Done {
		t.Errorf("with consent: %+v", r)
	}
}

func TestOrdersThatMakeNoSenseAreRefused(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddService("smbd.service", "/usr/sbin/smbd", tcp("0.0.0.0:445"))
	b.look()
	id := b.only(445).ID
	for _, o := range []Order{
		{Verb: Isolate},
		{Verb: Approve, Threat: "T-NONE"},
		{Verb: Approve, Threat: id},
		{Verb: Except, Threat: id, Reason: "x"},
		{Verb: Except, Threat: id, Until: b.m.Now().Add(time.Hour)},
		{Verb: Except, Threat: id, Reason: "resolved", Until: b.m.Now().Add(time.Hour)},
		{Verb: Undo, Threat: "T-NONE"},
		{Verb: PauseIt},
		{Verb: PauseIt, For: 48 * time.Hour},
		{Verb: Recheck, Threat: "T-NONE"},
		{Verb: "dance"},
	} {
		var refused *RefusedError
		if _, err := b.try(o); !errors.As(err, &refused) || refused.Reason == "" {
			t.Errorf("%+v: got %v; want a refusal", o, err)
		}
	}
}

func TestExceptLeavesOpenUntilItsDate(t *testing.T) {
	b := newBench(t, strings.Replace(enforcing, "approve: remediate}", "approve: all}", 1))
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.look()
	x := b.want(5900, threat.Waiting, threat.ForApproval)
	b.order(Order{Verb: Except, Threat: x.ID, Reason: "helpdesk uses it", Until: b.m.Now().Add(24 * time.Hour)})
	if x = b.want(5900, threat.Excepted, ""); x.Exception.Owner != "jd (uid 1000)" {
		t.Errorf("exception %+v", x.Exception)
	}
	if s := b.a.Status(); s.State != StateOK {
		t.Errorf("state %s, gaps %v, troubles %v; want ok", s.State, s.Gaps, s.Troubles)
	}
	b.pass(25 * time.Hour)
	b.want(5900, threat.Waiting, threat.ForApproval)
}

func TestPolicyExceptionsAndPause(t *testing.T) {
	b := newBench(t, strings.Replace(enforcing, "close-port], evidence: true}", "close-port], approve: remediate}", 1)+
		"except: [{port: 6379, owner: jd, reason: \"moves in spring\", until: 2027-03-31}]\n")
	b.m.AddProcess("/usr/bin/redis", tcp("0.0.0.0:6379"))
	b.m.AddProcess("/usr/sbin/smbd", tcp("0.0.0.0:445"))
	b.look()
	b.want(6379, threat.Excepted, "")
	b.want(445, threat.Waiting, threat.ForApproval)
	blocked := func() bool { return len(b.m.InForce().Blocked) > 0 }
	if !blocked() {
		t.Fatal("445 is not blocked")
	}
	b.order(Order{Verb: PauseIt, For: time.Hour})
	if blocked() {
		t.Error("the pause lifted nothing")
	}
	b.order(Order{Verb: Resume})
	if !blocked() {
		t.Error("the end of the pause put nothing back")
	}
	b.order(Order{Verb: PauseIt, For: time.Hour})
	b.pass(time.Hour)
	if !blocked() {
		t.Error("the pause does not end by itself")
	}
}

func TestTooMuchInOneHourWaitsForAPerson(t *testing.T) {
	b := newBench(t, enforcing+"limits: {disruptivePerHour: 1}\n")
	b.m.AddProcess("/opt/a", tcp("0.0.0.0:445"))
	b.m.AddProcess("/opt/b", tcp("0.0.0.0:6379"))
	b.look()
	stages := []threat.Stage{b.only(445).Stage, b.only(6379).Stage}
	slices.Sort(stages)
	if want := []threat.Stage{threat.Resolved, threat.Waiting}; !slices.Equal(stages, want) {
		t.Errorf("stages %v; want %v\n%s", stages, want, b.story())
	}
}

func TestABadPolicyNeverReplacesAGoodOne(t *testing.T) {
	b := newBench(t, enforcing)
	b.policy("mode: enforced\n")
	b.a.loadPolicy()
	b.settle()
	_, p := b.a.Policy()
	if p.Valid || p.Version != "test r1" || !strings.Contains(p.Error, "policy.yaml:1") {
		t.Errorf("policy status %+v", p)
	}
	b.crash()
	if q, p := b.a.Policy(); q.Mode != configs.Enforce || p.Valid || p.Version != "test r1" {
		t.Errorf("after a restart: mode %s, %+v", q.Mode, p)
	}
	if s := b.a.Status(); s.State != StateUnsure {
		t.Errorf("state %s; want unsure", s.State)
	}
	b.policy(enforcing)
	b.a.loadPolicy()
	b.settle()
	if _, p := b.a.Policy(); !p.Valid || p.Error != "" {
		t.Errorf("the good file came back: %+v", p)
	}
}

func TestNoPolicyIsTheDefaultAudit(t *testing.T) {
	b := newBench(t, "")
	if p, status := b.a.Policy(); p.Mode != configs.Audit || status.Version == "" {
		t.Errorf("mode %s, %+v", p.Mode, status)
	}
}

func TestRestrictionsAreReadBackAndPutBack(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.look()
	want := b.m.InForce()
	b.m.SetInForce(platform.Restrictions{})
	b.pass(time.Second)
	b.look()
	if !b.m.InForce().Equal(want) {
		t.Errorf("in force %+v; want %+v", b.m.InForce(), want)
	}
	if !strings.Contains(b.story(), "somebody changed") {
		t.Errorf("the history does not say that somebody changed them:\n%s", b.story())
	}
}

func TestAFirewallThatRefusesMitigatesNothing(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.Fail("Firewall.Apply", platform.ErrUnsupported)
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.look()
	if x := b.only(5900); len(x.InForce) != 0 || x.Stage == threat.Mitigated {
		t.Errorf("stage %s, in force %v", x.Stage, x.InForce)
	}
	if s := b.a.Status(); len(s.Troubles) == 0 {
		t.Error("status says nothing of the firewall")
	}
	b.m.Fail("Firewall.Apply", nil)
	b.pass(time.Minute)
	if x := b.only(5900); !slices.Contains(x.InForce, "block-port") {
		t.Errorf("in force %v; want block-port", x.InForce)
	}
}

func TestOutdatedOSIsFlaggedAndStaysOpen(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.SetOS(platform.OS{ID: "debian", Version: "9", Name: "Debian GNU/Linux 9 (stretch)", Codename: "stretch"})
	b.m.AddSession(platform.Session{User: "lena", Terminal: "pts/0"})
	b.look()
	x := b.a.Threats(false)[0]
	if x.Subject.OS == nil || x.Stage != threat.Waiting || x.WaitingFor != threat.ForPerson {
		t.Fatalf("threat %+v\n%s", x, b.story())
	}
	if s := b.a.Status(); len(s.Flags) != 1 || s.Flags[0].Threat != x.ID {
		t.Errorf("status shows flags %+v", s.Flags)
	}
	if len(b.m.Notices()) != 1 {
		t.Errorf("people were told %q", b.m.Notices())
	}
	b.order(Order{Verb: Recheck, Threat: x.ID})
	if x = b.a.Threats(false)[0]; x.Stage != threat.Waiting {
		t.Errorf("a flag closed the threat: %s", x.Stage)
	}
	b.m.SetOS(platform.OS{ID: "debian", Version: "13", Name: "Debian GNU/Linux 13 (trixie)", Codename: "trixie"})
	b.look()
	if open := b.a.Threats(false); len(open) != 0 {
		t.Errorf("still open after the upgrade: %+v", open)
	}
	if s := b.a.Status(); len(s.Flags) != 0 {
		t.Errorf("the flag outlived its threat: %+v", s.Flags)
	}
}

func TestCrashBetweenIntentAndResult(t *testing.T) {
	for _, c := range []struct {
		name, policy, wantFile string
		stage                  threat.Stage
	}{
		{"still wanted: finished", enforcing, "masked", threat.Resolved},
		{"not wanted any more: undone", strings.Replace(enforcing, "mode: enforce", "mode: audit", 1), "enabled", threat.Identified},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, enforcing)
			b.m.AddService("smbd.service", "/usr/sbin/smbd", tcp("0.0.0.0:445"))
			b.a.look("test")
			ctx := t.Context()
			for len(b.a.intents) == 0 {
				b.a.turn(ctx)
				b.job()
			}
			b.a.toAct[0](ctx) // the act: it happens, and nobody hears of it
			b.policy(c.policy)
			b.crash()
			b.look()
			b.want(445, c.stage, "")
			if _, file := b.m.UnitState("smbd.service"); file != c.wantFile {
				t.Errorf("smbd.service is %s; want %s\n%s", file, c.wantFile, b.story())
			}
			if c.stage == threat.Resolved {
				id := b.only(445).ID
				b.order(Order{Verb: Undo, Threat: id})
				if active, file := b.m.UnitState("smbd.service"); active != "active" || file != "enabled" {
					t.Errorf("undo after the crash left %s, %s; want active, enabled", active, file)
				}
			}
		})
	}
}

func TestThreatsAndRestrictionsSurviveARestart(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.look()
	before := b.only(5900)
	b.crash()
	after := b.only(5900)
	if before.ID != after.ID || !before.FirstSeen.Equal(after.FirstSeen) || !slices.Contains(after.InForce, "block-port") {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
}

func TestCrashInTheMiddleOfAnUndo(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddService("smbd.service", "/usr/sbin/smbd", tcp("0.0.0.0:445"))
	b.look()
	id := b.only(445).ID
	answer := make(chan result, 1)
	b.a.order(t.Context(), request{Order: Order{Verb: Undo, Threat: id, By: "jd"}, reply: answer})
	b.crash()
	if active, file := b.m.UnitState("smbd.service"); active != "active" || file != "enabled" {
		t.Errorf("smbd.service is %s, %s; want active, enabled\n%s", active, file, b.story())
	}
	b.look()
	b.want(445, threat.Excepted, "")
	if left := b.a.undoable(id); len(left) != 0 {
		t.Errorf("still to be undone: %+v", left)
	}
}

func TestAFullDiskIsOverWhenThereIsSpaceAgain(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900")) // is recorded, and stays as it is
	b.look()
	if err := b.a.cfg.Journal.Close(); err != nil {
		t.Fatal(err)
	}
	b.m.AddService("smbd.service", "/usr/sbin/smbd", tcp("0.0.0.0:445"))
	b.look()
	if active, _ := b.m.UnitState("smbd.service"); active != "active" {
		t.Fatalf("smbd.service is %s though nothing could be written", active)
	}
	if s := b.a.Status(); len(s.Troubles) == 0 || s.State == StateOK {
		t.Errorf("state %s, troubles %v", s.State, s.Troubles)
	}
	b.reopen()
	b.pass(time.Minute)
	b.pass(time.Minute)
	b.want(445, threat.Resolved, "")
}

func TestAnExceptionIsForOneProgram(t *testing.T) {
	b := newBench(t, enforcing)
	const exe = "/usr/bin/x11vnc"
	b.m.AddFile(exe, []byte("the program that was meant"))
	pid := b.m.AddProcess(exe, tcp("0.0.0.0:5900"))
	b.look()
	b.order(Order{Verb: Except, Threat: b.only(5900).ID, Reason: "helpdesk uses it", Until: b.m.Now().Add(24 * time.Hour)})
	b.m.Kill(pid)
	pid = b.m.AddProcess(exe, tcp("0.0.0.0:5900"))
	b.look()
	b.want(5900, threat.Excepted, "")
	b.m.Kill(pid)
	b.m.AddFile(exe, []byte("another one"))
	b.m.AddProcess(exe, tcp("0.0.0.0:5900"))
	b.look()
	b.want(5900, threat.Waiting, threat.ForApproval)
}

// What somebody changed since it was closed is not overwritten by an undo: it says
// so, and leaves it as it is for good only when it is asked to.
func TestUndoDoesNotOverwriteWhatSomebodyChanged(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddService("smbd.service", "/usr/sbin/smbd", tcp("0.0.0.0:445"))
	b.look()
	id := b.want(445, threat.Resolved, "").ID
	b.m.Systemctl("unmask", "smbd.service")
	b.m.Systemctl("disable", "smbd.service")
	for range 2 {
		r := b.order(Order{Verb: Undo, Threat: id})
		if r.Done || !r.Changed || !strings.Contains(r.Text, "smbd.service") {
			t.Fatalf("undo: %+v", r)
		}
		if _, file := b.m.UnitState("smbd.service"); file != "disabled" {
			t.Fatalf("smbd.service is %s; want it disabled, as a person left it", file)
		}
	}
	r := b.order(Order{Verb: Undo, Threat: id, Keep: true})
	if !r.Done || r.Changed || !slices.ContainsFunc(r.Lines, func(l string) bool { return strings.HasPrefix(l, "left as it is now: ") }) {
		t.Fatalf("undo that keeps: %+v", r)
	}
	if _, file := b.m.UnitState("smbd.service"); file != "disabled" {
		t.Errorf("smbd.service is %s; want disabled", file)
	}
	if len(b.a.undoable(id)) != 0 || !strings.Contains(b.story(), "left as it is now") {
		t.Errorf("still to be undone: %+v\n%s", b.a.undoable(id), b.story())
	}
}

func TestChangedOnly(t *testing.T) {
	changed := fmt.Errorf("undo: %w; it is left as it is now", fmt.Errorf("restore a: %w", platform.ErrChanged))
	for want, errs := range map[bool][]error{
		true:  {platform.ErrChanged, changed, errors.Join(changed, platform.ErrChanged)},
		false: {nil, platform.ErrGone, errors.Join(changed, platform.ErrGone), fmt.Errorf("%w: %w", changed, errors.New("disk full"))},
	} {
		for _, err := range errs {
			if got := changedOnly(err); got != want {
				t.Errorf("%v: got %v", err, got)
			}
		}
	}
}
