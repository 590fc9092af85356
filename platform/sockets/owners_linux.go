package sockets

import (
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Holder is a process that holds a socket, and one of the numbers under which
// it has it open.
type Holder struct {
	PID int
	FD  int
}

// Holding says what a search for the holders of a socket came to.
type Holding string

// What a search can come to.
const (
	Held   Holding = "held"   // at least one process is known
	Nobody Holding = "nobody" // no process at all: the kernel itself, such as NFS
	Hidden Holding = "hidden" // none was found, but not every process may be looked into
)

const (
	// patience is how long one Update goes on looking for more holders of
	// sockets that have one already. What is left is looked at by the next.
	patience = 20 * time.Millisecond
	// Everything is looked at afresh, in portions of patience, after refresh or
	// after rest times what a whole search takes, whichever is longer. It finds
	// what no sign tells of: a socket handed to a process that was there before.
	refresh = 10 * time.Minute
	rest    = 2000
	// stillness is how long a list of processes holds at most while no process
	// begins: one that was there before may move into a control group.
	stillness = 10 * time.Second
)

// Owners remembers who holds which sockets. A holder is looked for once, when
// its socket is new; after that an Update only asks whether the known holders
// still have it (one readlink each) and looks into processes that are new.
//
// The search begins in the control group in which the socket was made: on a
// host with systemd that is one service's few processes instead of everybody's
// files. It goes on to every process if nobody there has the socket, or if the
// one who has it is a service manager, which keeps a socket open on behalf of a
// service elsewhere. So a socket that was handed from one service to another is
// known by its first holder, until that one lets go of it.
type Owners struct {
	proc     *proc
	births   *Births
	cgroups  cgroups
	seesAll  bool // no process of the host is hidden from us by rank or namespace
	sockets  map[uint64]*socket
	groups   map[uint64]*group // by the ID of a control group
	everyone *group
	news     *News  // or nil
	list     []byte // what cgroup.procs is read into
	started  time.Time
	cost     time.Duration // of searching everyone, so far
	visit    func(inode uint64, fd int32)
	into     *group // what visit adds holders to, and whose
	pid      int32
}

// socket is what is known of one socket's holders.
type socket struct {
	inode    uint64
	holders  []Holder // by rising pid
	group    *group   // where its holders are looked for
	searches int      // whole searches since it was new, or lost its last holder
	tracked  bool     // it was there in the latest Update
}

// group is a set of processes in which some sockets' holders are looked for.
type group struct {
	list      int // cgroup.procs, kept open; -1 for everyone
	sockets   map[uint64]*socket
	processes []process
	earlier   []process
	listed    time.Time
	mark      uint64 // of births, before the processes were listed
	whole     bool   // every process was looked into
	hidden    bool   // some refused it
}

// NewOwners returns an empty memory that looks for holders in /proc.
func NewOwners() (*Owners, error) {
	p, err := openProc("/proc")
	if err != nil {
		return nil, fmt.Errorf("open /proc: %w", err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		mounts = nil // without control groups everyone is searched
	}
	o := &Owners{
		proc: p, births: OpenBirths(), cgroups: openCgroups(mounts), seesAll: seesAll(),
		sockets: map[uint64]*socket{}, groups: map[uint64]*group{},
		everyone: &group{list: -1, sockets: map[uint64]*socket{}},
		list:     make([]byte, 4096), started: time.Now(),
	}
	o.visit = o.found
	return o, nil
}

// Close frees what is kept open.
func (o *Owners) Close() error {
	for _, g := range o.groups {
		unix.Close(g.list)
	}
	o.cgroups.close()
	o.births.Close()
	return o.proc.close()
}

// seesAll tells whether we may look into every process of the host: we are root
// and in the first pid namespace, whose inode the kernel fixes at 0xEFFFFFFC
// (PROC_PID_INIT_INO).
func seesAll() bool {
	link, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && link == "pid:[4026531836]" && os.Geteuid() == 0
}

// Update brings the memory up to date with the sockets that are there now. An
// error means that /proc could not be listed; what was known before stands.
func (o *Owners) Update(now []Socket) error {
	o.verify()
	o.track(now)
	o.freshen()
	for id, g := range o.groups {
		if len(g.sockets) == 0 || o.search(g) != nil {
			o.disband(id, g)
			continue
		}
		o.widen(g)
	}
	// A process that forks while it is searched may hide a socket in the child;
	// only a second search that finds nobody means that there is nobody.
	for range 2 {
		if err := o.search(o.everyone); err != nil {
			return fmt.Errorf("list processes: %w", err)
		}
		if !o.everyone.lacking() {
			break
		}
	}
	return nil
}

// Holders returns who holds the socket with that cookie, by rising pid. The
// slice is the memory's own, and valid until the next Update.
func (o *Owners) Holders(cookie uint64) ([]Holder, Holding) {
	s := o.sockets[cookie]
	switch {
	case s == nil:
		return nil, Hidden
	case len(s.holders) > 0:
		return s.holders, Held
	case s.inode == 0:
		return nil, Nobody // nothing that a process could have open
	case o.seesAll && s.searches > 1 && o.everyone.whole && !o.everyone.hidden:
		return nil, Nobody
	}
	return nil, Hidden
}

// Knows tells whether that socket was there in the latest Update.
func (o *Owners) Knows(cookie uint64) bool { return o.sockets[cookie] != nil }

// IsManager tells whether a process is a service manager, which opens sockets
// on behalf of services and keeps them open beside them.
func (o *Owners) IsManager(pid int) bool { return o.proc.isManager(int32(pid)) }

// track forgets the sockets that are gone and begins with those that are new.
func (o *Owners) track(now []Socket) {
	for i := range now {
		s := o.sockets[now[i].Cookie]
		if s == nil {
			s = &socket{inode: now[i].Inode}
			o.sockets[now[i].Cookie] = s
			if s.inode != 0 && !o.hinted(now[i].Cookie, s) {
				s.move(o.groupOf(now[i].Cgroup))
			}
		} else if s.inode != 0 && s.group == nil {
			s.join(o.groupOf(now[i].Cgroup))
		}
		s.tracked = true
	}
	for cookie, s := range o.sockets {
		if !s.tracked {
			delete(o.sockets, cookie)
			s.leave()
		}
		s.tracked = false
	}
}

func (o *Owners) groupOf(id uint64) *group {
	if g := o.groups[id]; g != nil {
		return g
	}
	list, err := o.cgroups.open(id)
	if err != nil {
		return o.everyone
	}
	g := &group{list: list, sockets: map[uint64]*socket{}}
	o.groups[id] = g
	return g
}

func (s *socket) move(to *group) {
	s.leave()
	s.group, s.searches = to, 0
	to.sockets[s.inode] = s
}

func (s *socket) leave() {
	if s.group != nil && s.group.sockets[s.inode] == s {
		delete(s.group.sockets, s.inode)
	}
}

// verify drops holders that let go of their socket, or ended.
func (o *Owners) verify() {
	for _, s := range o.sockets {
		kept := s.holders[:0]
		for _, h := range s.holders {
			if o.proc.holds(int32(h.PID), int32(h.FD), s.inode) {
				kept = append(kept, h)
			}
		}
		if len(kept) == 0 && len(s.holders) > 0 {
			s.searches = 0
		}
		s.holders = kept
	}
}

// freshen forgets, now and then, which processes were looked into.
func (o *Owners) freshen() {
	if time.Since(o.started) < max(refresh, rest*o.cost) {
		return
	}
	o.started, o.cost = time.Now(), 0
	o.everyone.processes, o.everyone.listed = o.everyone.processes[:0], time.Time{}
	for _, g := range o.groups {
		g.processes, g.listed = g.processes[:0], time.Time{}
	}
}

// widen hands the sockets for which a control group was the wrong guide over to
// the search among everyone.
func (o *Owners) widen(g *group) {
	for _, s := range g.sockets {
		managed := func(h Holder) bool { return o.IsManager(h.PID) }
		if len(s.holders) == 0 || (s.searches == 1 && slices.ContainsFunc(s.holders, managed)) {
			s.move(o.everyone)
		}
	}
}

// disband ends the search in a control group that is gone or has no sockets
// left to look for.
func (o *Owners) disband(id uint64, g *group) {
	for _, s := range g.sockets {
		s.move(o.everyone)
	}
	unix.Close(g.list)
	delete(o.groups, id)
}

// search looks into the processes of g that were not looked into before; into
// all of them if a socket is new. The newest come first: who just began to
// listen has often just started.
func (o *Owners) search(g *group) error {
	if len(g.sockets) == 0 {
		return nil
	}
	begun, mark := time.Now(), o.births.Mark()
	if mark == g.mark && begun.Sub(g.listed) < stillness && g.whole && !g.unsearched() {
		g.searched()
		return nil
	}
	if err := o.enumerate(g); err != nil {
		return err
	}
	g.listed, g.mark = begun, mark
	g.whole, g.hidden = true, false
	for i := len(g.processes) - 1; i >= 0; i-- {
		p := &g.processes[i]
		if !p.searched {
			if time.Since(begun) > patience && !g.lacking() {
				g.whole = false
				break
			}
			o.into, o.pid = g, p.pid
			err := o.proc.descriptors(p.pid, o.visit)
			p.searched, p.hidden = true, err == unix.EACCES || err == unix.EPERM
		}
		g.hidden = g.hidden || p.hidden
	}
	g.searched()
	if g == o.everyone {
		o.cost += time.Since(begun)
	}
	return nil
}

// searched counts a search for the sockets of g.
func (g *group) searched() {
	for _, s := range g.sockets {
		s.searches++
	}
}

// enumerate lists the processes of g. Those that were searched earlier count as
// searched, unless there is a socket that nobody was searched for.
func (o *Owners) enumerate(g *group) (err error) {
	g.earlier, g.processes = g.processes, g.earlier[:0]
	if g.list >= 0 {
		g.processes, err = members(g.list, o.list, g.processes)
	} else {
		g.processes, err = o.proc.processes(g.processes)
	}
	if err != nil || g.unsearched() {
		return err
	}
	before := g.earlier
	for i := range g.processes {
		p := &g.processes[i]
		for len(before) > 0 && before[0].pid < p.pid {
			before = before[1:]
		}
		if len(before) > 0 && before[0].pid == p.pid && before[0].inode == p.inode {
			p.searched, p.hidden = before[0].searched, before[0].hidden
		}
	}
	return nil
}

// lacking tells whether a socket of g has no holder and might yet have one.
func (g *group) lacking() bool {
	for _, s := range g.sockets {
		if s.searches < 2 && len(s.holders) == 0 {
			return true
		}
	}
	return false
}

// unsearched tells whether there is a socket of g that not everybody was
// searched for.
func (g *group) unsearched() bool {
	for _, s := range g.sockets {
		if s.searches == 0 {
			return true
		}
	}
	return g.lacking()
}

// found notes that o.pid holds the socket with that inode.
func (o *Owners) found(inode uint64, fd int32) {
	s := o.into.sockets[inode]
	if s == nil {
		return
	}
	at, known := slices.BinarySearchFunc(s.holders, int(o.pid), func(h Holder, pid int) int { return h.PID - pid })
	if !known {
		s.holders = slices.Insert(s.holders, at, Holder{PID: int(o.pid), FD: int(fd)})
	}
}
