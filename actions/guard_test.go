package actions

import (
	"strings"
	"testing"

	"github.com/firebreak-sec/firebreak/platform"
	"github.com/firebreak-sec/firebreak/platform/platformtest"
)

func TestNeverTheWrongOne(t *testing.T) {
	tcp := func(at string) platform.Listener { return platformtest.Listen(platform.TCP, at) }
	udp := func(at string) platform.Listener { return platformtest.Listen(platform.UDP, at) }
	service := func(name, exe string, l platform.Listener) func(*platformtest.Machine) {
		return func(m *platformtest.Machine) { m.AddService(name, exe, l) }
	}
	process := func(exe string, l platform.Listener) func(*platformtest.Machine) {
		return func(m *platformtest.Machine) { m.AddProcess(exe, l) }
	}
	userService := func(name, exe string, l platform.Listener) func(*platformtest.Machine) {
		return func(m *platformtest.Machine) {
			m.AddProgram(platform.Program{Kind: "user-unit", Name: name, User: "lena", Title: name + " of user lena"}, exe, l)
		}
	}
	const ours = 22
	for name, c := range map[string]struct {
		setup func(*platformtest.Machine)
		port  uint16
		says  string // "" if it may be closed
	}{
		"the port of SSH":                {service("ssh", "/usr/sbin/sshd", tcp("*:22")), ours, "tcp 22 is a protected port: without it nobody could reach this computer to help"},
		"the SSH session of somebody":    {process("/usr/sbin/sshd", tcp("*:8022")), 8022, "sshd is never ended: it is the SSH session of somebody who is logged in"},
		"the same on Debian 13":          {process("/usr/lib/openssh/sshd-session", tcp("*:8022")), 8022, "sshd-session is never ended"},
		"the management port, by policy": {service("mesh", "/usr/sbin/meshd", tcp("*:9993")), 9993, "tcp 9993 is a protected port"},
		"the agent":                      {service("firebreak-hub", "/usr/bin/firebreak", tcp("*:7777")), 7777, "firebreak-hub.service is never stopped: this agent"},
		"Xorg":                           {process("/usr/lib/xorg/Xorg", tcp("*:6000")), 6000, "Xorg is never ended: it is the screen of this computer"},
		"Xwayland":                       {process("/usr/bin/Xwayland", tcp("*:6001")), 6001, "Xwayland is never ended: it is the screen of this computer"},
		"GNOME":                          {userService("org.gnome.Shell@wayland.service", "/usr/bin/gnome-shell", tcp("*:3389")), 3389, "gnome-shell is never ended: it is the desktop of a user"},
		"GNOME, by its unit":             {userService("org.gnome.Shell@x11.service", "/usr/bin/sh", tcp("*:3389")), 3389, "org.gnome.Shell@x11.service of user lena is never stopped: the desktop of a user"},
		"KDE":                            {process("/usr/bin/kwin_wayland", tcp("*:6002")), 6002, "kwin_wayland is never ended: it is the desktop of a user"},
		"the login screen of KDE":        {service("sddm", "/usr/bin/sddm", tcp("*:6003")), 6003, "sddm is never ended: it is the login screen"},
		"the login screen of GNOME":      {service("gdm", "/usr/sbin/gdm-x", tcp("*:6004")), 6004, "the login screen"},
		"the name server of systemd":     {service("systemd-resolved", "/usr/lib/systemd/systemd-resolved", tcp("*:5355")), 5355, "this computer's own name server"},
		"any name server of its own":     {service("unbound", "/usr/sbin/unbound", tcp("127.0.0.1:53")), 53, "it is this computer's own name server: without it no name on the network is found"},
		"dnsmasq of NetworkManager":      {service("NetworkManager", "/usr/sbin/dnsmasq", tcp("127.0.1.1:53")), 53, "it is this computer's own name server"},
		"dhclient":                       {process("/usr/sbin/dhclient", udp("*:68")), 68, "dhclient is never ended: it is this computer's network"},
		"dhcpcd":                         {service("dhcpcd", "/usr/sbin/dhcpcd", udp("*:68")), 68, "dhcpcd is never ended: it is this computer's network"},
		"DHCP of NetworkManager":         {service("NetworkManager", "/usr/sbin/NetworkManager", udp("*:68")), 68, "NetworkManager is never ended: it is this computer's network"},
		"DHCPv6 of systemd":              {service("systemd-networkd", "/usr/lib/systemd/systemd-networkd", udp("*:546")), 546, "systemd-networkd is never ended: it is this computer's network"},
		"any DHCP client":                {process("/opt/dhcp/client", udp("*:68")), 68, "this computer gets its network address through it (DHCP)"},
		"a part of systemd":              {service("systemd-journal-remote", "/usr/lib/systemd/systemd-journal-remote", tcp("*:19532")), 19532, "systemd-journal-remote.service is never stopped: part of the operating system"},

		"what only calls itself Xorg":    {process("/home/lena/Xorg", tcp("*:6000")), 6000, ""},
		"the same, put there by root":    {process("/usr/local/bin/Xorg", tcp("*:6000")), 6000, ""},
		"a name server for others":       {service("bind9", "/usr/sbin/named", tcp("*:53")), 53, ""},
		"a service of a user":            {userService("share.service", "/usr/bin/python3.11", tcp("*:8000")), 8000, ""},
		"a TCP service on port 68":       {process("/usr/bin/nc", tcp("*:68")), 68, ""},
		"a socket unit that systemd has": {func(m *platformtest.Machine) { m.AddSocketService("cups", "/usr/sbin/cupsd", tcp("*:631")) }, 631, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := platformtest.New()
			c.setup(m)
			protocol := platform.TCP
			if l := m.Snapshot().Listeners; len(l) > 0 {
				protocol = l[0].Protocol
			}
			o := portOrder(m, protocol, c.port)
			o.Terms.Protected.Ports = append(o.Terms.Protected.Ports, platform.PortRule{Protocol: platform.TCP, First: 9993, Last: 9993})
			p, err := ClosePort.Preview(t.Context(), m.Host(), o)
			if err != nil || !strings.Contains(p.Refused, c.says) || c.says == "" && p.Refused != "" {
				t.Fatalf("got %q, %v; want %q", p.Refused, err, c.says)
			}
		})
	}
	pid1 := tcp("*:8080")
	pid1.Owner = platform.Owner{PID: 1, PIDs: []int{1}, Process: "systemd"}
	manager := tcp("*:8080")
	manager.Owner = platform.Owner{PID: 70, PIDs: []int{70}, Process: "systemd", UserUnit: "init.scope", User: "lena"}
	for says, l := range map[string]platform.Listener{
		"the service manager holds it, for a unit that could not be found":              pid1,
		"the service manager of user lena holds it, for a unit that could not be found": manager,
	} {
		if why := unclosable(l); why != says {
			t.Errorf("got %q, want %q", why, says)
		}
	}
}
