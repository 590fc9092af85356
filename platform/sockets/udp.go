package sockets

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// settled is how long a socket must keep its port to be more than a question
// waiting for its answer.
const settled = time.Minute

// remembered bounds how many ports are remembered. A host whose programs ask a
// lot from ports of their own has a few dozen at a time.
const remembered = 512

// UDPServices tells the UDP sockets that serve from those that only ask. To the
// kernel they are the same: bound, and not connected to anybody. But a program
// that asks takes whatever port the kernel hands out, and one that serves must
// be found where it was before. So a UDP socket serves if
//
//   - its port is not one that the kernel hands out: outside of
//     ip_local_port_range, or reserved by ip_local_reserved_ports; or
//   - its port was settled on before by another socket of the same user, so that
//     it came back to where it was. Both must have kept it for a minute, or the
//     many short-lived sockets of a resolver would repeat a port by chance.
//
// Who holds it tells of two more, which the caller decides: a socket that a
// service manager holds, or no process at all (WireGuard), serves.
//
// Where the kernel tells, or was asked, which sockets asked for their port by its
// number, those serve at once, and others that are newer than the telling never do.
// Else a service that chose a port from the kernel's range remains unseen until it
// has restarted since the first look.
type UDPServices struct {
	first, last uint16
	reserved    []span
	tenants     map[place]tenant
	news        *News               // or nil
	era         int                 // of the news
	earlier     map[uint64]struct{} // sockets that were there when it began
}

// origin is how a socket came to its port.
type origin int

// The later outweighs the earlier for sockets that share a place.
const (
	givenPort   origin = iota - 1 // the kernel handed it out
	unknownPort                   // nobody told
	askedPort                     // it asked for it by its number
)

// span is a range of ports, both ends included.
type span struct{ first, last uint16 }

// place is a port that the kernel may have handed out, to one user.
type place struct {
	uid  uint32
	port uint16
}

// tenant is the latest socket seen at a place.
type tenant struct {
	cookie  uint64
	since   time.Time
	latest  time.Time
	before  bool // another socket had settled here before
	settled bool
	origin  origin
}

// Heed lets the memory make use of what the kernel tells.
func (u *UDPServices) Heed(n *News) { u.news = n }

// NewUDPServices returns an empty memory. The texts are those of
// ip_local_port_range and ip_local_reserved_ports under /proc/sys/net/ipv4;
// without them the kernel's defaults are assumed.
func NewUDPServices(portRange, reserved string) *UDPServices {
	u := &UDPServices{first: 32768, last: 60999, tenants: map[place]tenant{}}
	if f := strings.Fields(portRange); len(f) == 2 {
		if s, ok := parseSpan(f[0] + "-" + f[1]); ok {
			u.first, u.last = s.first, s.last
		}
	}
	for _, text := range strings.Split(strings.TrimSpace(reserved), ",") {
		if s, ok := parseSpan(text); ok {
			u.reserved = append(u.reserved, s)
		}
	}
	return u
}

func parseSpan(text string) (span, bool) {
	a, b, both := strings.Cut(text, "-")
	if !both {
		b = a
	}
	first, err1 := strconv.ParseUint(a, 10, 16)
	last, err2 := strconv.ParseUint(b, 10, 16)
	return span{uint16(first), uint16(last)}, err1 == nil && err2 == nil && first <= last
}

// HandedOut tells whether the kernel gives this port to sockets that ask for
// none.
func (u *UDPServices) HandedOut(port uint16) bool {
	return port >= u.first && port <= u.last &&
		!slices.ContainsFunc(u.reserved, func(s span) bool { return port >= s.first && port <= s.last })
}

// Look remembers the UDP sockets that are there now.
func (u *UDPServices) Look(all []Socket, now time.Time) {
	begins := u.begin()
	for i := range all {
		s := &all[i]
		if s.Protocol != UDP || !u.HandedOut(s.Port) {
			continue
		}
		at := place{s.UID, s.Port}
		t, known := u.tenants[at]
		switch {
		case !known:
			t = tenant{cookie: s.Cookie, since: now}
		case t.cookie != s.Cookie && !t.latest.Equal(now): // else its twin, IPv4 and IPv6
			t = tenant{cookie: s.Cookie, since: now, before: t.settled || t.before}
		}
		if o := u.originOf(s, begins, now); o > t.origin || !t.latest.Equal(now) {
			t.origin = o
		}
		t.latest = now
		t.settled = now.Sub(t.since) >= settled
		u.tenants[at] = t
	}
	if len(u.tenants) > remembered {
		u.forget(now)
	}
}

// begin tells whether this is the first look since the kernel tells everything.
func (u *UDPServices) begin() bool {
	if u.news == nil {
		return false
	}
	era := u.news.Told()
	if era == u.era {
		return false
	}
	u.era, u.earlier = era, map[uint64]struct{}{}
	return true
}

// originOf returns how a socket came to its port, as far as the kernel tells.
func (u *UDPServices) originOf(s *Socket, begins bool, now time.Time) origin {
	if u.news == nil {
		return unknownPort
	}
	if u.news.AskedFor(s.Cookie, s.Port, now) {
		return askedPort
	}
	if begins {
		u.earlier[s.Cookie] = struct{}{}
	}
	if _, was := u.earlier[s.Cookie]; was || u.era == 0 {
		return unknownPort
	}
	return givenPort
}

// forget makes room: those that never settled first, then all that are gone.
func (u *UDPServices) forget(now time.Time) {
	for _, all := range []bool{false, true} {
		for at, t := range u.tenants {
			if len(u.tenants) > remembered && !t.latest.Equal(now) && (all || !t.settled) {
				delete(u.tenants, at)
			}
		}
	}
}

// Serves tells whether the port of a user's UDP socket says that it serves.
func (u *UDPServices) Serves(uid uint32, port uint16) bool {
	if !u.HandedOut(port) {
		return true
	}
	switch t := u.tenants[place{uid, port}]; t.origin {
	case askedPort:
		return true
	case givenPort:
		return false
	default:
		return t.settled && t.before
	}
}

// Settled tells whether a user's UDP socket has kept its port for so long that
// it is worth knowing who holds it.
func (u *UDPServices) Settled(uid uint32, port uint16) bool {
	t := u.tenants[place{uid, port}]
	return !u.HandedOut(port) || t.settled || t.origin == askedPort
}
