package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// Events tells of refused binds.
type Events struct {
	ID     ebpf.MapID // of what tells: the same as long as rules only change
	reader *ringbuf.Reader
	counts *ebpf.Map
	ring   *ebpf.Map
	told   map[toldKey]*toldOf
}

// toldKey is who was refused what, as the program counts it.
type toldKey struct {
	Port, UID uint32
	Inode     uint64
}

type toldOf struct {
	last  Refused
	times uint64 // that were told of
}

// maxTold bounds who is remembered, as the program does.
const maxTold = 1024

func (l *loaded) events() (*Events, error) {
	ring, err := l.maps[mapEvents].Clone()
	if err != nil {
		return nil, fmt.Errorf("open map: %w", err)
	}
	counts, err := l.maps[mapTold].Clone()
	if err != nil {
		ring.Close()
		return nil, fmt.Errorf("open map: %w", err)
	}
	e := &Events{ring: ring, counts: counts, told: map[toldKey]*toldOf{}}
	if info, err := ring.Info(); err == nil {
		e.ID, _ = info.ID()
	}
	return e, nil
}

// Close ends Next.
func (e *Events) Close() {
	if e.reader != nil {
		e.reader.Close()
	}
	e.ring.Close()
	e.counts.Close()
}

// Open makes Next possible, and Close end it.
func (e *Events) Open() error {
	r, err := ringbuf.NewReader(e.ring)
	if err != nil {
		return fmt.Errorf("listen to refused binds: %w", err)
	}
	e.reader = r
	return nil
}

// Next returns who was refused, waiting for it up to a time; nobody if that has
// come. The program tells of one that is refused again and again only once a
// second: the count includes all.
func (e *Events) Next(until time.Time) ([]Refused, error) {
	e.reader.SetDeadline(until)
	rec, err := e.reader.Read()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listen to refused binds: %w", err)
	}
	key, r, ok := parseEvent(rec.RawSample)
	if !ok {
		return nil, nil
	}
	if len(e.told) >= maxTold {
		clear(e.told) // whoever is refused yet again is told of again
	}
	t := e.told[key]
	if t == nil {
		t = &toldOf{}
		e.told[key] = t
	}
	t.last = r
	r.Times = e.since(key, t)
	return []Refused{r}, nil
}

// Rest returns who was refused since it was last told of.
func (e *Events) Rest() []Refused {
	var all []Refused
	for key, t := range e.told {
		r := t.last
		if r.Times = e.since(key, t); r.Times > 0 {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Refused) int { return int(a.Port) - int(b.Port) })
	return all
}

// since returns how often it was refused since it was last told of.
func (e *Events) since(key toldKey, t *toldOf) uint64 {
	var entry struct{ Times, At uint64 }
	if err := e.counts.Lookup(key, &entry); err != nil {
		return 0 // forgotten: others were refused since
	}
	if entry.Times < t.times {
		t.times = 0 // forgotten, and refused again
	}
	n := entry.Times - t.times
	t.times = entry.Times
	return n
}

// parseEvent reads what the program told.
func parseEvent(b []byte) (toldKey, Refused, bool) {
	if len(b) < eventSize {
		return toldKey{}, Refused{}, false
	}
	n := binary.NativeEndian
	key := toldKey{Port: n.Uint32(b[eventPort:]), UID: n.Uint32(b[eventUID:]), Inode: n.Uint64(b[eventInode:])}
	var network [2]byte
	n.PutUint16(network[:], uint16(key.Port))
	r := Refused{
		Protocol: uint8(key.Port >> 16), Port: binary.BigEndian.Uint16(network[:]),
		UID: key.UID, PID: n.Uint32(b[eventPID:]), Comm: text(b[eventComm:eventNames]),
		Exe: Exe{Device: n.Uint32(b[eventDevice:])},
	}
	var path []string
	for i := range maxNames + 1 {
		at := eventNames + i*eventName
		name := text(b[at : at+eventName])
		if name == "/" {
			slices.Reverse(path)
			r.Exe.Path = "/" + strings.Join(path, "/")
			break
		}
		if name == "" || len(name) == eventName-1 {
			break // cut off: half a path is none
		}
		path = append(path, name)
	}
	return key, r, true
}

func text(b []byte) string {
	before, _, _ := bytes.Cut(b, []byte{0})
	return string(before)
}
