package actions

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
	"github.com/firebreak-sec/firebreak/platform/platformtest"
)

// keptBoth keeps the management over tcp and the helpdesk's way in.
func keptBoth() []platform.Peer {
	return []platform.Peer{
		{Network: netip.MustParsePrefix("192.0.2.7/32"), Protocol: platform.TCP, Port: 443},
		{Network: netip.MustParsePrefix("198.51.100.0/24"), Protocol: platform.TCP, Port: 22, Inbound: true},
	}
}

// isolateOrder is the order to isolate a machine as it is now.
func isolateOrder(m *platformtest.Machine, change func(*platform.Isolation)) Order {
	iso := platform.Isolation{
		Keep: keptBoth(), Resolvers: []netip.Addr{netip.MustParseAddr("192.0.2.53")}, DHCP: true,
		Lease: 15 * time.Minute, Max: 4 * time.Hour,
	}
	if change != nil {
		change(&iso)
	}
	snapshot, err := m.Host().Observer.Snapshot(context.Background(), platform.AllParts)
	if err != nil {
		panic(err)
	}
	return Order{Snapshot: &snapshot, Terms: Terms{
		Isolation: iso, Logins: []platform.PortRule{{Protocol: platform.TCP, First: 22, Last: 22}},
	}}
}

// tunnel is a link that carries packets inside others.
func tunnel(kind, name string, outer ...string) platform.Route {
	link := platform.Interface{Name: name, Kind: kind, Up: true, Tunnel: true}
	for _, o := range outer {
		link.Outer = append(link.Outer, netip.MustParseAddrPort(o))
	}
	return platform.Route{Link: link}
}

func mount(path, kind, server string) platform.NetworkMount {
	m := platform.NetworkMount{Path: path, Kind: kind}
	if server != "" {
		m.Server = netip.MustParseAddr(server)
	}
	return m
}

func isolateCases() []previewCase {
	var cases []previewCase
	add := func(name string, prepare func(*platformtest.Machine), change func(*platform.Isolation)) {
		m := platformtest.New()
		if prepare != nil {
			prepare(m)
		}
		cases = append(cases, previewCase{"isolate-host, " + name, IsolateHost, m, isolateOrder(m, change)})
	}
	add("some are kept", nil, nil)
	add("nobody is kept", nil, func(iso *platform.Isolation) { *iso = platform.Isolation{} })
	add("stays shut", nil, func(iso *platform.Isolation) { iso.Closed = true })
	add("programs are kept", nil, func(iso *platform.Isolation) {
		iso.Users, iso.Units = []uint32{998}, []string{"rustdesk.service"}
	})
	add("a workstation at work", busy, nil)
	add("a home on a file server", func(m *platformtest.Machine) {
		m.SetNetwork(platform.Network{Mounts: []platform.NetworkMount{mount("/home", "nfs4", "10.0.0.9")}})
	}, nil)
	add("a home on a file server that is kept", func(m *platformtest.Machine) {
		m.SetNetwork(platform.Network{Mounts: []platform.NetworkMount{mount("/home", "nfs4", "192.0.2.7")}})
	}, func(iso *platform.Isolation) { iso.Keep[0].Port = 2049 })
	add("managed through a tunnel", func(m *platformtest.Machine) {
		m.SetRoute(netip.MustParsePrefix("192.0.2.0/24"), tunnel("wireguard", "wg0", "203.0.113.9:51820"))
	}, nil)
	add("managed through a tunnel that is kept", func(m *platformtest.Machine) {
		m.SetRoute(netip.MustParsePrefix("192.0.2.0/24"), tunnel("wireguard", "wg0", "203.0.113.9:51820"))
	}, func(iso *platform.Isolation) {
		iso.Keep = append(iso.Keep, platform.Peer{Network: netip.MustParsePrefix("203.0.113.9/32"), Protocol: platform.UDP, Port: 51820})
	})
	add("the helpdesk comes through a tunnel", func(m *platformtest.Machine) {
		m.SetRoute(netip.MustParsePrefix("198.51.100.0/24"), tunnel("tun", "tun0"))
	}, nil)
	add("no way to the management", func(m *platformtest.Machine) {
		m.SetRoute(netip.MustParsePrefix("192.0.2.0/24"), platform.Route{})
	}, nil)
	add("what it would not cut off", func(m *platformtest.Machine) {
		m.SetNetwork(platform.Network{Away: []string{"eth1 (in container web)"}, Flowtables: []string{"inet fw4 ft"}})
	}, nil)
	add("little is known", func(m *platformtest.Machine) {
		m.SetGaps(
			platform.Gap{Part: platform.PartNetwork, Reason: "mounts cannot be read: permission denied."},
			platform.Gap{Part: platform.PartSessions, Partial: true, Reason: "some sessions have no address"})
		m.Fail("Connections.Live", errors.New("this kernel has no sock_diag"))
		m.Fail("Routes.To", errors.New("no answer from the kernel"))
	}, nil)
	cases = append(cases, previewCase{"isolate-host, not looked at yet", IsolateHost, platformtest.New(), Order{}})
	return cases
}

// busy is a machine with people, shares, a directory server and connections.
func busy(m *platformtest.Machine) {
	m.AddSession(platform.Session{User: "lena", Terminal: "tty2"})
	m.AddSession(platform.Session{User: "jd", Terminal: "pts/0", Remote: "203.0.113.5"})
	m.AddSession(platform.Session{User: "jd", Terminal: "pts/1", Remote: "203.0.113.5"})
	m.AddSession(platform.Session{User: "help", Terminal: "pts/2", Remote: "198.51.100.3"})
	m.AddSession(platform.Session{User: "old", Terminal: "pts/3", Remote: "kiosk.example"})
	m.SetNetwork(platform.Network{
		Mounts: []platform.NetworkMount{mount("/mnt/projects", "cifs", "10.0.0.9"), mount("/home/lena", "nfs4", "10.0.0.9")},
		Logins: []string{"sss", "winbind"},
	})
	connect := func(protocol platform.Protocol, to, netns string, times int) {
		for range times {
			m.Connect(platform.Connection{
				Protocol: protocol, Local: netip.MustParseAddrPort("192.0.2.80:40000"), Remote: netip.MustParseAddrPort(to), NetNS: netns,
			})
		}
	}
	connect(platform.TCP, "203.0.113.80:443", "", 5)
	connect(platform.TCP, "203.0.113.81:443", "", 3)
	connect(platform.TCP, "10.0.0.9:445", "", 1)
	connect(platform.TCP, "192.0.2.7:443", "", 2) // kept
	connect(platform.UDP, "[2001:db8::1]:443", "web", 4)
	connect(platform.UDP, "0.0.0.0:0", "", 2)
}

func TestConnectionsSentence(t *testing.T) {
	at := func(protocol platform.Protocol, to string) platform.Connection {
		return platform.Connection{Protocol: protocol, Remote: netip.MustParseAddrPort(to)}
	}
	for want, live := range map[string][]platform.Connection{
		"end 1 tcp connection, with 192.0.2.1 (1)":  {at(platform.TCP, "[::ffff:192.0.2.1]:22")},
		"end 1 udp socket that can send to anybody": {{Protocol: platform.UDP}},
		"end 2 tcp connections and 1 udp connection, with 192.0.2.1 (2) and fe80::1 (1)": {
			at(platform.TCP, "192.0.2.1:22"), at(platform.TCP, "192.0.2.1:23"), at(platform.UDP, "[fe80::1%eth0]:53"),
		},
		"end 5 tcp connections, most often with 192.0.2.4 (2), 192.0.2.1 (1) and 192.0.2.2 (1)": {
			at(platform.TCP, "192.0.2.4:22"), at(platform.TCP, "192.0.2.1:22"), at(platform.TCP, "192.0.2.2:22"),
			at(platform.TCP, "192.0.2.3:22"), at(platform.TCP, "192.0.2.4:23"),
		},
	} {
		if got := connectionsSentence(live); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestJudgeMounts(t *testing.T) {
	keep := []platform.Peer{
		{Network: netip.MustParsePrefix("10.0.0.9/32"), Protocol: platform.TCP, Port: 2049},
		{Network: netip.MustParsePrefix("10.0.0.8/32"), Protocol: platform.TCP, Port: 2049, Inbound: true},
	}
	for _, c := range []struct {
		mount         platform.NetworkMount
		refused, cost string
	}{
		{mount("/", "nfs4", "10.0.0.9"), "", ""},
		{mount("/", "nfs", "::ffff:10.0.0.9"), "", ""},
		{mount("/", "nfs4", "10.0.0.8"), "/ is on the server 10.0.0.8 (nfs4), which is not in isolation.keep, and this computer would hang: add 10.0.0.8:2049", ""},
		{mount("/", "cifs", "10.0.0.9"), "/ is on the server 10.0.0.9 (cifs), which is not in isolation.keep, and this computer would hang: add 10.0.0.9:445", ""},
		{mount("/usr", "odd", "2001:db8::9"), "/usr is on the server 2001:db8::9 (odd), which is not in isolation.keep, and this computer would hang: add [2001:db8::9]", ""},
		{mount("/var", "nfs4", "10.0.0.8"), "/var is on the server 10.0.0.8 (nfs4), which is not in isolation.keep, and this computer would hang: add 10.0.0.8:2049", ""},
		{mount("/var/lib/firebreak", "nfs4", "10.0.0.8"), "/var/lib/firebreak is on the server 10.0.0.8 (nfs4), which is not in isolation.keep, and this computer would hang: add 10.0.0.8:2049", ""},
		{mount("/home", "iscsi", ""), "", "it is not known whether this computer goes on: /home is on network storage (iscsi) whose server is not known"},
		{mount("/home/lena", "nfs4", "10.0.0.8"), "", "programs that use /home/lena hang: it is on network storage (nfs4)"},
		{mount("/homes", "nfs4", "10.0.0.8"), "", "programs that use /homes hang: it is on network storage (nfs4)"},
		{mount("/usr/local", "nfs4", ""), "", "programs that use /usr/local hang: it is on network storage (nfs4)"},
		{mount("/var/lib/firebreak2", "nfs4", "10.0.0.8"), "", "programs that use /var/lib/firebreak2 hang: it is on network storage (nfs4)"},
	} {
		refused, costs := judgeMounts([]platform.NetworkMount{c.mount}, keep, Terms{}.stateDir())
		if one(refused) != c.refused || one(costs) != c.cost {
			t.Errorf("%+v: refused %q, costs %q; want %q, %q", c.mount, refused, costs, c.refused, c.cost)
		}
	}
}

func one(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return enumerate(list, len(list))
}

func TestJudgeWays(t *testing.T) {
	udp := platform.Peer{Network: netip.MustParsePrefix("203.0.113.9/32"), Protocol: platform.UDP, Port: 51820}
	tcp := udp
	tcp.Protocol = platform.TCP
	hub := way{to: netip.MustParsePrefix("10.0.0.5/32"), must: true}
	through := func(r platform.Route) []way { w := hub; w.route = r; return []way{w} }
	const toHub = "the way to 10.0.0.5 is the tunnel "
	for name, c := range map[string]struct {
		ways          []way
		iso           platform.Isolation
		refused, cost string
	}{
		"plain":       {ways: []way{hub}},
		"not kept":    {ways: through(tunnel("wireguard", "wg0", "203.0.113.9:51820")), refused: toHub + "wg0, whose far end 203.0.113.9:51820/udp is not in isolation.keep: add it"},
		"kept":        {ways: through(tunnel("wireguard", "wg0", "203.0.113.9:51820")), iso: platform.Isolation{Keep: []platform.Peer{udp}}},
		"kept in tcp": {ways: through(tunnel("wireguard", "wg0", "203.0.113.9:51820")), iso: platform.Isolation{Keep: []platform.Peer{tcp}}, refused: toHub + "wg0, whose far end 203.0.113.9:51820/udp is not in isolation.keep: add it"},
		"some kept": {
			ways: through(tunnel("wireguard", "wg0", "203.0.113.9:51820", "[2001:db8::9]:51820")), iso: platform.Isolation{Keep: []platform.Peer{udp}},
			cost: toHub + "wg0, which has several far ends: it stays only if its packets do not go to [2001:db8::9]:51820/udp",
		},
		"none of many": {ways: through(tunnel("wireguard", "wg0", "203.0.113.9:1", "203.0.113.8:2")), refused: toHub + "wg0, none of whose far ends is in isolation.keep: add 203.0.113.9:1/udp and 203.0.113.8:2/udp"},
		"unknown":      {ways: through(tunnel("wireguard", "wg0")), refused: toHub + "wg0, whose far end is not known, so it cannot be kept: keep an address outside the tunnel"},
		"gre":          {ways: through(tunnel("gre", "gre1", "203.0.113.9:0")), refused: toHub + "gre1, whose packets to 203.0.113.9 are neither tcp nor udp and so cannot be kept: keep an address outside the tunnel"},
		"tun":          {ways: through(tunnel("tun", "tailscale0")), refused: toHub + "tailscale0, whose far end is not known: keep its program (unit:NAME.service), or an address outside the tunnel"},
		"tun, program kept": {
			ways: through(tunnel("tun", "tailscale0")), iso: platform.Isolation{Units: []string{"tailscaled.service"}},
			cost: toHub + "tailscale0, which stays only if its program is one that policy keeps",
		},
		"wireguard, program kept": {
			ways: through(tunnel("wireguard", "wg0")), iso: platform.Isolation{Units: []string{"wg.service"}},
			refused: toHub + "wg0, whose far end is not known, so it cannot be kept: keep an address outside the tunnel",
		},
		"only the helpdesk": {
			ways: []way{{to: netip.MustParsePrefix("198.51.100.0/24"), route: tunnel("tun", "tun0")}},
			cost: "the way to 198.51.100.0/24 is the tunnel tun0, whose far end is not known: keep its program (unit:NAME.service), or an address outside the tunnel",
		},
		"no way":                {ways: []way{{to: hub.to, must: true, err: platform.ErrNoRoute}}, cost: "no way leads to 10.0.0.5 now, so it cannot be reached while isolated either, though policy keeps it"},
		"no way to the network": {ways: []way{{to: hub.to, err: platform.ErrNoRoute}}},
		"not told":              {ways: []way{{to: hub.to, err: errors.New("no answer")}}, cost: "it is not known which way leads to 10.0.0.5: no answer"},
	} {
		refused, costs := judgeWays(c.ways, c.iso)
		if one(refused) != c.refused || one(costs) != c.cost {
			t.Errorf("%s: refused %q, costs %q; want %q, %q", name, refused, costs, c.refused, c.cost)
		}
	}
}

// Each address is asked for once, and one that this host connects to counts.
func TestWaysTo(t *testing.T) {
	iso := platform.Isolation{Keep: []platform.Peer{
		{Network: netip.MustParsePrefix("10.0.0.5/32"), Port: 22, Inbound: true},
		{Network: netip.MustParsePrefix("10.0.0.5/32"), Port: 443},
		{Network: netip.MustParsePrefix("10.0.0.0/8"), Port: 443},
		{Network: netip.MustParsePrefix("0.0.0.0/0"), Port: 22, Inbound: true},
	}, Resolvers: []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.53")}}
	var got []string
	for _, w := range waysTo(t.Context(), platformtest.New().Host().Routes, iso) {
		got = append(got, w.to.String()+map[bool]string{true: " must"}[w.must])
	}
	if want := []string{"10.0.0.5/32 must", "10.0.0.0/8", "10.0.0.53/32"}; !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
}

func TestSessionCosts(t *testing.T) {
	logins := []platform.PortRule{{Protocol: platform.TCP, First: 22, Last: 22}}
	for keep, want := range map[platform.Peer]string{
		{}: "the session of jd from 203.0.113.5 ends",
		{Network: netip.MustParsePrefix("203.0.113.0/24"), Protocol: platform.TCP, Port: 22, Inbound: true}:  "",
		{Network: netip.MustParsePrefix("203.0.113.0/24"), Inbound: true}:                                    "",
		{Network: netip.MustParsePrefix("203.0.113.0/24"), Protocol: platform.TCP, Port: 22}:                 "the session of jd from 203.0.113.5 ends",
		{Network: netip.MustParsePrefix("203.0.113.0/24"), Protocol: platform.TCP, Port: 443, Inbound: true}: "the session of jd from 203.0.113.5 ends",
	} {
		got := sessionCosts([]platform.Session{{User: "lena"}, {User: "jd", Remote: "::ffff:203.0.113.5"}}, []platform.Peer{keep}, logins)
		if one(got) != want {
			t.Errorf("%+v: got %q; want %q", keep, got, want)
		}
	}
}
