package platform

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
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

// cut ends what is not kept, and makes known what is.
func (r *region) cut(ctx context.Context, out *findings) error {
	began := time.Now()
	for try := 0; ; try++ {
		last := try == cutTries || time.Since(began) > cutTime || ctx.Err() != nil
		e := r.startEnding()
		seen, err := r.look(func(s *live.Socket) {
			if !last && !r.dead[s.Cookie] {
				e.end(s)
			}
		})
		if err == nil && try == 0 {
			err = r.makeKnown(seen.kept)
		}
		if err := errors.Join(err, e.finish()); err != nil {
			return err
		}
		if last || e.count == 0 {
			r.report(seen, out)
			if err := ctx.Err(); err != nil {
				return err
			}
			return r.forget(seen, out)
		}
	}
}

// report tells what came of it.
func (r *region) report(seen sight, out *findings) {
	out.ended += len(r.asked) - len(r.dead)
	for _, s := range seen.ends {
		if r.dead[s.Cookie] {
			continue
		}
		if r.asked[s.Cookie] {
			out.ended--
		}
		out.live = append(out.live, r.connection(s))
	}
	if len(seen.alone) > 0 {
		out.alone = append(out.alone, held{r, seen.alone})
	}
}

// ending ends sockets while others are still read: either is the kernel's work,
// and takes about as long.
type ending struct {
	region  *region
	batch   []*live.Socket
	batches chan []*live.Socket
	done    chan struct{}
	count   int

	refused map[refusal][]*live.Socket
	err     error
}

func (r *region) startEnding() *ending {
	e := &ending{
		region: r, batch: make([]*live.Socket, 0, live.Batch), batches: make(chan []*live.Socket, 8),
		done: make(chan struct{}), refused: map[refusal][]*live.Socket{},
	}
	go func() {
		defer close(e.done)
		for list := range e.batches {
			err := r.sockets.Destroy(list, func(s *live.Socket, err unix.Errno) {
				why := refusalOf(s, err)
				e.refused[why] = append(e.refused[why], s)
				if why == forbidden {
					e.err = err
				}
			})
			e.err = cmp.Or(e.err, err)
		}
	}()
	return e
}

func (e *ending) end(s *live.Socket) {
	e.region.asked[s.Cookie] = true
	e.count++
	if e.batch = append(e.batch, s); len(e.batch) == cap(e.batch) {
		e.flush()
	}
}

func (e *ending) flush() {
	if len(e.batch) > 0 {
		e.batches <- e.batch
	}
	e.batch = make([]*live.Socket, 0, live.Batch)
}

// finish waits until all are ended, and learns from what the kernel refused.
func (e *ending) finish() error {
	e.flush()
	close(e.batches)
	<-e.done
	for _, s := range e.refused[harmless] {
		e.region.dead[s.Cookie] = true
	}
	for _, s := range e.refused[unable] {
		lack := fmt.Sprintf("%s connections of this computer cannot be ended, and may go on after the release: this kernel has no SOCK_DESTROY for them (INET_DIAG_DESTROY)", protocolOf(s.Protocol))
		if !slices.Contains(e.region.lacks, lack) {
			e.region.lacks = append(e.region.lacks, lack)
		}
	}
	return e.err
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
func (r *region) endAlone(list []*live.Socket, out *findings) error {
	before := len(r.lacks)
	e := r.startEnding()
	for _, s := range list {
		e.end(s)
	}
	if err := e.finish(); err != nil {
		return err
	}
	if len(r.lacks) > before {
		out.lacks = append(out.lacks, r.lacks[before:]...)
		for _, s := range list {
			out.live = append(out.live, r.connection(s))
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
