package platform

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/live"
	"github.com/firebreak-sec/firebreak/platform/sockets"
)

const (
	// cutTries and cutTime bound how often sockets are looked for again that
	// should be gone, or that came meanwhile.
	cutTries = 5
	cutTime  = time.Second
)

// region is one network namespace while its connections are looked at or ended.
type region struct {
	iso       Isolation
	name      string // "": the host's own
	away      bool
	sockets   *live.Sockets
	tracking  *live.Tracking // nil: this kernel tells nothing of it
	addresses map[netip.Addr]bool
	ports     *sockets.UDPServices
	groups    sockets.Groups
	units     map[uint64]bool // whether a control group is of a kept unit
	lacks     []string

	all     []live.Socket
	tracked []live.Flow
	asked   map[uint64]bool // the sockets, by cookie, that the kernel was told to end
	dead    map[uint64]bool // those of them that send nothing any more and need not go
}

// openRegion opens the namespace of the calling thread. The lines stay in it.
func openRegion(iso Isolation, name string, away bool) (*region, error) {
	r := &region{
		iso: iso, name: name, away: away, ports: newUDPServices(),
		groups: sockets.OpenGroups(), units: map[uint64]bool{},
		asked: map[uint64]bool{}, dead: map[uint64]bool{},
	}
	var err error
	if r.addresses, err = live.Addresses(); err == nil {
		r.sockets, err = live.OpenSockets()
	}
	if err != nil {
		r.close()
		return nil, err
	}
	if r.tracking, err = live.OpenTracking(); err != nil {
		r.noTracking(err)
	}
	return r, nil
}

func (r *region) close() {
	r.groups.Close()
	if r.sockets != nil {
		r.sockets.Close()
	}
	if r.tracking != nil {
		r.tracking.Close()
	}
}

func (r *region) noTracking(err error) {
	r.lacks = append(r.lacks, fmt.Sprintf("flows that the kernel tracks are not forgotten: this kernel does not tell of them (nf_conntrack_netlink): %v", err))
	if r.tracking != nil {
		r.tracking.Close()
		r.tracking = nil
	}
}

// sight is what the isolation means for the sockets and flows of a namespace.
type sight struct {
	ends  []live.Socket // connected, and not kept
	alone []live.Socket // without a peer, and not kept unless by the kernel itself
	kept  []keptSession
	flows map[int]bool // their flows, by place in tracked
}

// keptSession is a connection that is kept.
type keptSession struct {
	session
	state uint8
	flow  int  // its place in tracked, or -1
	wrong bool // connection tracking takes it for one of the other direction
}

// place is where somebody may listen.
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

// look reads the sockets and, the first time, the flows.
func (r *region) look() (sight, error) {
	if r.tracking != nil && r.tracked == nil {
		var err error
		if r.tracked, err = r.tracking.List(nil); err != nil {
			if errors.Is(err, os.ErrPermission) {
				return sight{}, err
			}
			r.noTracking(err)
		}
	}
	r.all = r.all[:0]
	for _, protocol := range []uint8{live.TCP, live.UDP} {
		var err error
		r.all, err = r.sockets.List(protocol, r.all)
		if errors.Is(err, unix.ENOENT) {
			r.lacks = append(r.lacks, fmt.Sprintf("connections of this computer cannot be ended: this kernel does not tell of %s sockets (INET_DIAG)", protocolOf(protocol)))
			err = nil
		}
		if err != nil {
			return sight{}, err
		}
	}
	return r.judge(), nil
}

// judge parts the sockets into those that end and those that are kept.
func (r *region) judge() sight {
	var out sight
	listening := map[listenPlace]bool{}
	var candidates []candidate
	for i := range r.all {
		s := &r.all[i]
		if s.State == live.Listening || isAlone(s) {
			listening[listenPlace{s.Protocol, s.Local}] = true
		}
		if s.State == live.Listening || (s.Protocol == live.UDP && r.asked[s.Cookie]) {
			continue
		}
		switch c := r.session(s); {
		case c.inner:
		case isAlone(s):
			if !kept(r.iso, c) {
				out.alone = append(out.alone, *s)
			}
		case r.away || !mayBeKept(r.iso, c):
			out.ends = append(out.ends, *s)
		default:
			candidates = append(candidates, candidate{session: c, socket: s, flow: -1})
		}
	}
	r.findFlows(candidates)
	out.flows = map[int]bool{}
	for _, c := range candidates {
		listens := slices.ContainsFunc([]netip.Addr{c.socket.Local.Addr(), netip.IPv4Unspecified(), netip.IPv6Unspecified()}, func(a netip.Addr) bool {
			return listening[listenPlace{c.socket.Protocol, netip.AddrPortFrom(a, c.socket.Local.Port())}]
		})
		c.inbound = madeByPeer(listens, c.tracked, r.ports.HandedOut(c.socket.Local.Port()))
		if !kept(r.iso, c.session) {
			out.ends = append(out.ends, *c.socket)
			continue
		}
		wrong := c.tracked.known && c.tracked.inbound != c.inbound
		out.kept = append(out.kept, keptSession{c.session, c.socket.State, c.flow, wrong})
		out.flows[c.flow] = true
	}
	return out
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

// cut ends what is not kept, and makes known what is.
func (r *region) cut(ctx context.Context, out *findings) error {
	began := time.Now()
	var seen sight
	for try := 0; ; try++ {
		var err error
		if seen, err = r.look(); err != nil {
			return err
		}
		if try == 0 {
			if err := r.makeKnown(seen.kept); err != nil {
				return err
			}
		}
		seen.ends = slices.DeleteFunc(seen.ends, func(s live.Socket) bool { return r.dead[s.Cookie] })
		if len(seen.ends) == 0 || try == cutTries || time.Since(began) > cutTime || ctx.Err() != nil {
			break
		}
		if err := r.destroy(seen.ends); err != nil {
			return err
		}
	}
	out.ended += len(r.asked) - len(r.dead)
	for _, s := range seen.ends {
		if r.asked[s.Cookie] {
			out.ended--
		}
		out.live = append(out.live, r.connection(&s))
	}
	if len(seen.alone) > 0 {
		out.alone = append(out.alone, held{r, seen.alone})
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.forget(seen, out)
}

// destroy tells the kernel to end the sockets.
func (r *region) destroy(list []live.Socket) error {
	for i := range list {
		r.asked[list[i].Cookie] = true
	}
	var fatal error
	err := r.sockets.Destroy(list, func(s *live.Socket, err unix.Errno) {
		switch refusalOf(s, err) {
		case harmless:
			r.dead[s.Cookie] = true
		case forbidden:
			fatal = err
		case unable:
			lack := fmt.Sprintf("%s connections of this computer cannot be ended, and may go on after the release: this kernel has no SOCK_DESTROY for them (INET_DIAG_DESTROY)", protocolOf(s.Protocol))
			if !slices.Contains(r.lacks, lack) {
				r.lacks = append(r.lacks, lack)
			}
		}
	})
	if err == nil {
		err = fatal
	}
	return err
}

// refusal is why the kernel did not end a socket.
type refusal int

const (
	passing   refusal = iota // it was gone, or will be found again
	harmless                 // it is not there for any program, and sends nothing
	forbidden                // CAP_NET_ADMIN is missing
	unable                   // the kernel ends none of its kind
)

func refusalOf(s *live.Socket, err unix.Errno) refusal {
	switch {
	case err == unix.EPERM || err == unix.EACCES:
		return forbidden
	case err == unix.EOPNOTSUPP && s.State == live.TimeWait:
		return harmless // older kernels leave it to end by itself
	case err == unix.EOPNOTSUPP || err == unix.EINVAL:
		return unable
	}
	return passing
}

// endAlone ends UDP sockets without a peer, once: they stay with their programs.
func (r *region) endAlone(list []live.Socket, out *findings) error {
	before := len(r.lacks)
	if err := r.destroy(list); err != nil {
		return err
	}
	if len(r.lacks) > before {
		out.lacks = append(out.lacks, r.lacks[before:]...)
		for _, s := range list {
			out.live = append(out.live, r.connection(&s))
		}
		return nil
	}
	out.ended += len(list)
	return nil
}

// makeKnown enters kept connections into connection tracking that it does not
// know, or knows as of the wrong direction: the rules judge by direction, and
// would take the first packet that is seen for the beginning.
func (r *region) makeKnown(list []keptSession) error {
	if r.tracking == nil {
		return nil
	}
	var wrong, unmarked []live.Flow
	var missing []live.Entry
	for _, k := range list {
		var mark uint32
		if k.program && !k.inbound {
			mark = keptMark
		}
		switch {
		case k.flow >= 0 && !k.wrong:
			if f := r.tracked[k.flow]; f.Mark&mark != mark {
				unmarked = append(unmarked, f)
			}
			continue
		case k.wrong:
			wrong = append(wrong, r.tracked[k.flow])
		}
		if k.state == live.SynSent || k.state == live.TimeWait {
			continue // the next SYN makes it known; there is nothing to come
		}
		e := live.Entry{Protocol: numberOf(k.protocol), Original: live.Tuple{Source: k.local, Dest: k.remote}, Mark: mark}
		e.Opening = k.protocol == TCP && (k.state == live.SynReceived || k.state == live.NewSynReceived)
		if k.inbound {
			e.Original = e.Original.Inverse()
		}
		missing = append(missing, e)
	}
	if _, err := r.tracking.Forget(wrong); err != nil {
		return err
	}
	return errors.Join(r.tracking.Enter(missing), r.tracking.Mark(unmarked, keptMark))
}

// forget removes the flows that are not kept. What the rules drop is never
// entered, so none comes back.
func (r *region) forget(seen sight, out *findings) error {
	if r.tracking == nil {
		return nil
	}
	var list []live.Flow
	for i, f := range r.tracked {
		if !seen.flows[i] && !kept(r.iso, r.flowSession(&f)) {
			list = append(list, f)
		}
	}
	gone, err := r.tracking.Forget(list)
	out.flows += gone
	return err
}

// flowSession is a flow as a session of this namespace. What is only forwarded
// is one without a protocol, which nobody keeps.
func (r *region) flowSession(f *live.Flow) session {
	from, to := f.Original.Source, f.Original.Dest
	switch {
	case r.isLocal(from.Addr()) && r.isLocal(to.Addr()):
		return session{inner: true}
	case r.isLocal(from.Addr()) || from.Addr().IsUnspecified():
		return session{protocol: protocolOf(f.Protocol), local: from, remote: to, away: r.away}
	case r.isLocal(f.Reply.Source.Addr()):
		return session{protocol: protocolOf(f.Protocol), local: to, remote: from, away: r.away, inbound: true}
	}
	return session{remote: to, away: r.away}
}

func (r *region) connection(s *live.Socket) Connection {
	return Connection{Protocol: protocolOf(s.Protocol), Local: s.Local, Remote: s.Remote, NetNS: r.name, UID: s.UID}
}

// protocolOf is "" for what is neither TCP nor UDP.
func protocolOf(number uint8) Protocol {
	switch number {
	case live.TCP:
		return TCP
	case live.UDP:
		return UDP
	}
	return ""
}

func numberOf(p Protocol) uint8 {
	if p == TCP {
		return live.TCP
	}
	return live.UDP
}
