package platform

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// Events says when a port begins or ceases to listen, when the network changes,
// and when somebody touches the agent's rules. All but the first are told by the
// kernel: on a host where nothing happens they cost nothing.
func (o *observer) Events(ctx context.Context) <-chan Event {
	events := make(chan Event)
	w := newWatch()
	if o.root == "" {
		// Opened before anything runs: a netlink socket belongs to the network
		// namespace of the thread that opens it. Where one cannot be had the agent
		// learns of it when it looks, as it does anyway.
		for _, open := range []func(context.Context) (source, error){o.ruleSource, networkSource, mountSource, o.listenerSource} {
			if run, err := open(ctx); err == nil {
				go run(ctx, w.say)
			}
		}
	}
	go func() {
		defer close(events)
		w.deliver(ctx, events)
	}()
	return events
}

// source says what happens until ctx ends.
type source func(ctx context.Context, say func(Part, string))

// watch holds back what was not taken yet. Nothing is lost: what is said of one
// part meanwhile becomes one event.
type watch struct {
	mu      sync.Mutex
	waiting map[Part][]string
	rested  map[Part]time.Time // when the part may be told of again
	more    chan struct{}
}

func newWatch() *watch {
	return &watch{waiting: map[Part][]string{}, rested: map[Part]time.Time{}, more: make(chan struct{}, 1)}
}

// maxReasons is how many reasons one event names.
const maxReasons = 4

// networkRest is the shortest time between two events of the network: what makes
// an interface, or a container, changes a dozen things in a row.
const networkRest = 250 * time.Millisecond

// say never waits.
func (w *watch) say(p Part, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	reasons, ok := w.waiting[p]
	switch {
	case ok && slices.Contains(reasons, why), len(reasons) > maxReasons:
		return
	case len(reasons) == maxReasons:
		why = "and more"
	}
	w.waiting[p] = append(reasons, why)
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// next returns what is to be told now, or how long to wait for it; 0 is until
// there is more.
func (w *watch) next(now time.Time) (Event, time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var wait time.Duration
	for _, p := range []Part{PartRestrictions, PartNetwork, PartListeners} {
		reasons, ok := w.waiting[p]
		if !ok {
			continue
		}
		if left := w.rested[p].Sub(now); left > 0 {
			wait = left
			continue
		}
		delete(w.waiting, p)
		if p == PartNetwork {
			w.rested[p] = now.Add(networkRest)
		}
		return Event{Part: p, Why: strings.Join(reasons, ", ")}, 0, true
	}
	return Event{}, wait, false
}

// deliver hands out events until ctx ends.
func (w *watch) deliver(ctx context.Context, events chan<- Event) {
	timer := time.NewTimer(0)
	timer.Stop()
	defer timer.Stop()
	for {
		e, wait, ok := w.next(time.Now())
		if ok {
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
			continue
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-w.more:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}
