package platform

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// networkGroups are the changes that the kernel is asked to tell.
func networkGroups() []uint32 {
	return []uint32{
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
	}
}

// networkWatch knows the links and addresses of the namespace, since the kernel
// tells many things that are no change: each router advertisement, each
// measurement of a wireless link.
type networkWatch struct {
	links     map[int]linkSeen
	addresses map[addressSeen]bool
	probes    map[int]bool // indexes of the agent's own probe links; never used again soon
}

type linkSeen struct {
	name, kind  string
	up, running bool
	master      int
}

type addressSeen struct {
	index   int
	network netip.Prefix
}

// networkSource listens to the kernel's changes of links, addresses and routes.
// It needs no privilege.
func networkSource(context.Context) (source, error) {
	nl, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	for _, group := range networkGroups() {
		if err := nl.JoinGroup(group); err != nil {
			nl.Close()
			return nil, fmt.Errorf("listen to network changes: %w", err)
		}
	}
	// The one that asks is another, so that no change hides between the answers.
	asker, err := dialRoute()
	if err != nil {
		nl.Close()
		return nil, err
	}
	w := &networkWatch{probes: map[int]bool{}}
	if err := w.learn(asker); err != nil {
		nl.Close()
		asker.close()
		return nil, err
	}
	return func(ctx context.Context, say func(Part, string)) {
		stop := context.AfterFunc(ctx, func() { nl.Close() })
		defer stop()
		defer asker.close()
		w.listen(ctx, nl, asker, say)
	}, nil
}

// listen reads changes until the line is closed. When there were more than it
// holds, what is there now is learned anew.
func (w *networkWatch) listen(ctx context.Context, nl *netlink.Conn, asker *rtnl, say func(Part, string)) {
	for {
		changes, err := nl.Receive()
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, unix.ENOBUFS):
			say(PartNetwork, "the network changed a lot")
			if w.learn(asker) != nil {
				return
			}
		case err != nil:
			return // the line is of no more use; the agent still looks on its own
		}
		for _, m := range changes {
			if why := w.change(m); why != "" {
				say(PartNetwork, why)
			}
		}
	}
}

// learn reads what there is.
func (w *networkWatch) learn(asker *rtnl) error {
	links, err := asker.links()
	if err != nil {
		return err
	}
	addresses, err := dump(asker.nl, unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	w.links, w.addresses = map[int]linkSeen{}, map[addressSeen]bool{}
	for _, l := range links {
		w.link(l)
	}
	for _, m := range addresses {
		w.change(m)
	}
	return nil
}

// isProbe tells whether an interface is the host's end of a probe's wire.
func isProbe(l linkState) bool { return l.Kind == "veth" && strings.HasPrefix(l.Name, wirePrefix) }

// change notes one change and says in words what it was; "" is none that
// matters.
func (w *networkWatch) change(m netlink.Message) string {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		l, err := parseLink(m.Data)
		if err != nil || m.Data[0] != unix.AF_UNSPEC { // others are of bridges' own tables
			return ""
		}
		if m.Header.Type == unix.RTM_NEWLINK {
			return w.link(l)
		}
		delete(w.links, l.Index)
		if w.probes[l.Index] {
			return ""
		}
		return l.Name + " is gone"
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return w.address(m.Data, m.Header.Type == unix.RTM_NEWADDR)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return w.route(m.Data)
	}
	return ""
}

func (w *networkWatch) link(l linkState) string {
	if isProbe(l) {
		w.probes[l.Index] = true
		return ""
	}
	delete(w.probes, l.Index)
	now := linkSeen{l.Name, l.Kind, l.Up, l.running(), l.master}
	before, known := w.links[l.Index]
	w.links[l.Index] = now
	switch {
	case !known:
		return l.Name + " was added"
	case now == before:
		return ""
	case now.running != before.running && now.running:
		return l.Name + " went up"
	case now.running != before.running:
		return l.Name + " went down"
	}
	return l.Name + " changed"
}

func (w *networkWatch) address(data []byte, added bool) string {
	if len(data) < unix.SizeofIfAddrmsg {
		return ""
	}
	a := addressSeen{index: int(binary.NativeEndian.Uint32(data[4:]))}
	network, ok := networkIn(data, unix.SizeofIfAddrmsg, unix.IFA_LOCAL)
	if !ok {
		network, ok = networkIn(data, unix.SizeofIfAddrmsg, unix.IFA_ADDRESS)
	}
	if a.network = network; !ok || w.probes[a.index] || w.addresses[a] == added {
		return ""
	}
	name := w.links[a.index].name
	if !added {
		delete(w.addresses, a)
		return network.String() + " was taken from " + name
	}
	w.addresses[a] = true
	return network.String() + " was given to " + name
}

// route tells of routes that somebody made. Those that the kernel makes come and
// go with an address, which is told.
func (w *networkWatch) route(data []byte) string {
	const protocolAt, flagsAt = 5, 8
	if len(data) < unix.SizeofRtMsg || data[protocolAt] == unix.RTPROT_KERNEL ||
		binary.NativeEndian.Uint32(data[flagsAt:])&unix.RTM_F_CLONED != 0 {
		return ""
	}
	if ad, err := netlink.NewAttributeDecoder(data[unix.SizeofRtMsg:]); err == nil {
		for ad.Next() {
			if ad.Type() == unix.RTA_OIF && w.probes[int(ad.Uint32())] {
				return ""
			}
		}
	}
	if network, ok := networkIn(data, unix.SizeofRtMsg, unix.RTA_DST); ok {
		return "a route to " + network.String() + " changed"
	}
	return "the default route changed"
}
