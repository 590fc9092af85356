package platform

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// routes asks the kernel, which alone knows all its tables and rules.
type routes struct{}

func newRoutes() Routes { return routes{} }

// To asks as a program of this user without a mark on its packets would be
// answered; rules that look at anything else are not seen.
func (routes) To(ctx context.Context, to netip.Addr) (Route, error) {
	if err := ctx.Err(); err != nil {
		return Route{}, fmt.Errorf("find route to %s: %w", to, err)
	}
	r, err := dialRoute()
	if err != nil {
		return Route{}, fmt.Errorf("find route to %s: %w", to, err)
	}
	defer r.close()
	route, err := r.to(to)
	if err != nil {
		return Route{}, fmt.Errorf("find route to %s: %w", to, err)
	}
	return route, nil
}

func (r *rtnl) to(to netip.Addr) (Route, error) {
	bare := to.Unmap().WithZone("")
	if !bare.IsValid() {
		return Route{}, errors.New("no address")
	}
	header := make([]byte, unix.SizeofRtMsg)
	header[0], header[1] = familyOf(bare), byte(bare.BitLen())
	ae := netlink.NewAttributeEncoder()
	ae.Bytes(unix.RTA_DST, bare.AsSlice())
	if zone := to.Zone(); zone != "" {
		link, err := net.InterfaceByName(zone)
		if err != nil {
			return Route{}, fmt.Errorf("%w: there is no interface %s", ErrNoRoute, zone)
		}
		ae.Uint32(unix.RTA_OIF, uint32(link.Index))
	}
	answer, err := r.ask(unix.RTM_GETROUTE, header, ae, unix.SizeofRtMsg)
	if err != nil {
		return Route{}, explainRoute(err)
	}
	route, out, err := parseRoute(answer)
	if err != nil {
		return Route{}, err
	}
	route.Link, err = r.way(out, bare)
	if err != nil {
		return Route{}, err
	}
	if outer, err := ipsecGateway(bare); err == nil && outer.IsValid() {
		route.Link.Tunnel, route.Link.Outer = true, []netip.AddrPort{netip.AddrPortFrom(outer, 0)}
	}
	return route, nil
}

// way looks at the interface that a route leads over, and at the far end of it
// if it is a tunnel.
func (r *rtnl) way(index int, to netip.Addr) (Interface, error) {
	all, err := r.links()
	if err != nil {
		return Interface{}, err
	}
	// What cannot be asked (no CAP_NET_ADMIN) stays a tunnel to nobody knows where.
	_ = askTunnels(all, to)
	inheritTunnels(all)
	for _, l := range all {
		if l.Index == index {
			return l.Interface, nil
		}
	}
	return Interface{}, fmt.Errorf("%w: the interface of the route is gone", ErrNoRoute)
}

// askTunnels fills in what only the tunnels themselves can tell.
func askTunnels(all []linkState, to netip.Addr) error {
	var first error
	for i := range all {
		if all[i].Kind != "wireguard" {
			continue
		}
		peers, err := readWireGuard(all[i].Index)
		if err != nil && first == nil {
			first = fmt.Errorf("%s: %w", all[i].Name, err)
		}
		all[i].Outer = endpoints(peers, to)
	}
	return first
}

// parseRoute reads the answer to a question for one route: what there is of it,
// and the index of the interface that it leads over.
func parseRoute(data []byte) (Route, int, error) {
	switch data[7] {
	case unix.RTN_UNREACHABLE, unix.RTN_BLACKHOLE, unix.RTN_PROHIBIT, unix.RTN_THROW:
		return Route{}, 0, ErrNoRoute
	}
	ad, err := netlink.NewAttributeDecoder(data[unix.SizeofRtMsg:])
	if err != nil {
		return Route{}, 0, err
	}
	var route Route
	out := 0
	for ad.Next() {
		switch ad.Type() {
		case unix.RTA_OIF:
			out = int(ad.Uint32())
		case unix.RTA_PREFSRC:
			route.Source, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.RTA_GATEWAY:
			route.Gateway, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.RTA_VIA: // a gateway of the other family, after two bytes that name it
			if b := ad.Bytes(); len(b) > 2 {
				route.Gateway, _ = netip.AddrFromSlice(b[2:])
			}
		}
	}
	return route, out, ad.Err()
}

// explainRoute tells the ways in which the kernel says that there is no route:
// none that fits, or one that says unreachable, prohibit or blackhole.
func explainRoute(err error) error {
	for _, no := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL, unix.ENETDOWN} {
		if errors.Is(err, no) {
			return fmt.Errorf("%w: %w", ErrNoRoute, err)
		}
	}
	return err
}
