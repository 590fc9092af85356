package platform

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// outside is a network namespace made for one probe, and the wire (a veth pair)
// that joins it to the host. It belongs to a thread that is thrown away: when
// the thread is gone, for whatever reason, so is the namespace, and with it the
// wire. Nothing of the host is changed but for one interface that comes and
// goes.
type outside struct {
	host netip.Addr // the host's end of the wire
	far  netip.Addr // the end in the namespace
	name string     // of the host's interface
	net  *rtnl      // to the host's namespace
	jobs chan func()
}

// openOutside makes the namespace and joins it to the one of the caller.
func openOutside(ctx context.Context, v6 bool) (*outside, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	net, err := dialRoute()
	if err != nil {
		return nil, err
	}
	o := &outside{net: net, name: wireName(), jobs: make(chan func())}
	if err := o.join(ctx, v6); err != nil {
		o.close()
		return nil, explainProbe(err)
	}
	return o, nil
}

// wirePrefix begins the name of each, so that the agent knows its own.
const wirePrefix = "vethfb"

// wireName names the host's end. Network managers are to leave it alone, and the
// safest name for that is the one every container has: NetworkManager takes no
// veth by itself, ConnMan's default blacklist has "veth", and systemd-networkd
// would make a DHCP server of a "ve-" or "vb-" but has no file for this.
func wireName() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return wirePrefix + hex.EncodeToString(b[:])
}

func (o *outside) join(ctx context.Context, v6 bool) error {
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer own.Close()
	bits := 64
	if v6 {
		o.host, o.far = wireAddresses6()
	} else if o.host, o.far, err = wireAddresses4(o.net); err != nil {
		return err
	}
	if !v6 {
		bits = 30
	}
	started := make(chan error)
	go o.live(started)
	if err := <-started; err != nil {
		return err
	}
	var farNet *rtnl
	err = o.run(func() (err error) {
		farNet, err = dialRoute()
		if err == nil {
			err = farNet.addWire(farName, o.name, own.Fd())
		}
		return err
	})
	if farNet != nil {
		defer farNet.close()
	}
	if err != nil {
		return err
	}
	// The socket of a namespace stays in it, so all else can be done from here.
	return o.connect(ctx, farNet, bits)
}

// connect gives both ends of the wire their addresses and waits until packets
// pass: the kernel brings up an interface, and an IPv6 address, a moment after it
// said that it did, and drops what comes before.
func (o *outside) connect(ctx context.Context, farNet *rtnl, bits int) error {
	host, err := o.net.linkUp(o.name)
	if err != nil {
		return err
	}
	far, err := farNet.linkUp(farName)
	if err != nil {
		return err
	}
	// Of link scope, so that no program takes the host's address of IPv4 for a
	// way to the world.
	err = errors.Join(
		o.net.addAddress(host.index, netip.PrefixFrom(o.host, bits), unix.RT_SCOPE_LINK),
		farNet.addAddress(far.index, netip.PrefixFrom(o.far, bits), unix.RT_SCOPE_UNIVERSE),
		o.net.addNeighbour(host.index, o.far, far.mac),
		farNet.addNeighbour(far.index, o.host, host.mac),
		farNet.addDefaultRoute(far.index, o.host),
	)
	if err != nil {
		return err
	}
	soon := time.NewTicker(time.Millisecond)
	defer soon.Stop()
	deadline := time.NewTimer(wireTimeout)
	defer deadline.Stop()
	for !o.net.passes(o.name, o.host) || !farNet.passes(farName, o.far) {
		select {
		case <-soon.C:
		case <-deadline.C:
			return fmt.Errorf("join namespace: the wire is not up after %s", wireTimeout)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

const (
	farName     = "probe" // the interface in the namespace
	wireTimeout = 3 * time.Second
)

// passes tells whether packets to the address arrive over the interface.
func (r *rtnl) passes(name string, a netip.Addr) bool {
	l, err := r.link(name)
	return err == nil && l.running && r.isLocal(a)
}

// live is the life of the thread: it leaves for a new namespace and does there
// what it is told until jobs is closed.
func (o *outside) live(started chan<- error) {
	onLostThread(func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			started <- fmt.Errorf("make network namespace: %w", err)
			return
		}
		started <- nil
		for job := range o.jobs {
			job()
		}
	})
}

// run does f on the thread in the namespace: sockets that f opens belong there.
func (o *outside) run(f func() error) error {
	done := make(chan error)
	o.jobs <- func() { done <- f() }
	return <-done
}

// close takes the wire away at once. The kernel would do so too when it clears
// away the namespace, but some time later.
func (o *outside) close() {
	close(o.jobs)
	o.net.removeLink(o.name)
	o.net.close()
}

func explainProbe(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: only root can probe from outside (CAP_SYS_ADMIN and CAP_NET_ADMIN): %w", ErrNotPermitted, err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: this kernel cannot make a network namespace with a wire to it: %w", ErrUnsupported, err)
	}
	return err
}

// wireAddresses6 makes up a unique local network (RFC 4193), which nobody else
// has.
func wireAddresses6() (host, far netip.Addr) {
	b := [16]byte{0: 0xfd, 15: 1}
	_, _ = rand.Read(b[1:8])
	host = netip.AddrFrom16(b)
	return host, host.Next()
}

// wireAddresses4 picks four link-local addresses (RFC 3927) that the host has no
// address or route in. Link-local addresses leave no computer, so no route to
// somewhere else is hidden while the wire is there.
func wireAddresses4(net *rtnl) (host, far netip.Addr, err error) {
	used, err := net.usedNetworks()
	if err != nil {
		return host, far, err
	}
	linkLocal := netip.MustParsePrefix("169.254.0.0/16")
	// Clouds serve their instances' data from these two.
	used = append(used, netip.MustParsePrefix("169.254.169.0/24"), netip.MustParsePrefix("169.254.170.0/24"))
	for range 100 {
		b := [4]byte{169, 254}
		_, _ = rand.Read(b[2:])
		b[3] &^= 3
		candidate := netip.PrefixFrom(netip.AddrFrom4(b), 30)
		if b[2] == 0 || b[2] == 255 || overlapsAny(candidate, used, linkLocal) {
			continue
		}
		host = candidate.Addr().Next()
		return host, host.Next(), nil
	}
	return host, far, errors.New("find free link-local addresses: none in 100 tries")
}

// overlapsAny leaves out routes as wide as the whole link-local network or wider.
func overlapsAny(p netip.Prefix, used []netip.Prefix, whole netip.Prefix) bool {
	for _, u := range used {
		if u.Bits() > whole.Bits() && u.Overlaps(p) {
			return true
		}
	}
	return false
}
