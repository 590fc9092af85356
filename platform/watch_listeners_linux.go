package platform

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/platform/bpf"
	"github.com/firebreak-sec/firebreak/platform/sockets"
)

// pollEvery is how long a new listener may go unnoticed where the kernel does not
// tell of it. A poll is four dumps of the kernel's tables of listening sockets,
// some 0.1 ms in all.
const pollEvery = time.Second

// listenerSource lets the kernel tell of ports, or else polls them. Where the
// kernel does not answer at all there is no source: the snapshots' gaps say so
// better than an event could.
func (o *observer) listenerSource(context.Context) (source, error) {
	diag, err := sockets.Open()
	if err != nil {
		return nil, err
	}
	w := &listenerWatch{diag: diag, udp: newUDPServices(), news: o.news}
	at, err := bpf.Here()
	if err != nil {
		diag.Close()
		return nil, err
	}
	return func(ctx context.Context, say func(Part, string)) {
		defer diag.Close()
		if ports, err := openPorts(o.kernel, at); err == nil {
			watchPorts(ctx, ports, w, say)
		}
		everywhere := &allSpaces{own: diag, others: newNetSpaces()}
		defer everywhere.others.close()
		w.diag = everywhere
		w.watch(ctx, say, pollEvery)
	}, nil
}

// watch polls until ctx ends.
func (w *listenerWatch) watch(ctx context.Context, say func(Part, string), every time.Duration) {
	if _, err := w.poll(); err != nil {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if changed, err := w.poll(); err == nil && changed {
			say(PartListeners, w.why())
		}
	}
}

// socketReader appends the sockets that are there now.
type socketReader interface {
	Read(into []sockets.Socket) ([]sockets.Socket, error)
}

// allSpaces reads the sockets of every network namespace of the host: its own each
// time, and the others as often as they are worth it.
type allSpaces struct {
	own    socketReader
	others *netSpaces
	last   []sockets.Socket // of the others
	due    time.Time        // when to read those again
}

// restOfSpaces is how many times what it takes to read the others they are left
// alone afterwards: a host with many containers pays 0.05 % of a processor for them
// at most, and a new listener there may be noticed later than after pollEvery.
const restOfSpaces = 2000

func (a *allSpaces) Read(into []sockets.Socket) ([]sockets.Socket, error) {
	into, err := a.own.Read(into)
	if err != nil {
		return into, err
	}
	if now := time.Now(); !now.Before(a.due) {
		if err := a.readOthers(now); err != nil {
			return into, err
		}
		a.due = now.Add(restOfSpaces * time.Since(now))
	}
	return append(into, a.last...), nil
}

func (a *allSpaces) readOthers(now time.Time) error {
	if err := a.others.refresh(now); err != nil {
		return err
	}
	var err error
	a.last, err = a.others.read(a.last[:0], now, 0)
	return err
}

// listenerWatch compares the listeners with those of the poll before. It
// allocates nothing while nothing changes.
type listenerWatch struct {
	diag        socketReader
	udp         *sockets.UDPServices
	news        *sockets.News
	now, before []sockets.Socket // by cookie
}

// poll reads the listeners and tells whether they are others than before. UDP
// sockets on ports that the kernel hands out come and go with every question
// that is asked; those that serve are left to the next look.
func (w *listenerWatch) poll() (bool, error) {
	next, err := w.diag.Read(w.before[:0])
	w.before = next[:0]
	if err != nil {
		return false, err
	}
	now := time.Now()
	next = slices.DeleteFunc(next, func(s sockets.Socket) bool {
		return s.Protocol == sockets.UDP && w.udp.HandedOut(s.Port) && !w.news.AskedFor(s.Cookie, s.Port, now)
	})
	slices.SortFunc(next, byCookie)
	w.before, w.now = w.now, next
	return !slices.EqualFunc(w.now, w.before, func(a, b sockets.Socket) bool { return a.Cookie == b.Cookie }), nil
}

func byCookie(a, b sockets.Socket) int { return cmp.Compare(a.Cookie, b.Cookie) }

// why names what changed: "tcp 445 began to listen".
func (w *listenerWatch) why() string {
	var said []string
	say := func(all, others []sockets.Socket, what string) {
		for _, s := range all {
			if _, both := slices.BinarySearchFunc(others, s, byCookie); both {
				continue
			}
			sentence := portSentence(s.Protocol == sockets.TCP, s.Port, what)
			if !slices.Contains(said, sentence) {
				said = append(said, sentence)
			}
		}
	}
	say(w.now, w.before, began)
	say(w.before, w.now, ceased)
	return strings.Join(said, ", ")
}

// What is said of a port.
const (
	began  = "began to listen"
	ceased = "ceased to listen"
)

// portSentence says what became of a port: "tcp 445 began to listen".
func portSentence(tcp bool, port uint16, what string) string {
	protocol := UDP
	if tcp {
		protocol = TCP
	}
	if port == 0 { // the kernel tells of it before it chooses
		return fmt.Sprintf("a port of %s %s", protocol, what)
	}
	return fmt.Sprintf("%s %d %s", protocol, port, what)
}
