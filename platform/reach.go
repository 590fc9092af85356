package platform

import "net/netip"

// reachOf says who can get at a listener, by its bind address and the host's
// interfaces alone; a firewall is not considered. networked says whether the
// host has any interface beside loopback, be it up or down: a laptop whose
// wireless is off for the moment is as open as it will be when it is on.
//
// An address that is neither private nor local to its link counts as any, shared
// address space (100.64.0.0/10) included: who routes it is not known here.
func reachOf(l Listener, networked bool) Reach {
	a := l.Address.Unmap()
	switch {
	case a.IsLoopback(), l.Interface == "lo":
		return ReachLoopback
	case a.IsUnspecified() && !networked:
		return ReachLoopback
	case a.IsPrivate(), a.IsLinkLocalUnicast(), a.IsLinkLocalMulticast(), a.IsInterfaceLocalMulticast(), a == broadcast:
		return ReachLAN
	}
	return ReachAny
}

// broadcast is what a server binds that hears only who asks everybody on the
// link.
var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
