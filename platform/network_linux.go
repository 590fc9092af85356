package platform

import (
	"context"
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// lookAtNetwork reads what isolating the host depends on. Nothing is asked of the
// network itself, so it takes as long on a host that is cut off.
func (o *observer) lookAtNetwork(_ context.Context, s *Snapshot, _ Parts) {
	partly := func(reason string) {
		s.Gaps = append(s.Gaps, Gap{Part: PartNetwork, Partial: true, Reason: reason})
	}
	all, err := linksHere()
	if err != nil {
		s.lack(PartNetwork, "the network interfaces cannot be seen: "+err.Error())
		return
	}
	switch err := askTunnels(all, netip.Addr{}); {
	case errors.Is(err, unix.EPERM):
		partly("where the WireGuard tunnels of this computer lead is not visible to this user: repeat with sudo")
	case err != nil:
		partly("where the WireGuard tunnels of this computer lead is not known: " + err.Error())
	}
	inheritTunnels(all)
	for _, l := range all {
		if l.flags&unix.IFF_LOOPBACK == 0 {
			s.Network.Links = append(s.Network.Links, l.Interface)
		}
	}
	if s.Network.Logins, err = readLogins(); err != nil {
		partly("where user accounts come from is not known: " + err.Error())
	}
	text, err := os.ReadFile(mountsFile)
	if err != nil {
		partly("what is mounted is not known: " + err.Error())
	}
	mounts := parseMounts(string(text))
	s.Network.Mounts = networkMounts(mounts, newDisks("/sys", "/proc").under)
	others, hidden, err := otherNamespaces(mounts)
	if err == nil {
		s.Network.Away, err = away(others, mounts, linkState.physical)
	}
	switch {
	case hidden, errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		partly("interfaces in the network namespaces of others are not visible: repeat with sudo")
	case err != nil:
		partly("interfaces in other network namespaces cannot be seen: " + err.Error())
	}
}

// mountsFile is where the kernel tells what this process sees mounted.
const mountsFile = "/proc/self/mountinfo"
