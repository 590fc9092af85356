package platform

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/sockets"
)

const (
	// walkEvery is how often every process is asked for its network namespace. In
	// between only those are that are new: one may leave for a namespace of its own
	// later, which nothing tells.
	walkEvery = time.Minute
	// youngFor is how long a process counts as new: what starts a container makes
	// the process first and its namespace then.
	youngFor = 10 * time.Second
	// mostSpaces bounds how many network namespaces are looked into, each with a
	// socket that stays open.
	mostSpaces = 1024
	// quietFor is how long what was read of a namespace holds at most while the kernel
	// tells that nothing happens there.
	quietFor = 10 * time.Second
)

// netSpace is a network namespace beside the agent's own, looked into through a
// socket that was opened there.
type netSpace struct {
	inode uint32
	name  string // as in Listener.NetNS
	diag  *sockets.Reader
	udp   *sockets.UDPServices
	last  []sockets.Socket
	read  time.Time // when last was read
	era   int       // of the news then
}

// netSpaces are the network namespaces of this host beside the agent's own. An
// agent that is confined to a part of the host has to do with none of them.
type netSpaces struct {
	confined bool
	births   *sockets.Births
	mark     uint64        // of births, when the processes were last asked
	settled  bool          // none of them was new then
	news     *sockets.News // or nil
	learn    func()        // called inside each namespace that is entered; or nil
	open     map[uint32]*netSpace
	since    map[int]time.Time // when a process was first seen
	walked   time.Time
	denied   bool             // there are processes of others, which only root sees into
	barred   map[uint32]error // namespaces that could not be entered
	surplus  int              // namespaces beyond mostSpaces
}

func newNetSpaces() *netSpaces {
	part, err := confined()
	return &netSpaces{
		confined: part || err != nil, births: sockets.OpenBirths(),
		open: map[uint32]*netSpace{}, since: map[int]time.Time{}, barred: map[uint32]error{},
	}
}

func (n *netSpaces) close() {
	n.leave()
	n.births.Close()
}

// leave lets go of every namespace, to enter each of them anew.
func (n *netSpaces) leave() {
	for _, s := range n.open {
		s.diag.Close()
	}
	clear(n.open)
	n.walked = time.Time{}
}

// refresh finds namespaces that are new, and lets go of those that nobody is in.
func (n *netSpaces) refresh(now time.Time) error {
	if n.confined {
		return nil
	}
	if now.Sub(n.walked) < walkEvery && !now.Before(n.walked) {
		return n.seeNew(now)
	}
	text, err := os.ReadFile(mountsFile)
	if err != nil {
		return fmt.Errorf("find network namespaces: %w", err)
	}
	mounts := parseMounts(string(text))
	all, denied, err := otherNamespaces(mounts)
	if err != nil {
		return fmt.Errorf("find network namespaces: %w", err)
	}
	n.walked, n.denied = now, denied
	there := map[uint32]bool{}
	for _, s := range all {
		there[s.inode()] = true
	}
	for inode, s := range n.open {
		if !there[inode] {
			s.diag.Close()
			delete(n.open, inode)
		}
	}
	clear(n.barred)
	return n.enter(all, mounts)
}

// seeNew asks the processes that were not there before.
func (n *netSpaces) seeNew(now time.Time) error {
	mark := n.births.Mark()
	if n.settled && mark == n.mark {
		return nil
	}
	processes, err := numbersIn("/proc")
	if err != nil {
		return fmt.Errorf("find network namespaces: %w", err)
	}
	own, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("find network namespaces: %w", err)
	}
	since := make(map[int]time.Time, len(processes))
	var found []namespace
	seen := map[string]bool{own: true}
	n.mark, n.settled = mark, true
	for _, pid := range processes {
		first, known := n.since[pid]
		if !known {
			first = now
		}
		since[pid] = first
		if now.Sub(first) > youngFor {
			continue
		}
		n.settled = false
		at := "/proc/" + strconv.Itoa(pid) + "/ns/net"
		if id, err := os.Readlink(at); err == nil && !seen[id] {
			seen[id] = true
			found = append(found, namespace{id: id, path: at, pid: pid})
		}
	}
	n.since = since
	return n.enter(found, nil)
}

// enter opens a socket in each of the namespaces that has none yet.
func (n *netSpaces) enter(all []namespace, mounts []mount) error {
	var fresh []namespace
	n.surplus = 0
	for _, s := range all {
		inode := s.inode()
		switch {
		case inode == 0 || n.open[inode] != nil || n.barred[inode] != nil:
		case len(n.open)+len(fresh) >= mostSpaces:
			n.surplus++
		default:
			fresh = append(fresh, s)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if mounts == nil {
		text, err := os.ReadFile(mountsFile)
		if err != nil {
			return fmt.Errorf("name network namespaces: %w", err)
		}
		mounts = parseMounts(string(text))
	}
	return inNamespaces(fresh, func(s namespace, err error) {
		var diag *sockets.Reader
		if err == nil {
			diag, err = sockets.Open()
		}
		switch {
		case err == nil:
			if n.learn != nil {
				n.learn()
			}
			udp := newUDPServices()
			udp.Heed(n.news)
			n.open[s.inode()] = &netSpace{inode: s.inode(), name: s.mountName(mounts), diag: diag, udp: udp}
		case !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESRCH): // those are gone
			n.barred[s.inode()] = err
		}
	})
}

// read appends the sockets of every namespace, with where they are. What was read
// of a quiet one less than holds ago stands.
func (n *netSpaces) read(into []sockets.Socket, now time.Time, holds time.Duration) ([]sockets.Socket, error) {
	for _, s := range n.open {
		if now.Sub(s.read) >= holds || now.Before(s.read) || !n.news.Quiet(s.inode, s.read, s.era) {
			if err := s.look(now, n.news.Told()); err != nil {
				return into, err
			}
		}
		into = append(into, s.last...)
	}
	return into, nil
}

// look reads the sockets of the namespace.
func (s *netSpace) look(now time.Time, era int) error {
	var err error
	if s.last, err = s.diag.Read(s.last[:0]); err != nil {
		s.read = time.Time{}
		return fmt.Errorf("look into network namespace %s: %w", s.name, err)
	}
	for i := range s.last {
		s.last[i].NetNS = s.inode
	}
	s.read, s.era = now, era
	return nil
}

// gaps say which namespaces cannot be looked into.
func (n *netSpaces) gaps() []Gap {
	var gaps []Gap
	lack := func(format string, args ...any) {
		gaps = append(gaps, Gap{Part: PartListeners, Partial: true, Reason: fmt.Sprintf(format, args...)})
	}
	var why error
	for _, err := range n.barred {
		why = cmp.Or(why, err)
	}
	switch {
	case n.denied:
		lack("open ports inside containers are not visible to this user: repeat with sudo")
	case why != nil:
		lack("open ports in %d network namespaces, such as those of containers, cannot be seen: %v", len(n.barred), why)
	}
	if n.surplus > 0 {
		lack("open ports in %d network namespaces are not looked for: there are more than %d", n.surplus, mostSpaces)
	}
	return gaps
}

// inode is the number by which the kernel tells a namespace from others; 0 if the
// ID is not one.
func (n namespace) inode() uint32 {
	digits, ok := strings.CutPrefix(n.id, "net:[")
	number, err := strconv.ParseUint(strings.TrimSuffix(digits, "]"), 10, 32)
	if !ok || err != nil {
		return 0
	}
	return uint32(number)
}

// mountName is the name that "ip netns add" gave a namespace, or its ID.
func (n namespace) mountName(mounts []mount) string {
	for _, m := range mounts {
		if m.kind == "nsfs" && m.root == n.id && path.Base(path.Dir(m.path)) == "netns" {
			return path.Base(m.path)
		}
	}
	return n.id
}
