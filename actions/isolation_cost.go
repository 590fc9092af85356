package actions

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/platform"
)

// topPeers is how many of the peers a host talks to are told by name.
const topPeers = 3

// connectionsSentence sums up the connections that isolation ends: how many, and
// with whom.
func connectionsSentence(live []platform.Connection) string {
	var tcp, udp, alone, inside int
	peers := map[netip.Addr]int{}
	for _, c := range live {
		to := c.Remote.Addr().Unmap().WithZone("")
		switch {
		case !to.IsValid() || to.IsUnspecified():
			alone++
		case c.Protocol == platform.UDP:
			udp++
			peers[to]++
		default:
			tcp++
			peers[to]++
		}
		if c.NetNS != "" {
			inside++
		}
	}
	var parts []string
	for _, n := range []struct {
		n    int
		what string
	}{{tcp, "tcp connection"}, {udp, "udp connection"}, {alone, "udp socket"}} {
		if n.n > 0 {
			parts = append(parts, plural(n.n, n.what))
		}
	}
	sentence := "end " + enumerate(parts, len(parts))
	if alone > 0 {
		sentence += " that can send to anybody"
	}
	if inside > 0 {
		sentence += fmt.Sprintf(" (%d in containers)", inside)
	}
	most := mostFrequent(peers)
	switch {
	case len(peers) > topPeers:
		sentence += ", most often with " + enumerate(most, topPeers)
	case len(peers) > 0:
		sentence += ", with " + enumerate(most, topPeers)
	}
	return sentence
}

// mostFrequent names the peers with most connections, and how many.
func mostFrequent(peers map[netip.Addr]int) []string {
	var addrs []netip.Addr
	for addr := range peers {
		addrs = append(addrs, addr)
	}
	slices.SortFunc(addrs, func(a, b netip.Addr) int {
		return cmp.Or(cmp.Compare(peers[b], peers[a]), a.Compare(b))
	})
	var names []string
	for _, addr := range addrs[:min(len(addrs), topPeers)] {
		names = append(names, fmt.Sprintf("%s (%d)", addr, peers[addr]))
	}
	return names
}

// usersOf names everybody who is logged in, each once.
func usersOf(sessions []platform.Session) []string {
	var users []string
	for _, s := range sessions {
		users = append(users, s.User)
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// sessionCosts tells whose remote session isolation would cut: that of everybody
// who may not connect to a port at which people log in.
func sessionCosts(sessions []platform.Session, keep []platform.Peer, logins []platform.PortRule) []string {
	var costs []string
	for _, s := range sessions {
		from, err := netip.ParseAddr(s.Remote)
		switch {
		case s.Remote == "":
			continue
		case err != nil:
			costs = append(costs, fmt.Sprintf("the session of %s from %s may end: its address is not known", s.User, s.Remote))
			continue
		}
		from = from.Unmap().WithZone("")
		if !slices.ContainsFunc(keep, func(p platform.Peer) bool {
			login := p.Port == 0 || covers(logins, platform.PortRule{Protocol: platform.TCP, First: p.Port, Last: p.Port})
			return p.Inbound && p.Network.Contains(from) && login
		}) {
			costs = append(costs, fmt.Sprintf("the session of %s from %s ends", s.User, from))
		}
	}
	slices.Sort(costs)
	return slices.Compact(costs)
}

// loginCosts warns where user accounts come from the network.
func loginCosts(services []string) []string {
	if len(services) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("logins with an account from the network (%s) may fail, but for those that this computer remembers",
		strings.Join(services, ", "))}
}

// notKnown tells what the preview had to leave open.
func notKnown(seen *platform.Snapshot) []string {
	if seen == nil {
		return []string{"it is not known who is logged in and what here depends on the network: this computer was not looked at yet"}
	}
	what := map[platform.Part]string{
		platform.PartSessions: "who is logged in",
		platform.PartNetwork:  "whether something here depends on the network, such as a file share or a tunnel",
	}
	var out []string
	for _, g := range seen.Gaps {
		if subject := what[g.Part]; subject != "" {
			if g.Partial {
				subject = "in full " + subject
			}
			out = append(out, fmt.Sprintf("it is not known %s: %s", subject, strings.TrimSuffix(g.Reason, ".")))
		}
	}
	return out
}

// enumerate writes a list as people say it: "a, b and c"; of a longer one than
// most, how many more there are.
func enumerate(list []string, most int) string {
	if rest := len(list) - most; rest > 0 {
		list = append(slices.Clone(list[:most]), fmt.Sprintf("%d more", rest))
	}
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " and " + list[len(list)-1]
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
