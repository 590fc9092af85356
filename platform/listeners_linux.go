package platform

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/platform/bpf"
	"github.com/firebreak-sec/firebreak/platform/packages"
	"github.com/firebreak-sec/firebreak/platform/sockets"
)

// listenerReader reads the listeners of the network namespace it was made in and
// of all others of the host, and remembers their owners from one reading to the
// next.
type listenerReader struct {
	diag     *sockets.Reader
	others   *netSpaces
	owners   *sockets.Owners
	udp      *sockets.UDPServices
	book     *processBook
	users    userNames
	units    *socketUnits
	kernel   *kernelUnits
	packages *packages.Index
	wall     *wallReader
	news     *sockets.News    // or nil
	era      int              // of the news
	chosen   *bpf.Asked       // which UDP sockets chose their port; or nil
	all      []sockets.Socket // this and wanted are kept to be filled again
	wanted   []sockets.Socket
	holding  []*processFacts  // kept likewise
	pids     map[uint64][]int // who held a socket at the last look, by its cookie
	told     map[uint64][]int // and at this one
	hidden   map[uint64]bool  // sockets of which nobody is seen to hold them, however often one looks
	asked    bool             // owners were looked for before
}

func newListenerReader() (*listenerReader, error) {
	diag, err := sockets.Open()
	if err != nil {
		return nil, err
	}
	owners, err := sockets.NewOwners()
	if err != nil {
		diag.Close()
		return nil, err
	}
	return &listenerReader{
		diag: diag, others: newNetSpaces(), owners: owners, udp: newUDPServices(),
		book: newProcessBook(), units: newSocketUnits(), kernel: newKernelUnits(), packages: packages.New(""),
		wall: newWallReader(), pids: map[uint64][]int{}, told: map[uint64][]int{}, hidden: map[uint64]bool{},
	}, nil
}

// newUDPServices starts from the ports that the kernel hands out at this moment
// in this network namespace.
func newUDPServices() *sockets.UDPServices {
	text := func(name string) string {
		data, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
		if err != nil {
			return ""
		}
		return string(data)
	}
	return sockets.NewUDPServices(text("ip_local_port_range"), text("ip_local_reserved_ports"))
}

// heed lets the reader make use of what the kernel tells, and ask it of what was
// there before it told. Where it cannot be asked, such UDP sockets are judged by what
// they do.
func (r *listenerReader) heed(news *sockets.News, kernel bpf.Kernel) {
	r.news, r.others.news = news, news
	r.owners.Heed(news)
	r.udp.Heed(news)
	if os.Geteuid() != 0 {
		return // only root may ask
	}
	chosen, err := bpf.OpenAsked(kernel)
	if err != nil {
		return
	}
	r.chosen, r.others.learn = chosen, r.learn
}

// learn asks of the UDP sockets in the network namespace of the calling thread. What
// cannot be read is not known, as before.
func (r *listenerReader) learn() { _ = r.chosen.Read(r.news.Bound) }

// catchUp learns what was there before the kernel told of everything; each time, if
// it does not tell.
func (r *listenerReader) catchUp() {
	era := r.news.Told()
	if r.chosen == nil || era != 0 && era == r.era {
		return
	}
	r.learn()
	if era != r.era {
		r.others.leave()
	}
	r.era = era
}

func (r *listenerReader) close() {
	r.diag.Close()
	if r.chosen != nil {
		_ = r.chosen.Close() // nothing is lost with what only reads
	}
	r.others.close()
	r.owners.Close()
	r.wall.close()
}

// read returns the listeners by port. With owners, what could not be seen of
// them becomes gaps.
func (r *listenerReader) read(ctx context.Context, owners bool) ([]Listener, []Gap, error) {
	now := time.Now()
	r.catchUp()
	all, err := r.diag.Read(r.all[:0])
	if err != nil {
		return nil, nil, err
	}
	r.udp.Look(all, now)
	var gaps []Gap
	if all, err = r.readOthers(all, now); err != nil {
		gaps = append(gaps, Gap{Part: PartListeners, Partial: true, Reason: "open ports of containers cannot all be seen: " + err.Error()})
	}
	gaps = append(gaps, r.others.gaps()...)
	r.all = all
	interfaces, networked := interfaceNames()
	var found []Listener
	if owners {
		var unseen []Gap
		found, unseen = r.listenersAndOwners(ctx, interfaces)
		gaps = append(gaps, unseen...)
	} else {
		found = r.listeners(interfaces)
	}
	found = slices.DeleteFunc(found, func(l Listener) bool { return !r.serves(l) })
	slices.SortFunc(found, func(a, b Listener) int { return cmp.Compare(a.NetNS, b.NetNS) })
	own := slices.IndexFunc(found, func(l Listener) bool { return l.NetNS != "" })
	if own < 0 {
		own = len(found)
	}
	elsewhere := found[own:]
	for i := range elsewhere {
		// Which interfaces there are, and what a firewall there lets in, is not known.
		elsewhere[i].Reach = reachOf(elsewhere[i], true)
	}
	found = slices.Concat(r.wall.judge(ctx, slices.Clone(found[:own]), networked), elsewhere)
	slices.SortFunc(found, compareListeners)
	return found, gaps, nil
}

// listeners makes listeners of those sockets that may be ones.
func (r *listenerReader) listeners(interfaces map[int]string) []Listener {
	found := make([]Listener, 0, len(r.all))
	for i := range r.all {
		if s := &r.all[i]; r.mayServe(s) {
			found = append(found, r.listenerFrom(s, interfaces))
		}
	}
	return found
}

// listenersAndOwners returns the listeners with who owns them, and what of that
// could not be seen.
func (r *listenerReader) listenersAndOwners(ctx context.Context, interfaces map[int]string) ([]Listener, []Gap) {
	var found []Listener
	var gaps []Gap
	for range 3 {
		if err := r.findHolders(); err != nil {
			return r.listeners(interfaces), []Gap{{Part: PartOwners, Reason: "the owners of ports cannot be seen: " + err.Error()}}
		}
		var stale bool
		found = r.listeners(interfaces)
		if gaps, stale = r.tellOwners(ctx, found); !stale {
			break
		}
	}
	clear(r.hidden)
	for i := range found {
		if l := &found[i]; l.Owner.PID == 0 && !l.Owner.Kernel {
			r.hidden[l.Cookie] = true
		}
	}
	return found, gaps
}

// readOthers appends the sockets of the other network namespaces.
func (r *listenerReader) readOthers(all []sockets.Socket, now time.Time) ([]sockets.Socket, error) {
	err := r.others.refresh(now)
	all, errRead := r.others.read(all, now, quietFor)
	for _, s := range r.others.open {
		s.udp.Look(inSpace(all, s.inode), now)
	}
	return all, errors.Join(err, errRead)
}

// inSpace returns the sockets of one namespace, which stand together.
func inSpace(all []sockets.Socket, inode uint32) []sockets.Socket {
	is := func(s sockets.Socket) bool { return s.NetNS == inode }
	from := slices.IndexFunc(all, is)
	if from < 0 {
		return nil
	}
	part := all[from:]
	if to := slices.IndexFunc(part, func(s sockets.Socket) bool { return !is(s) }); to >= 0 {
		part = part[:to]
	}
	return part
}

// udpIn is what is remembered of UDP in a namespace, by the inode number of it; 0
// is the agent's own.
func (r *listenerReader) udpIn(inode uint32) *sockets.UDPServices {
	if s := r.others.open[inode]; s != nil {
		return s.udp
	}
	return r.udp
}

// findHolders looks for those who hold the sockets. A UDP socket that may only
// be asking is looked for in the first reading, which goes through every process
// anyway, and later on when it has settled: else every question that a browser
// asks would set off a search.
func (r *listenerReader) findHolders() error {
	r.wanted = r.wanted[:0]
	for _, s := range r.all {
		if !r.asked || s.Protocol == sockets.TCP || r.owners.Knows(s.Cookie) || r.udpIn(s.NetNS).Settled(s.UID, s.Port) {
			r.wanted = append(r.wanted, s)
		}
	}
	r.asked = true
	if err := r.owners.Update(r.wanted); err != nil {
		return err
	}
	if !slices.ContainsFunc(r.wanted, r.isOrphan) {
		return nil
	}
	// Nobody is seen to hold a socket either if it was closed during the search.
	again, err := r.diag.Read(nil)
	if err != nil {
		return err
	}
	if again, err = r.others.read(again, time.Now(), 0); err != nil {
		return err
	}
	r.all = slices.DeleteFunc(r.all, func(s sockets.Socket) bool {
		return r.isOrphan(s) && !slices.ContainsFunc(again, func(t sockets.Socket) bool { return t.Cookie == s.Cookie })
	})
	return nil
}

func (r *listenerReader) isOrphan(s sockets.Socket) bool {
	_, holding := r.owners.Holders(s.Cookie)
	return holding != sockets.Held
}

// mayServe tells whether a socket can be a listener, before its owner is known.
func (r *listenerReader) mayServe(s *sockets.Socket) bool {
	if s.Protocol == sockets.TCP || r.udpIn(s.NetNS).Serves(s.UID, s.Port) {
		return true
	}
	holders, holding := r.owners.Holders(s.Cookie)
	return holding == sockets.Nobody || (len(holders) > 0 && holders[0].PID == 1)
}

// serves tells the listeners from UDP sockets that only ask: see
// sockets.UDPServices for the whole rule.
func (r *listenerReader) serves(l Listener) bool {
	udp := r.udp
	for _, s := range r.others.open {
		if s.name == l.NetNS {
			udp = s.udp
		}
	}
	return l.Protocol == TCP || udp.Serves(l.UID, l.Port) ||
		l.Owner.Kernel || strings.HasSuffix(l.Owner.Unit, ".socket")
}

func (r *listenerReader) listenerFrom(s *sockets.Socket, interfaces map[int]string) Listener {
	var space string
	if other := r.others.open[s.NetNS]; other != nil {
		space, interfaces = other.name, nil // known by number alone
	}
	l := Listener{
		NetNS:    space,
		Protocol: TCP, Address: s.Addr, Port: s.Port,
		DualStack: s.Addr == netip.IPv6Unspecified() && !s.V6Only,
		Interface: interfaces[int(s.Interface)],
		Inode:     s.Inode, Cookie: s.Cookie, UID: s.UID,
	}
	if s.Protocol == sockets.UDP {
		l.Protocol = UDP
	}
	if s.Interface != 0 && l.Interface == "" {
		l.Interface = strconv.FormatUint(uint64(s.Interface), 10)
	}
	if s.Addr.Is6() && s.Addr.IsLinkLocalUnicast() {
		l.Address = s.Addr.WithZone(l.Interface)
	}
	return l
}

// interfaceNames returns the interfaces of the host by index, and whether there
// is any beside loopback. If they cannot be listed there may be some.
func interfaceNames() (names map[int]string, networked bool) {
	list, err := net.Interfaces()
	names = map[int]string{}
	for _, i := range list {
		names[i.Index] = i.Name
		networked = networked || i.Flags&net.FlagLoopback == 0
	}
	return names, networked || err != nil
}
