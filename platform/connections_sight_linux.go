package platform

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/live"
)

// sight is what the isolation means for the sockets of a namespace.
type sight struct {
	ends  []*live.Socket // connected, and not kept
	alone []*live.Socket // without a peer, and not kept unless by the kernel itself
	kept  []keptSession
	flows map[int]bool // their flows, by place in tracked

	clear      func(*live.Socket) // hears of ends while others are still read
	listening  map[listenPlace]bool
	candidates []candidate
}

// keptSession is a connection that is kept.
type keptSession struct {
	session
	state uint8
	flow  int  // its place in tracked, or -1
	wrong bool // connection tracking takes it for one of the other direction
}

// listenPlace is where somebody may listen.
type listenPlace struct {
	protocol uint8
	at       netip.AddrPort
}

// candidate is a connection that may be kept, depending on who made it.
type candidate struct {
	session
	socket  *live.Socket
	flow    int
	tracked direction
}

// look reads the sockets and, the first time, the flows. It calls clear for what
// ends whoever made it, as soon as it is read.
func (r *region) look(clear func(*live.Socket)) (sight, error) {
	if r.tracking != nil && r.tracked == nil {
		var err error
		if r.tracked, err = r.tracking.List(nil); err != nil {
			if errors.Is(err, os.ErrPermission) {
				return sight{}, err
			}
			r.noTracking(err)
		}
	}
	seen := sight{clear: clear, listening: map[listenPlace]bool{}}
	for _, protocol := range []uint8{live.TCP, live.UDP} {
		err := r.sockets.List(protocol, func(s *live.Socket) { r.judge(s, &seen) })
		if errors.Is(err, unix.ENOENT) {
			r.lacks = append(r.lacks, fmt.Sprintf("connections of this computer cannot be ended: this kernel does not tell of %s sockets (INET_DIAG)", protocolOf(protocol)))
			err = nil
		}
		if err != nil {
			return sight{}, err
		}
	}
	r.judgeCandidates(&seen)
	return seen, nil
}

// judge puts a socket where it belongs, or among the candidates if that depends
// on sockets that are still to be read.
func (r *region) judge(s *live.Socket, seen *sight) {
	if s.State == live.Listening || isAlone(s) {
		seen.listening[listenPlace{s.Protocol, s.Local}] = true
	}
	if s.State == live.Listening || (s.Protocol == live.UDP && r.asked[s.Cookie]) {
		return
	}
	switch c := r.session(s); {
	case c.inner:
	case isAlone(s):
		if !kept(r.iso, c) {
			seen.alone = append(seen.alone, s)
		}
	case r.away || !mayBeKept(r.iso, c):
		seen.ends = append(seen.ends, s)
		seen.clear(s)
	default:
		seen.candidates = append(seen.candidates, candidate{session: c, socket: s, flow: -1})
	}
}

func (r *region) judgeCandidates(seen *sight) {
	r.findFlows(seen.candidates)
	seen.flows = map[int]bool{}
	for _, c := range seen.candidates {
		local := c.socket.Local
		listens := slices.ContainsFunc([]netip.Addr{local.Addr(), netip.IPv4Unspecified(), netip.IPv6Unspecified()}, func(a netip.Addr) bool {
			return seen.listening[listenPlace{c.socket.Protocol, netip.AddrPortFrom(a, local.Port())}]
		})
		c.inbound = madeByPeer(listens, c.tracked, r.ports.HandedOut(local.Port()))
		if !kept(r.iso, c.session) {
			seen.ends = append(seen.ends, c.socket)
			seen.clear(c.socket)
			continue
		}
		wrong := c.tracked.known && c.tracked.inbound != c.inbound
		seen.kept = append(seen.kept, keptSession{c.session, c.socket.State, c.flow, wrong})
		seen.flows[c.flow] = true
	}
}

// session is what is known of a socket before it is known who made it.
func (r *region) session(s *live.Socket) session {
	out := session{protocol: protocolOf(s.Protocol), local: s.Local, away: r.away}
	if isAlone(s) {
		out.inner = s.Local.Addr().IsLoopback()
		out.service = !r.ports.HandedOut(s.Local.Port())
	} else {
		out.remote = s.Remote
		out.inner = r.isLocal(s.Remote.Addr())
	}
	if !r.away && !out.inner {
		out.program = slices.Contains(r.iso.Users, s.UID) || r.isOfUnit(s.Cgroup)
	}
	return out
}

// isAlone tells whether the socket is one of UDP without a peer.
func isAlone(s *live.Socket) bool { return s.Protocol == live.UDP && s.State == live.Closed }

func (r *region) isLocal(a netip.Addr) bool { return a.IsLoopback() || r.addresses[a] }

// isOfUnit asks for the control group in which the socket was made, which is
// what the rules match. Kernels that do not tell it cannot match it either.
func (r *region) isOfUnit(group uint64) bool {
	if len(r.iso.Units) == 0 || group == 0 {
		return false
	}
	is, known := r.units[group]
	if !known {
		is = slices.Contains(r.iso.Units, unitOfGroup(r.groups.Path(group)))
		r.units[group] = is
	}
	return is
}

// unitOfGroup is the unit of the system's service manager that a control group
// belongs to, by its path. What is below a service or a session could be given
// any name by whoever it belongs to, so the first part that is no slice counts.
func unitOfGroup(path string) string {
	for part := range strings.SplitSeq(path, "/") {
		if !strings.HasSuffix(part, ".slice") {
			return unescapeCgroup(part)
		}
	}
	return ""
}

// findFlows finds what connection tracking says of the candidates. Where it
// redirects what a peer connects to, the peer's own view is what counts.
func (r *region) findFlows(candidates []candidate) {
	type end struct {
		protocol uint8
		live.Tuple
	}
	ends := make(map[end]int, len(candidates))
	for i, c := range candidates {
		ends[end{c.socket.Protocol, live.Tuple{Source: c.socket.Local, Dest: c.socket.Remote}}] = i
	}
	if len(ends) == 0 {
		return
	}
	for i, f := range r.tracked {
		rewritten := f.Reply != f.Original.Inverse()
		if at, ok := ends[end{f.Protocol, f.Original}]; ok {
			candidates[at].flow, candidates[at].tracked = i, direction{known: true, rewritten: rewritten}
		} else if at, ok := ends[end{f.Protocol, f.Reply}]; ok {
			c := &candidates[at]
			c.flow, c.tracked = i, direction{known: true, inbound: true, rewritten: rewritten}
			c.local = f.Original.Dest
		}
	}
}
