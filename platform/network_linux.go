package platform

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

// lookAtNetwork reads what isolating the host depends on. Nothing is asked of the
// network itself, so it takes as long on a host that is cut off.
func (o *observer) lookAtNetwork(ctx context.Context, s *Snapshot, _ Parts) {
	partly := func(reason string) {
		s.Gaps = append(s.Gaps, Gap{Part: PartNetwork, Partial: true, Reason: reason})
	}
	all, err := linksHere()
	if err != nil {
		s.lack(PartNetwork, "the network interfaces cannot be seen: "+err.Error())
		return
	}
	var hidden []string // what only root sees
	switch err := askTunnels(all, netip.Addr{}); {
	case errors.Is(err, unix.EPERM):
		hidden = append(hidden, "where WireGuard tunnels lead")
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
	s.Network.Flowtables, err = flowtables(ctx)
	switch {
	case errors.Is(err, unix.EPERM):
		hidden = append(hidden, "the firewall's flowtables")
	case err != nil:
		partly("the flowtables of the firewall are not known: " + err.Error())
	}
	others, denied, err := otherNamespaces(mounts)
	part, _ := confined() // what cannot be told counts as the whole
	switch {
	case err != nil:
	case part:
		partly("this program is in a network namespace of its own, and isolates nothing outside it")
	default:
		s.Network.Away, err = away(others, mounts, linkState.physical)
	}
	switch {
	case denied, errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		hidden = append(hidden, "interfaces in the network namespaces of others")
	case err != nil:
		partly("interfaces in other network namespaces cannot be seen: " + err.Error())
	}
	if len(hidden) > 0 {
		partly("not visible to this user: " + strings.Join(hidden, ", ") + "; repeat with sudo")
	}
}

// flowtables lists those of nftables; a kernel without nftables has none.
func flowtables(ctx context.Context) ([]string, error) {
	line, err := nft.Dial()
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer line.Close()
	return line.Flowtables(ctx)
}

// mountsFile is where the kernel tells what this process sees mounted.
const mountsFile = "/proc/self/mountinfo"
