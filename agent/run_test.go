package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

// running starts the loop of the bench's agent for real, and returns what ends
// it and waits for it.
func (b *bench) running() (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.a.Run(ctx) }()
	return func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				b.Error(err)
			}
		case <-time.After(10 * time.Second):
			b.Error("the loop does not end")
		}
	}
}

// until waits for something that the running agent brings about.
func (b *bench) until(what string, ok func() bool) {
	b.Helper()
	for range 1000 {
		if ok() {
			return
		}
		changed := b.a.Changed()
		select {
		case <-changed:
		case <-time.After(10 * time.Millisecond):
		}
	}
	b.Fatalf("%s: not within 10 s\n%s", what, b.story())
}

func TestManyAskWhileTheLoopRuns(t *testing.T) {
	b := newBench(t, enforcing)
	stop := b.running()
	b.m.AddService("smbd.service", "/usr/sbin/smbd", tcp("0.0.0.0:445"))
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.until("445 is resolved", func() bool {
		for _, x := range b.a.Threats(true) {
			if x.Subject.Port != nil && x.Subject.Port.Port == 445 && x.Stage == threat.Resolved {
				return true
			}
		}
		return false
	})
	id := b.only(5900).ID
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 10 {
				orders := []Order{
					{Verb: Recheck},
					{Verb: Isolate, Reason: "x", NoWait: i%2 == 0},
					{Verb: Release},
					{Verb: PauseIt, For: time.Hour},
					{Verb: Resume},
					{Verb: Approve, Threat: id},
					{Verb: Undo, Threat: id},
				}
				o := orders[(worker+i)%len(orders)]
				var refused *RefusedError
				if _, err := b.a.Do(t.Context(), o); err != nil && !errors.As(err, &refused) {
					t.Errorf("%s: %v", o.Verb, err)
				}
				b.m.AddProcess(fmt.Sprintf("/opt/p%d", worker), tcp(fmt.Sprintf("0.0.0.0:%d", 40000+worker)))
				_ = b.a.Status().State
				for _, x := range b.a.Threats(true) {
					_ = fmt.Sprint(x)
				}
				if _, err := b.a.History(0, -5); err != nil {
					t.Error(err)
				}
				_, _ = b.a.Threat(id)
				_, _ = b.a.Policy()
			}
		})
	}
	all.Wait()
	stop()
	if _, err := b.a.Do(t.Context(), Order{Verb: Recheck}); err == nil {
		t.Error("an order was taken after the end")
	}
}

func TestAnOrderIsAnsweredWhenTheAgentStops(t *testing.T) {
	b := newBench(t, enforcing)
	hang := make(chan struct{})
	b.a.cfg.Host.Observer = hanging{b.a.cfg.Host.Observer, hang}
	stop := b.running()
	answered := make(chan error, 1)
	go func() {
		_, err := b.a.Do(context.Background(), Order{Verb: Recheck})
		answered <- err
	}()
	<-hang
	stop()
	select {
	case err := <-answered:
		if err == nil {
			t.Error("answered as if it had looked")
		}
	case <-time.After(10 * time.Second):
		t.Error("no answer")
	}
}

// hanging is an observer that answers only when its caller gives up.
type hanging struct {
	platform.Observer
	asked chan struct{}
}

func (h hanging) Snapshot(ctx context.Context, _ platform.Parts) (platform.Snapshot, error) {
	select {
	case h.asked <- struct{}{}:
	case <-ctx.Done():
	}
	<-ctx.Done()
	return platform.Snapshot{}, ctx.Err()
}

func TestAPolicyIsTakenUpWhileTheLoopRuns(t *testing.T) {
	b := newBench(t, enforcing)
	defer b.running()()
	b.until("the agent watches", func() bool { return !b.a.Status().LastLook.IsZero() })
	b.policy(strings.Replace(enforcing, "revision: 1", "revision: 2", 1))
	b.until("revision 2", func() bool { _, p := b.a.Policy(); return p.Revision == 2 })
}

func TestADamagedJournalLosesNothingInForce(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddProcess("/usr/bin/x11vnc", tcp("0.0.0.0:5900"))
	b.look()
	b.order(Order{Verb: Isolate, Reason: "x"})
	before := b.m.InForce()
	b.a.threats, b.a.state, b.a.intents = nil, journal.State{}, map[uint64]journal.Intent{}
	b.a.policy, b.a.lastLook = b.a.builtin, time.Time{}
	b.a.loaded = PolicyStatus{}
	b.a.loadPolicy()
	b.a.takeOver(t.Context())
	b.a.applied = false
	b.a.turn(t.Context())
	if got := b.m.InForce(); !got.Equal(before) {
		t.Errorf("before %+v\nafter %+v", before, got)
	}
	b.settle()
	if got := b.m.InForce(); got.Isolation == nil || len(got.Blocked) != 1 || b.a.leftover != nil {
		t.Errorf("after the first look %+v", got)
	}
}
