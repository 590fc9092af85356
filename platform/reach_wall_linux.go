package platform

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/hostwall"
	"github.com/firebreak-sec/firebreak/platform/nft"
)

// wallReader judges the reach of listeners by the firewall of the network
// namespace it was made in. What it found holds until somebody changes nftables
// there: to know that costs one small message.
type wallReader struct {
	conn     *nft.Conn
	routes   *netlink.Conn // to ask for addresses, which only forwards depend on
	read     bool          // what follows is there
	at       uint32        // the generation of nftables
	legacy   hostwall.Legacy
	wall     *hostwall.Wall
	known    map[hostwall.Packet]hostwall.Access
	forwards []hostwall.Forward
	asked    []netip.Addr // the addresses that forwards are of
	why      string       // the firewall cannot be judged; "" if it can
}

// mostElements is how many elements of a set are read; a larger one, such as a
// list of all networks of a country, may have anything in it.
const mostElements = 20_000

// wallPatience is how long reading the rules may take.
const wallPatience = 2 * time.Second

// newWallReader never fails: what cannot be read is said of the listeners.
func newWallReader() *wallReader {
	r := &wallReader{}
	conn, err := nft.Dial()
	if err != nil {
		r.lack(err)
		return r
	}
	r.conn = conn
	// Without it, forwards are those of any address.
	r.routes, _ = netlink.Dial(unix.NETLINK_ROUTE, nil)
	return r
}

func (r *wallReader) close() {
	if r.conn != nil {
		_ = r.conn.Close() // nothing is lost with a line that only reads
	}
	if r.routes != nil {
		_ = r.routes.Close()
	}
}

// judge says who reaches the listeners, and adds the ports that rules pass on.
// networked is as for reachOf.
func (r *wallReader) judge(ctx context.Context, found []Listener, networked bool) []Listener {
	r.refresh(ctx)
	for i := range found {
		l := &found[i]
		l.Reach, l.Through = reachOf(*l, networked), ""
		if l.Reach != ReachLoopback {
			r.judgeOne(l)
		}
	}
	if r.why != "" || !networked {
		return found
	}
	return r.addForwards(found)
}

// refresh reads the rules again if somebody changed them.
func (r *wallReader) refresh(ctx context.Context) {
	legacy := legacyTables("/proc/thread-self/net")
	if r.conn == nil {
		r.wall, r.known = hostwall.New(nil, legacy), map[hostwall.Packet]hostwall.Access{}
		return
	}
	now, err := r.conn.Generation()
	if err == nil && r.read && now == r.at && legacy.Equal(r.legacy) {
		return
	}
	var tables []*nft.ForeignTable
	if err == nil {
		limited, cancel := context.WithTimeout(ctx, wallPatience)
		defer cancel()
		own := func(k nft.Key) bool { return k.Name == tableName }
		tables, r.at, err = r.conn.ReadForeign(limited, own, mostElements)
	}
	r.read, r.why = err == nil, ""
	if err != nil {
		r.lack(err)
		tables = nil
	}
	r.wall, r.legacy = hostwall.New(wallTables(tables), legacy), legacy
	r.known, r.forwards, r.asked = map[hostwall.Packet]hostwall.Access{}, nil, nil
}

// lack notes why the rules cannot be judged. A kernel that has no nftables has no
// rules either.
func (r *wallReader) lack(err error) {
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		r.why = ""
	case errors.Is(err, unix.EPERM):
		r.why = "only root can see what this computer's own firewall lets in, so it is not taken into account"
	default:
		r.why = fmt.Sprintf("this computer's own firewall could not be read, so it is not taken into account: %v", err)
	}
}

// judgeOne narrows the reach of a listener to what the firewall lets in.
func (r *wallReader) judgeOne(l *Listener) {
	switch {
	case r.why != "":
		l.Through = r.why
		return
	case r.wall.Empty():
		return
	}
	var access hostwall.Access
	packets, n := packetsOf(*l)
	for i, p := range packets[:n] {
		if a := r.ask(p); i == 0 || reachThrough(a).Wider(reachThrough(access)) {
			access = a
		}
	}
	through := reachThrough(access)
	if l.Through = access.Why; l.Reach.Wider(through) {
		l.Reach = through
	}
}

func reachThrough(a hostwall.Access) Reach {
	switch {
	case a.Remote:
		return ReachAny
	case a.Local:
		return ReachLAN
	}
	return ReachLoopback
}

func (r *wallReader) ask(p hostwall.Packet) hostwall.Access {
	a, ok := r.known[p]
	if !ok {
		a = r.wall.Judge(p)
		r.known[p] = a
	}
	return a
}

// packetsOf is what asks for a listener: one of each family that it answers, n in
// all.
func packetsOf(l Listener) (packets [2]hostwall.Packet, n int) {
	address := l.Address.Unmap().WithZone("")
	p := hostwall.Packet{UDP: l.Protocol == UDP, Port: l.Port, V6: address.Is6()}
	if !address.IsUnspecified() {
		p.To = address
	}
	if l.Interface != "" && !isVRF(l.Interface) {
		p.In = l.Interface
	}
	packets = [2]hostwall.Packet{p, p}
	packets[1].V6 = false
	if l.DualStack {
		return packets, 2
	}
	return packets, 1
}

// isVRF tells whether packets for a socket bound to an interface come in by
// others, whose names the rules see.
func isVRF(name string) bool {
	text, err := os.ReadFile("/sys/class/net/" + name + "/uevent")
	return err != nil || strings.Contains(string(text), "DEVTYPE=vrf")
}

// elsewhere4 and elsewhere6 stand for any address of this computer: they are in
// nobody's rules (RFC 2544 and 5180).
var (
	elsewhere4 = netip.AddrFrom4([4]byte{198, 18, 255, 251})
	elsewhere6 = netip.MustParseAddr("2001:2:0:ffff::fffb")
)

// addForwards adds the ports that rules pass on. One that a socket listens on too,
// such as that of docker-proxy, is the socket's: rules come first, so it answers
// nobody that they do not let through.
func (r *wallReader) addForwards(found []Listener) []Listener {
	addresses := []netip.Addr{elsewhere4, elsewhere6}
	if r.routes != nil {
		addresses = append(addresses, r.addresses()...)
	}
	if r.asked == nil || !slices.Equal(addresses, r.asked) {
		r.forwards, r.asked = r.wall.Forwards(addresses), addresses
	}
	var added []Listener
	for _, f := range r.forwards {
		l := listenerOf(f)
		if i := slices.IndexFunc(found, func(s Listener) bool { return answersFor(s, l) }); i >= 0 {
			if l.Reach.Wider(found[i].Reach) {
				found[i].Reach, found[i].Through = l.Reach, through(l)
			}
			continue
		}
		if !slices.ContainsFunc(added, func(other Listener) bool { return sameForward(other, l) }) {
			added = append(added, l)
		}
	}
	return append(found, added...)
}

func through(l Listener) string {
	return cmp.Or(l.Through, "it is forwarded to "+l.Forward)
}

// listenerOf is a forward as a listener; that of any address is first in the list.
func listenerOf(f hostwall.Forward) Listener {
	l := Listener{
		Protocol: TCP, Address: f.Packet.To, Port: f.Port, Forward: f.To,
		Reach: reachThrough(f.Access), Through: f.Why,
	}
	if f.UDP {
		l.Protocol = UDP
	}
	switch l.Address {
	case elsewhere4:
		l.Address = netip.IPv4Unspecified()
	case elsewhere6:
		l.Address = netip.IPv6Unspecified()
	default:
		if bound := reachOf(l, true); l.Reach.Wider(bound) {
			l.Reach = bound
		}
	}
	return l
}

// answersFor tells whether a socket listens on a port that rules pass on.
func answersFor(s, forward Listener) bool {
	return s.Forward == "" && s.Protocol == forward.Protocol && s.Port == forward.Port && s.Interface == "" &&
		(s.Address == forward.Address || s.Address.IsUnspecified() && (s.DualStack || s.Address.Is6() == forward.Address.Is6()))
}

// sameForward tells whether one of the two says nothing that the other does not.
func sameForward(a, b Listener) bool {
	return a.Protocol == b.Protocol && a.Port == b.Port && a.Forward == b.Forward && a.Address.Is6() == b.Address.Is6() &&
		(a.Address == b.Address || a.Address.IsUnspecified() && !b.Reach.Wider(a.Reach))
}

// addresses are those of this computer that others can ask for.
func (r *wallReader) addresses() []netip.Addr {
	answers, err := dump(r.routes, unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, m := range answers {
		if a, ok := localAddress(m.Data); ok && !a.IsLoopback() && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// localAddress reads the body of one RTM_NEWADDR: IFA_LOCAL, or where the link has
// no other end IFA_ADDRESS.
func localAddress(data []byte) (netip.Addr, bool) {
	if len(data) < unix.SizeofIfAddrmsg {
		return netip.Addr{}, false
	}
	ad, err := netlink.NewAttributeDecoder(data[unix.SizeofIfAddrmsg:])
	if err != nil {
		return netip.Addr{}, false
	}
	var address, local netip.Addr
	for ad.Next() {
		switch ad.Type() {
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(ad.Bytes())
		}
	}
	if local.IsValid() {
		address = local
	}
	return address, address.IsValid() && ad.Err() == nil
}
