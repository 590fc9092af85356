package platform

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/bpf"
)

const (
	// restEvery is how often it is asked who is refused again and again.
	restEvery = 10 * time.Second
	// idleWait is for how long it is waited while nobody is.
	idleWait = time.Hour
)

func (b *kernelBinds) Attempts(ctx context.Context) <-chan BindAttempt {
	out := make(chan BindAttempt)
	go func() {
		defer close(out)
		stop := func() {}
		for {
			select {
			case <-ctx.Done():
				stop()
				return
			case events := <-b.fresh:
				stop()
				stop = func() {}
				if events == nil {
					continue
				}
				if events.Open() != nil {
					events.Close() // binds are refused all the same
					continue
				}
				ended := make(chan struct{})
				inner, cancel := context.WithCancel(ctx)
				go func() {
					defer close(ended)
					tellAttempts(inner, events, out)
				}()
				stop = func() { cancel(); events.Close(); <-ended }
			}
		}
	}()
	return out
}

// tellAttempts tells of refused binds until ctx or what tells of them ends.
func tellAttempts(ctx context.Context, events *bpf.Events, out chan<- BindAttempt) {
	var users userNames
	m := mergedBinds{}
	for {
		wait := idleWait
		if len(m) > 0 {
			wait = restEvery
		}
		refused, err := events.Next(time.Now().Add(wait))
		if err != nil {
			return
		}
		if refused == nil {
			refused = events.Rest()
		}
		now := time.Now()
		for _, r := range refused {
			users.refresh()
			m.add(attemptOf(r, now, &users), now)
		}
		for _, a := range m.due(now) {
			select {
			case out <- a:
			case <-ctx.Done():
				return
			}
		}
	}
}

// attemptOf says who was refused, in the words of this host. What the process can
// no longer be asked for, as it ended, is left out.
func attemptOf(r bpf.Refused, now time.Time, users *userNames) BindAttempt {
	a := BindAttempt{
		At: now, Protocol: TCP, Port: r.Port, PID: int(r.PID), Process: r.Comm,
		User: users.name(r.UID), Times: int(r.Times),
	}
	if r.Protocol == unix.IPPROTO_UDP {
		a.Protocol = UDP
	}
	if text, err := os.ReadFile("/proc/self/mountinfo"); err == nil && r.Exe.Path != "" {
		a.Exe = pathInMounts(r.Exe, parseMounts(string(text)))
	}
	if a.PID == 0 {
		return a
	}
	dir := filepath.Join("/proc", strconv.Itoa(a.PID))
	if text, err := os.ReadFile(filepath.Join(dir, "cgroup")); err == nil {
		a.Unit = placeIn(string(text)).unit
	}
	return a
}

// bindTeller is of what only one entry a minute is told.
type bindTeller struct {
	protocol Protocol
	port     uint16
	program  string // the executable, or the name of the process if that is not known
}

// mergedBinds are the refused binds of the last minute.
type mergedBinds map[bindTeller]*mergedBind

type mergedBind struct {
	last    BindAttempt
	pending int
	next    time.Time // when it may be told of
}

// tellAgain is for how long attempts of one program at one port are merged.
const tellAgain = time.Minute

func (m mergedBinds) add(a BindAttempt, now time.Time) {
	key := bindTeller{a.Protocol, a.Port, a.Exe}
	if key.program == "" {
		key.program = a.Process
	}
	if m[key] == nil {
		m[key] = &mergedBind{next: now}
	}
	m[key].pending += a.Times
	m[key].last = a
}

// due returns what is to be told now, and forgets what was quiet for as long.
func (m mergedBinds) due(now time.Time) []BindAttempt {
	var out []BindAttempt
	for key, b := range m {
		switch {
		case now.Before(b.next):
		case b.pending == 0:
			delete(m, key)
		default:
			a := b.last
			a.Times = b.pending
			b.pending, b.next = 0, now.Add(tellAgain)
			out = append(out, a)
		}
	}
	return out
}
