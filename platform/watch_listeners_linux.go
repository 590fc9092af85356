package platform

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/platform/sockets"
)

// pollEvery is how long a new listener may go unnoticed. A poll is four dumps of
// the kernel's tables of listening sockets, some 0.1 ms in all.
const pollEvery = time.Second

// listenerSource polls the listeners. Where the kernel does not answer there is
// none: the snapshots' gaps say so better than an event could.
func listenerSource(context.Context) (source, error) {
	diag, err := sockets.Open()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, say func(Part, string)) {
		defer diag.Close()
		watchListeners(ctx, diag, say, pollEvery)
	}, nil
}

func watchListeners(ctx context.Context, diag *sockets.Reader, say func(Part, string), every time.Duration) {
	w := listenerWatch{diag: diag, udp: newUDPServices()}
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

// listenerWatch compares the listeners with those of the poll before. It
// allocates nothing while nothing changes.
type listenerWatch struct {
	diag        *sockets.Reader
	udp         *sockets.UDPServices
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
	next = slices.DeleteFunc(next, func(s sockets.Socket) bool {
		return s.Protocol == sockets.UDP && w.udp.HandedOut(s.Port)
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
			protocol := TCP
			if s.Protocol == sockets.UDP {
				protocol = UDP
			}
			sentence := fmt.Sprintf("%s %d %s", protocol, s.Port, what)
			if !slices.Contains(said, sentence) {
				said = append(said, sentence)
			}
		}
	}
	say(w.now, w.before, "began to listen")
	say(w.before, w.now, "ceased to listen")
	return strings.Join(said, ", ")
}
