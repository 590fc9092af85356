package agent

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

// These tests are about what the agent must not say.

func TestAHiddenOwnerClearsNothing(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.look()
	id := b.want(5900, threat.Waiting, threat.ForApproval).ID
	b.m.SetGaps(platform.Gap{Part: platform.PartOwners, Reason: "hidden"})
	b.look()
	b.pass(time.Minute)
	if x, _ := b.a.Threat(id); x.Stage == threat.Resolved || x.Verdict != detect.Unknown {
		t.Errorf("%s, verdict %s, though somebody listens there\n%s", x.Stage, x.Verdict, b.story())
	}
}

func TestWhatPolicyAllowsIsNotCalledGone(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.look()
	b.policy(strings.Replace(enforcing, "  deny:", "  allow: [{port: 5900}]\n  deny:", 1))
	b.a.loadPolicy()
	b.settle()
	x := b.want(5900, threat.Resolved, "")
	if strings.Contains(b.story(), "proved gone") || strings.Contains(x.Next, "gone") || x.Proofs[len(x.Proofs)-1].How != "policy" {
		t.Errorf("next %q, proofs %+v\n%s", x.Next, x.Proofs, b.story())
	}
}

func TestAnExceptionIsNotResolvedByARecheck(t *testing.T) {
	b := newBench(t, enforcing)
	pid := b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.look()
	id := b.only(5900).ID
	b.order(Order{Verb: Except, Threat: id, Reason: "x", Until: b.m.Now().Add(time.Hour)})
	b.m.Kill(pid)
	b.order(Order{Verb: Recheck, Threat: id})
	if x := b.want(5900, threat.Excepted, ""); len(x.Looks) != 0 || strings.Contains(b.story(), "resolved") {
		t.Errorf("looks %+v\n%s", x.Looks, b.story())
	}
}

func TestOurOwnBlockProvesNothing(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddKernelListener(tcp("0.0.0.0:445"))
	block := platform.Restrictions{Blocked: []platform.PortRule{{Protocol: platform.TCP, First: 445, Last: 445}}}
	if err := b.m.Host().Firewall.Apply(t.Context(), block); err != nil {
		t.Fatal(err)
	}
	to := target{protocol: platform.TCP, to: netip.MustParseAddrPort("0.0.0.0:445")}
	if verdict, detail := knock(t.Context(), b.m.Host().Prober, to); verdict != detect.Persists {
		t.Errorf("%s: %s", verdict, detail)
	}
	to.protocol = platform.UDP
	to.to = netip.MustParseAddrPort("0.0.0.0:69")
	block.Blocked = []platform.PortRule{{Protocol: platform.UDP, First: 69, Last: 69}}
	if err := b.m.Host().Firewall.Apply(t.Context(), block); err != nil {
		t.Fatal(err)
	}
	if verdict, detail := knock(t.Context(), b.m.Host().Prober, to); verdict != "" {
		t.Errorf("silence on UDP: %s: %s", verdict, detail)
	}
}

func TestALookIsJudgedByThePolicyInForce(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/usr/bin/redis", tcp("0.0.0.0:6379"))
	b.a.look("test")
	j := b.a.toLook[0]
	b.a.toLook = b.a.toLook[1:]
	then := j(t.Context()) // the look is over, and not yet taken up
	b.policy(strings.Replace(enforcing, "  deny:", "  allow: [{port: 6379}]\n  deny:", 1))
	b.a.loadPolicy()
	then(t.Context())
	b.settle()
	if len(b.a.Threats(true)) != 0 || !b.listens(6379) {
		t.Errorf("threats %+v, listens %v", b.a.Threats(true), b.listens(6379))
	}
}

func TestWhatHappensDuringALookIsLookedAt(t *testing.T) {
	b := newBench(t, enforcing)
	b.a.look("test")
	j := b.a.toLook[0]
	b.a.toLook = b.a.toLook[1:]
	then := j(t.Context())
	b.m.AddService("smbd.service", "/usr/sbin/smbd", tcp("0.0.0.0:445"))
	b.a.look("tcp 445 began to listen")
	then(t.Context())
	b.settle()
	b.want(445, threat.Resolved, "")
}

func TestAMitigationThatCannotBePutBackIsNotClaimed(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.look()
	b.m.SetInForce(platform.Restrictions{})
	b.m.Fail("Firewall.Apply", platform.ErrUnsupported)
	b.pass(time.Second)
	b.look()
	if x := b.only(5900); len(x.InForce) != 0 || len(b.a.Status().Blocked) != 0 {
		t.Errorf("in force %v, status %v", x.InForce, b.a.Status().Blocked)
	}
	b.m.Fail("Firewall.Apply", nil)
	b.pass(time.Minute)
	if x := b.only(5900); !slices.Contains(x.InForce, "block-port") {
		t.Errorf("in force %v", x.InForce)
	}
}

func TestAMitigationThatCannotBeLiftedIsStillTold(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.look()
	b.m.Fail("Firewall.Apply", platform.ErrUnsupported)
	b.order(Order{Verb: Except, Threat: b.only(5900).ID, Reason: "x", Until: b.m.Now().Add(time.Hour)})
	if x := b.only(5900); !slices.Contains(x.InForce, "block-port") {
		t.Errorf("in force %v, but the port is still blocked", x.InForce)
	}
}

func TestAnApprovedThreatIsStillMitigated(t *testing.T) {
	b := newBench(t, strings.Replace(enforcing, "approve: remediate}", "approve: remediate, window: \"22:00-05:00\"}", 1))
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.look()
	b.order(Order{Verb: Approve, Threat: b.only(5900).ID})
	b.want(5900, threat.Waiting, threat.ForWindow)
	b.policy(strings.Replace(enforcing, "remediate: [close-port], approve: remediate", "remediate: []", 1))
	b.a.loadPolicy()
	b.settle()
	if x := b.only(5900); len(x.InForce) == 1 && x.Stage == threat.Identified {
		t.Errorf("stage %s with %v in force", x.Stage, x.InForce)
	}
}

func TestTheSecondIsolationWaitsForItsOwnProof(t *testing.T) {
	b := newBench(t, enforcing)
	b.order(Order{Verb: Isolate, Reason: "one"})
	b.order(Order{Verb: Release})
	b.pass(time.Hour)
	answer := make(chan result, 1)
	b.a.order(t.Context(), request{Order: Order{Verb: Isolate, Reason: "two"}, reply: answer})
	b.a.turn(t.Context())
	b.a.turn(t.Context()) // before the proof is there
	if len(answer) != 0 {
		t.Fatalf("answered without a proof: %+v", <-answer)
	}
	b.settle()
	if r := <-answer; !r.Done || !strings.Contains(r.Text, "proved") {
		t.Errorf("%+v", r)
	}
}

func TestARecheckThatCouldNotLookSaysSo(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.Fail("Observer.Snapshot", platform.ErrNotPermitted)
	if r := b.order(Order{Verb: Recheck}); r.Done || !strings.Contains(r.Text, "could not be looked at") {
		t.Errorf("%+v", r)
	}
	b.m.Fail("Observer.Snapshot", nil)
	b.m.SetGaps(platform.Gap{Part: platform.PartListeners, Reason: "none"})
	if r := b.order(Order{Verb: Recheck}); r.Done || len(r.Lines) == 0 {
		t.Errorf("%+v", r)
	}
}

func TestIsolationProvesBothFamilies(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.Fail("Prober.Inbound", errors.New("no namespace"))
	if r := b.order(Order{Verb: Isolate, Reason: "x"}); r.Done {
		t.Errorf("%+v", r)
	}
}

func TestIsolateForLongerThanPolicyLetsSaysSo(t *testing.T) {
	b := newBench(t, enforcing)
	r := b.order(Order{Verb: Isolate, Reason: "x", For: 48 * time.Hour, DryRun: true})
	if last := r.Lines[len(r.Lines)-1]; !strings.Contains(last, "4h") || !strings.Contains(last, "longest") {
		t.Errorf("%q", r.Lines)
	}
}

func TestWhatCannotBeUndoneReadsWell(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/usr/bin/redis", tcp("0.0.0.0:6379"))
	b.look()
	r := b.order(Order{Verb: Undo, Threat: b.only(6379).ID})
	if r.Done || !strings.HasSuffix(r.Text, ".") || strings.Contains(r.Text, "undo:") || strings.Contains(r.Text, ": cannot be undone") {
		t.Errorf("%q", r.Text)
	}
}
