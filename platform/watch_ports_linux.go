package platform

import (
	"context"
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/platform/bpf"
	"github.com/firebreak-sec/firebreak/platform/sockets"
)

const (
	// assureEvery is how long what the kernel did not tell may go unnoticed: it
	// tells of a port with no room to spare, and of no UDP socket that was bound
	// by a program of another host.
	assureEvery = 30 * time.Second
	// The kernel tells of a port just before it is there, so whoever looks at once
	// may be too early. What was told is compared with the tables twice.
	compareSoon = 5 * time.Millisecond
	compareLate = time.Second
)

// portWatch says what the kernel tells of ports.
type portWatch struct {
	*listenerWatch
	ports  *bpf.Ports
	say    func(Part, string)
	events []bpf.PortEvent
	pace   portPace

	soon, late, assure time.Time // when to compare; the zero time is never
	elsewhere          []string  // what was said of namespaces that are not compared
}

// watchPorts says what the kernel tells until ctx ends, or it tells no more.
func watchPorts(ctx context.Context, ports *bpf.Ports, l *listenerWatch, say func(Part, string)) {
	defer ports.Close()
	defer context.AfterFunc(ctx, ports.Interrupt)()
	l.news.Begin()
	defer l.news.End()
	w := portWatch{listenerWatch: l, ports: ports, say: say}
	w.compare(time.Now()) // what there was before
	for {
		events, lost, err := ports.Next(w.next(), w.events[:0])
		if err != nil {
			return
		}
		w.events = events
		now := time.Now()
		w.take(lost, now)
		if !now.Before(w.next()) {
			if w.compare(now) {
				say(PartListeners, w.why())
			}
			w.repeat()
		}
		if w.pace.busy(len(events), now) {
			select {
			case <-time.After(portRest):
			case <-ctx.Done():
			}
		}
	}
}

// next is when to compare next.
func (w *portWatch) next() time.Time {
	t := w.assure
	for _, other := range []time.Time{w.soon, w.late} {
		if !other.IsZero() && other.Before(t) {
			t = other
		}
	}
	return t
}

// take says what was told. A few sentences are enough: see watch.say.
func (w *portWatch) take(lost bool, now time.Time) {
	said := 0
	for _, e := range w.events {
		what := began
		w.news.Stirs(e.NetNS, now)
		switch e.Change {
		case bpf.Listens:
			if e.PID != 0 && e.Cookie != 0 {
				w.news.Listens(e.Cookie, e.PID)
			}
		case bpf.Bound:
			w.news.Bound(e.Cookie, e.Port, now)
		default:
			w.news.Closed(e.Cookie)
			what = ceased
		}
		if said > maxReasons {
			continue
		}
		said++
		sentence := portSentence(e.TCP, e.Port, what)
		w.say(PartListeners, sentence)
		if !w.ports.Here(e) && !slices.Contains(w.elsewhere, sentence) && len(w.elsewhere) <= maxReasons {
			w.elsewhere = append(w.elsewhere, sentence)
		}
	}
	if lost {
		w.news.Begin()
		w.say(PartListeners, "more ports opened and closed than could be told of")
	}
	if len(w.events) > 0 || lost {
		if w.soon.IsZero() {
			w.soon = now.Add(compareSoon)
		}
		w.late = now.Add(compareLate)
	}
}

// compare polls, and tells whether something changed since it did so last.
func (w *portWatch) compare(now time.Time) bool {
	if !w.late.IsZero() && !now.Before(w.late) {
		w.late = time.Time{}
	}
	w.soon, w.assure = time.Time{}, now.Add(assureEvery)
	changed, err := w.poll()
	if err != nil {
		return false
	}
	for _, s := range w.now {
		if _, known := slices.BinarySearchFunc(w.before, s, byCookie); !known && s.Protocol == sockets.UDP {
			// Of one that cannot be noted the next comparison tells.
			_ = w.ports.TellOf(s.Cookie, s.Port)
		}
	}
	return changed
}

// repeat says once more what no comparison could show.
func (w *portWatch) repeat() {
	for _, sentence := range w.elsewhere {
		w.say(PartListeners, sentence)
	}
	w.elsewhere = w.elsewhere[:0]
}

const (
	// portRest is how long to let changes pile up while there are many.
	portRest = 20 * time.Millisecond
	// Many are more than manyPorts in paceSpan. The first are told of at once.
	manyPorts = 50
	paceSpan  = 100 * time.Millisecond
)

// portPace tells when there are so many changes that each by itself is too much
// to wake up for.
type portPace struct {
	begun       time.Time // of the span
	now, before int       // changes in this span and the one before
}

func (p *portPace) busy(n int, now time.Time) bool {
	if since := now.Sub(p.begun); since >= paceSpan {
		p.before = p.now
		if since >= 2*paceSpan {
			p.before = 0
		}
		p.begun, p.now = now, 0
	}
	p.now += n
	return n > 0 && max(p.now, p.before) > manyPorts
}
