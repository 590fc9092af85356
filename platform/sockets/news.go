package sockets

import (
	"sync"
	"time"
)

// News is what the kernel told of sockets while nobody looked: which process began
// to listen, which UDP sockets asked for their port by its number, and in which
// network namespaces nothing happened. Any number
// of goroutines may use it at once. The zero News is that of a host whose kernel
// does not tell.
type News struct {
	mu    sync.Mutex
	era   int // counts the times from which on everything was told
	tells bool
	asked map[uint64]asked
	hints map[uint64]int // by cookie: the process
	// stirred is when something was told last of a network namespace, by its inode;
	// 0 is of one that was not named.
	stirred map[uint32]time.Time
}

// asked is a port that a UDP socket asked for.
type asked struct {
	port uint16
	used time.Time // when it was last told or asked of
}

const (
	mostHints = 1024
	// Of sockets whose closing was not told, more than mostAsked are not kept for
	// longer than staleAsked.
	mostAsked  = 4096
	staleAsked = time.Hour
	// The kernel tells just before it comes about: what was read less than afterwards
	// after it told may be as it was before.
	afterwards  = time.Second
	mostStirred = 4096
)

// Begin says that from now on everything is told; again, that something was
// missed, and it is told from now on once more.
func (n *News) Begin() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.era, n.tells = n.era+1, true
}

// End says that nothing is told any more.
func (n *News) End() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tells = false
}

// Stirs says that something happens in a network namespace; 0 is one that was not
// named.
func (n *News) Stirs(netns uint32, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stirred == nil {
		n.stirred = map[uint32]time.Time{}
	}
	if len(n.stirred) >= mostStirred {
		clear(n.stirred)
		netns = 0 // whichever were forgotten
	}
	n.stirred[netns] = now
}

// Quiet tells whether a network namespace is as it was read at a time, when
// everything was told since era.
func (n *News) Quiet(netns uint32, read time.Time, era int) bool {
	if n == nil {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	before := read.Add(-afterwards)
	return n.tells && era == n.era && n.stirred[netns].Before(before) && n.stirred[0].Before(before)
}

// Listens says which process began to listen on a socket.
func (n *News) Listens(cookie uint64, pid int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hints == nil || len(n.hints) >= mostHints {
		n.hints = map[uint64]int{} // whoever is forgotten is searched for
	}
	n.hints[cookie] = pid
}

// Bound says that a UDP socket asked for a port.
func (n *News) Bound(cookie uint64, port uint16, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asked == nil {
		n.asked = map[uint64]asked{}
	}
	if len(n.asked) >= mostAsked {
		for c, a := range n.asked {
			if now.Sub(a.used) > staleAsked {
				delete(n.asked, c)
			}
		}
	}
	n.asked[cookie] = asked{port, now}
}

// Closed says that a socket is no more.
func (n *News) Closed(cookie uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.asked, cookie)
	delete(n.hints, cookie)
}

// AskedFor tells whether a UDP socket asked for that port by its number.
func (n *News) AskedFor(cookie uint64, port uint16, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, ok := n.asked[cookie]
	if !ok || a.port != port { // else it could not have that one, and took another
		return false
	}
	a.used = now
	n.asked[cookie] = a
	return true
}

// Told numbers the time since when everything is told; 0 if it is not.
func (n *News) Told() int {
	if n == nil {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.tells {
		return 0
	}
	return n.era
}
