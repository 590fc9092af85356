package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

// asked is an observer that remembers which parts were asked for.
type asked struct {
	platform.Observer
	mu    sync.Mutex
	parts []platform.Parts
	slow  func(platform.Parts) // before the answer; nil for none
}

func (o *asked) Snapshot(ctx context.Context, parts platform.Parts) (platform.Snapshot, error) {
	o.mu.Lock()
	o.parts = append(o.parts, parts)
	o.mu.Unlock()
	s, err := o.Observer.Snapshot(ctx, parts)
	if o.slow != nil {
		o.slow(parts)
	}
	return s, err
}

func (o *asked) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.parts)
}

func (b *bench) listening(why string) {
	b.Helper()
	b.a.event(platform.Event{Part: platform.PartListeners, Why: why})
}

func TestAGlanceLeavesTheRestAsItWas(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.SetOS(platform.OS{ID: "debian", Version: "9", Name: "Debian GNU/Linux 9 (stretch)", Codename: "stretch"})
	b.m.AddSession(platform.Session{User: "lena"})
	b.m.SetGaps(platform.Gap{Part: platform.PartNetwork, Partial: true, Reason: "not all of it"})
	b.look()
	observer := &asked{Observer: b.a.cfg.Host.Observer}
	b.a.cfg.Host.Observer = observer
	b.m.SetOS(platform.OS{}) // which a glance must not see
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	looked := b.a.lastLook
	b.listening("tcp 5900 began to listen")
	b.settle()

	if !slices.EqualFunc(observer.parts, []platform.Parts{glanceParts}, slices.Equal) {
		t.Errorf("looked at %v; want %v once", observer.parts, glanceParts)
	}
	x := b.want(5900, threat.Waiting, threat.ForApproval)
	if !slices.Contains(x.InForce, "block-port") || len(b.m.InForce().Blocked) != 1 {
		t.Errorf("not blocked: %+v", x)
	}
	for _, x := range b.a.Threats(false) {
		if x.Subject.OS != nil && (b.a.gone[x.ID] || !x.Open()) {
			t.Errorf("gone without a look: %+v", x)
		}
	}
	s := b.a.snapshot
	if s.OS.Version != "9" || len(s.Sessions) != 1 || len(s.Gaps) != 1 || s.Boot.ID == "" || len(s.Listeners) != 1 {
		t.Errorf("not merged: %+v", s)
	}
	if b.a.lastLook != looked {
		t.Error("a glance stands for a whole look")
	}
}

func TestAGlanceSeesThatAPortIsGone(t *testing.T) {
	b := newBench(t, enforcing)
	pid := b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.look()
	b.m.Kill(pid)
	b.listening("tcp 5900 ceased to listen")
	b.settle()
	b.pass(time.Minute)
	b.want(5900, threat.Resolved, "")
	if n := len(b.m.InForce().Blocked); n != 0 {
		t.Errorf("%d ports are still blocked", n)
	}
}

func TestALateLookOverwritesNoGlance(t *testing.T) {
	b := newBench(t, enforcing)
	b.a.look("test")
	late := b.a.toLook[0]
	b.a.toLook = nil
	takeUp := late(t.Context()) // it has read the host, and its result is on the way
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.listening("tcp 5900 began to listen")
	b.settle()
	takeUp(t.Context())
	b.a.turn(t.Context())
	x := b.want(5900, threat.Waiting, threat.ForApproval)
	if b.a.gone[x.ID] || len(b.a.snapshot.Listeners) != 1 {
		t.Errorf("the older look won: gone %v, listeners %+v", b.a.gone, b.a.snapshot.Listeners)
	}
	if b.a.lastLook != b.m.Now() {
		t.Error("the rest of the look was lost")
	}
}

func TestAGlanceThatCannotBeHadBecomesALook(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.m.FailTimes("Observer.Snapshot", 1, errors.New("not now"))
	b.listening("tcp 5900 began to listen")
	b.settle()
	b.want(5900, threat.Waiting, threat.ForApproval)
}

func TestAnotherProgramEndsAnExceptionAtAGlance(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddFile("/usr/bin/x11vnc", []byte("the one that is meant"))
	pid := b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.look()
	b.order(Order{Verb: Except, Threat: b.only(5900).ID, Reason: "for support", Until: b.m.Now().Add(24 * time.Hour)})
	b.m.Kill(pid)
	b.m.AddFile("/usr/bin/x11vnc", []byte("another"))
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.listening("tcp 5900 began to listen")
	b.settle()
	b.want(5900, threat.Waiting, threat.ForApproval)
}

// TestABurstOfEvents tells the running agent of many more ports than it could
// look at one by one.
func TestABurstOfEvents(t *testing.T) {
	b := newBench(t, enforcing)
	boot := platform.BootClock()
	b.a.cfg.Boot = func() (platform.Boot, error) { return boot(time.Now()) }
	observer := &asked{Observer: b.a.cfg.Host.Observer, slow: func(platform.Parts) { time.Sleep(time.Millisecond) }}
	events := make(chan platform.Event)
	b.a.cfg.Host.Observer = prompt{observer, events}
	defer b.running()()
	<-b.a.Started()
	before := observer.count()
	began := time.Now()
	for i := range 10_000 {
		pid := b.m.AddProcess("/opt/burst", tcp(fmt.Sprintf("0.0.0.0:%d", 20000+i%1000)))
		b.m.Kill(pid)
		events <- platform.Event{Part: platform.PartListeners, Why: "burst"}
	}
	took := time.Since(began)
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	events <- platform.Event{Part: platform.PartListeners, Why: "tcp 5900 began to listen"}
	b.until("the last port is blocked", func() bool {
		return slices.ContainsFunc(b.a.Threats(false), func(x threat.Threat) bool {
			return x.Subject.Port != nil && x.Subject.Port.Port == 5900 && slices.Contains(x.InForce, "block-port")
		})
	})
	// A tenth of the time, at 1 ms and more each, and those that may come at once.
	t.Logf("%d looks in %v", observer.count()-before, took)
	if n, most := observer.count()-before, int(took/(8*time.Millisecond))+60; n > most {
		t.Errorf("%d looks in %v; want at most %d", n, took, most)
	}
}

func TestThePaceOfGlances(t *testing.T) {
	var p pace
	now := time.Duration(0)
	glance := func(took time.Duration) bool {
		p.ask()
		if !p.begin(now) {
			return false
		}
		now += took
		p.over = true
		p.settle(now)
		return true
	}
	for i := range 8 {
		if !glance(2 * time.Millisecond) {
			t.Fatalf("glance %d of a few had to wait", i)
		}
	}
	n, began := 0, now
	for now < began+10*time.Second {
		if !glance(2 * time.Millisecond) {
			now += time.Millisecond
			continue
		}
		n++
	}
	if n < 400 || n > 620 {
		t.Errorf("%d glances of 2 ms in 10 s of events; want a tenth of the time", n)
	}
	for range 3 { // a host under load: each takes long
		for !glance(time.Second) {
			now += time.Millisecond
		}
	}
	if w := p.wait(now); w > glanceWait {
		t.Errorf("waits %v; want at most %v", w, glanceWait)
	}
	now += 10 * time.Second
	first := glance(2 * time.Millisecond)
	if second := glance(2 * time.Millisecond); !first || !second {
		t.Error("after a rest a glance had to wait")
	}
	if p.asked {
		t.Error("asked for without anybody asking")
	}
	p.ask()
	if !p.begin(now) {
		now += p.wait(now)
		p.begin(now)
	}
	p.ask()
	if p.begin(now + time.Hour) {
		t.Error("two glances at a time")
	}
}
