package actions

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/firebreak-sec/firebreak/platform"
	"github.com/firebreak-sec/firebreak/platform/platformtest"
)

// portOrder orders a close of the port, as the agent would after finding it.
func portOrder(m *platformtest.Machine, protocol platform.Protocol, number uint16) Order {
	s := m.Snapshot()
	port := platform.PortSubject{Protocol: protocol, Port: number}
	for _, l := range s.Listeners {
		if l.Port == number && l.Protocol == protocol {
			o := l.Owner
			port.PID, port.Process, port.Exe, port.User = o.PID, o.Process, o.Exe, o.User
			port.Unit, port.Container, port.NetNS, port.Reach = o.Unit, o.Container, l.NetNS, l.Reach
			port.Sockets = append(port.Sockets, l)
		}
	}
	return Order{
		Threat: "T-7K4Q", Subject: platform.Subject{Port: &port}, Snapshot: &s, Now: m.Now(),
		Terms: Terms{Protected: Protected{Ports: []platform.PortRule{{Protocol: platform.TCP, First: 22, Last: 22}}}},
	}
}

func open(m *platformtest.Machine, port uint16) bool {
	for _, l := range m.Snapshot().Listeners {
		if l.Port == port {
			return true
		}
	}
	return false
}

// closeIt previews and does, as the agent does.
func closeIt(t *testing.T, m *platformtest.Machine, o *Order) (Result, error) {
	t.Helper()
	p, err := ClosePort.Preview(t.Context(), m.Host(), *o)
	if err != nil {
		t.Fatal(err)
	}
	if p.Refused != "" {
		t.Fatal(p.Refused)
	}
	o.Inverse = p.Inverse
	return ClosePort.Do(t.Context(), m.Host(), *o)
}

func inForce(t *testing.T, a *Action, m *platformtest.Machine, o Order) bool {
	t.Helper()
	e, err := a.Verify(t.Context(), m.Host(), o)
	if err != nil {
		t.Fatal(err)
	}
	if e.Detail == "" {
		t.Error("verify says nothing")
	}
	return e.InForce
}

func TestClosePortWhereItIsOwnedAndBack(t *testing.T) {
	tcp := func(at string) platform.Listener { return platformtest.Listen(platform.TCP, at) }
	for name, c := range map[string]struct {
		setup func(*platformtest.Machine)
		port  uint16
		units []string
	}{
		"service": {
			func(m *platformtest.Machine) { m.AddService("smbd", "/usr/sbin/smbd", tcp("*:445"), tcp("*:139")) },
			445,
			[]string{"smbd.service"},
		},
		"service that respawns": {
			func(m *platformtest.Machine) { m.AddService("app", "/srv/app", tcp("*:9000")); m.Respawn("app") },
			9000,
			[]string{"app.service"},
		},
		"socket that was not used yet": {
			func(m *platformtest.Machine) { m.AddSocketService("cups", "/usr/sbin/cupsd", tcp("0.0.0.0:631")) },
			631,
			[]string{"cups.socket", "cups.service"},
		},
		"socket whose service runs": {
			func(m *platformtest.Machine) {
				m.AddSocketService("cups", "/usr/sbin/cupsd", tcp("0.0.0.0:631"))
				m.Systemctl("start", "cups.service")
			},
			631,
			[]string{"cups.socket", "cups.service"},
		},
		"service that another needs": {
			func(m *platformtest.Machine) {
				m.AddService("redis-server", "/usr/bin/redis-server", tcp("*:6379"))
				m.AddService("shop", "/srv/shop")
				m.AddService("till", "/srv/till")
				m.Require("redis-server", "shop.service")
				m.Require("shop", "till.service")
				m.Require("till", "shop.service")
			},
			6379,
			[]string{"redis-server.service", "shop.service", "till.service"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := platformtest.New()
			c.setup(m)
			before := states(m, c.units)
			o := portOrder(m, platform.TCP, c.port)
			if r, err := closeIt(t, m, &o); err != nil || len(r.Done) == 0 || r.Waits != "" {
				t.Fatal(r, err)
			}
			if !inForce(t, ClosePort, m, o) || open(m, c.port) {
				t.Fatal("not closed")
			}
			done := states(m, c.units)
			if _, err := ClosePort.Do(t.Context(), m.Host(), o); err != nil || states(m, c.units) != done {
				t.Fatalf("done twice: %v\n%s\n%s", err, done, states(m, c.units))
			}
			m.Reboot()
			if open(m, c.port) {
				t.Fatal("open again after a reboot")
			}
			for range 2 {
				if err := ClosePort.Undo(t.Context(), m.Host(), o); err != nil {
					t.Fatal(err)
				}
				if after := states(m, c.units); after != before || !open(m, c.port) {
					t.Fatalf("before:\n%safter:\n%s", before, after)
				}
			}
			if inForce(t, ClosePort, m, o) {
				t.Fatal("undone, and still said to be closed")
			}
		})
	}
}

func states(m *platformtest.Machine, units []string) string {
	var b strings.Builder
	for _, u := range units {
		active, file := m.UnitState(u)
		b.WriteString(u + " " + active + " " + file + "\n")
	}
	return b.String()
}

func TestClosePortEndsAPlainProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := platformtest.New()
		pid := m.AddProcess("/usr/bin/nc", platformtest.Listen(platform.TCP, "0.0.0.0:4444"))
		o := portOrder(m, platform.TCP, 4444)
		r, err := closeIt(t, m, &o)
		if err != nil || len(r.Done) != 1 || open(m, 4444) || !inForce(t, ClosePort, m, o) {
			t.Fatal(r, err)
		}
		if r, err := ClosePort.Do(t.Context(), m.Host(), o); err != nil || len(r.Done) != 0 {
			t.Fatal("done twice:", r, err)
		}
		err = ClosePort.Undo(t.Context(), m.Host(), o)
		if !errors.Is(err, ErrNotUndoable) || !strings.Contains(err.Error(), "nc, as user lena") || strings.Contains(err.Error(), "/usr/bin/nc") {
			t.Fatalf("process %d: %v", pid, err)
		}
	})
}

func TestClosePortSaysWhoStartsItAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := platformtest.New()
		m.AddSupervised("/usr/bin/x11vnc", "/usr/bin/runsv", platformtest.Listen(platform.TCP, "*:5900"))
		o := portOrder(m, platform.TCP, 5900)
		_, err := closeIt(t, m, &o)
		if !errors.Is(err, ErrCannot) || !strings.Contains(err.Error(), "it came back: something starts it again (parent: runsv)") {
			t.Fatal(err)
		}
	})
}

func TestClosePortTakesTheOwnerOfNow(t *testing.T) {
	m := platformtest.New()
	m.AddProcess("/usr/bin/nc", platformtest.Listen(platform.TCP, "0.0.0.0:4444"))
	o := portOrder(m, platform.TCP, 4444)
	m.Kill(o.Subject.Port.PID)
	if _, err := ClosePort.Preview(t.Context(), m.Host(), o); !errors.Is(err, platform.ErrGone) {
		t.Fatal(err)
	}
	pid := m.AddProcess("/usr/bin/nc", platformtest.Listen(platform.TCP, "0.0.0.0:4444"))
	p, err := ClosePort.Preview(t.Context(), m.Host(), o)
	var c closed
	if err != nil || json.Unmarshal(p.Inverse, &c) != nil || len(c.Processes) != 1 || c.Processes[0].PID != pid {
		t.Fatal(string(p.Inverse), err)
	}
}

func TestClosePortLeavesAloneWhatSomebodyChanged(t *testing.T) {
	m := platformtest.New()
	m.AddService("smbd", "/usr/sbin/smbd", platformtest.Listen(platform.TCP, "*:445"))
	o := portOrder(m, platform.TCP, 445)
	if _, err := closeIt(t, m, &o); err != nil {
		t.Fatal(err)
	}
	m.Systemctl("unmask", "smbd")
	if inForce(t, ClosePort, m, o) {
		t.Error("an unmasked unit counts as closed")
	}
	err := ClosePort.Undo(t.Context(), m.Host(), o)
	if !errors.Is(err, platform.ErrChanged) || !strings.Contains(err.Error(), "to have it back all the same, run as root: systemctl unmask smbd.service;") {
		t.Error(err)
	}
}

func TestClosePortCannot(t *testing.T) {
	listener := platformtest.Listen(platform.TCP, "*:2049")
	for name, c := range map[string]struct {
		owner platform.Owner
		netns string
		says  string
	}{
		"kernel":          {platform.Owner{Kernel: true}, "", "the kernel itself"},
		"nobody seen":     {platform.Owner{}, "", "nobody can see"},
		"container":       {platform.Owner{PID: 7, PIDs: []int{7}, Container: "web"}, "", "container web"},
		"other namespace": {platform.Owner{PID: 7, PIDs: []int{7}}, "net:[40]", "container net:[40]"},
		"published port":  {platform.Owner{PID: 7, PIDs: []int{7}, Exe: "/usr/bin/docker-proxy", Unit: "docker.service"}, "", "docker-proxy opens it for a container"},
		"unknown socket":  {platform.Owner{PID: 1, PIDs: []int{1}}, "", "for a unit that could not be found"},
	} {
		t.Run(name, func(t *testing.T) {
			l := listener
			l.Owner, l.NetNS = c.owner, c.netns
			if why := unclosable(l); !strings.Contains(why, c.says) {
				t.Fatal(why)
			}
		})
	}
	m := platformtest.New()
	m.AddKernelListener(listener)
	if _, err := ClosePort.Preview(t.Context(), m.Host(), portOrder(m, platform.TCP, 2049)); !errors.Is(err, ErrCannot) {
		t.Fatal(err)
	}
}

func TestClosePortRefuses(t *testing.T) {
	tcp := func(at string) platform.Listener { return platformtest.Listen(platform.TCP, at) }
	for name, c := range map[string]struct {
		setup func(*platformtest.Machine)
		port  uint16
		terms func(*Terms)
		says  string
	}{
		"a protected port": {
			setup: func(m *platformtest.Machine) { m.AddService("ssh", "/usr/sbin/sshd", tcp("*:22")) },
			port:  22, says: "protected port",
		},
		"an owner that also serves a protected port": {
			setup: func(m *platformtest.Machine) { m.AddService("ssh", "/usr/sbin/sshd", tcp("*:22"), tcp("*:2200")) },
			port:  2200, says: "also serves tcp 22, which is protected",
		},
		"an owner that also serves an allowed port": {
			setup: func(m *platformtest.Machine) { m.AddService("nginx", "/usr/sbin/nginx", tcp("*:443"), tcp("*:8080")) },
			port:  8080, says: "also serves tcp 443, which policy allows",
			terms: func(t *Terms) { t.Allows = func(l platform.Listener) bool { return l.Port == 443 } },
		},
		"a part of systemd": {
			setup: func(m *platformtest.Machine) {
				m.AddService("systemd-machined", "/usr/lib/systemd/systemd-machined", tcp("*:5355"))
			},
			port: 5355, says: "part of the operating system",
		},
		"the login screen": {
			setup: func(m *platformtest.Machine) { m.AddService("gdm3", "/usr/sbin/gdm3", tcp("*:6000")) },
			port:  6000, says: "the login screen",
		},
		"what the network needs": {
			setup: func(m *platformtest.Machine) {
				m.AddService("iwd", "/usr/sbin/iwd", tcp("*:7000"))
				m.AddService("NetworkManager", "/usr/sbin/NetworkManager")
				m.Require("iwd", "NetworkManager.service")
			},
			port: 7000, says: "NetworkManager.service needs it, which is this computer's network",
		},
		"a unit that policy protects": {
			setup: func(m *platformtest.Machine) { m.AddService("docker", "/usr/bin/dockerd", tcp("*:2375")) },
			port:  2375, says: "docker.service is never stopped: protected by policy",
			terms: func(t *Terms) { t.Protected.Units = []string{"docker.service"} },
		},
		"a program that policy protects": {
			setup: func(m *platformtest.Machine) { m.AddProcess("/opt/backup/agent", tcp("*:7777")) },
			port:  7777, says: "/opt/backup/agent is protected by policy",
			terms: func(t *Terms) { t.Protected.Processes = []string{"/opt/backup/agent"} },
		},
		"the own name server": {
			setup: func(m *platformtest.Machine) { m.AddService("dnsmasq", "/usr/sbin/dnsmasq", tcp("127.0.0.1:53")) },
			port:  53, says: "name server",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := platformtest.New()
			c.setup(m)
			o := portOrder(m, platform.TCP, c.port)
			if c.terms != nil {
				c.terms(&o.Terms)
			}
			p, err := ClosePort.Preview(t.Context(), m.Host(), o)
			if err != nil || !strings.Contains(p.Refused, c.says) {
				t.Fatalf("%q %v", p.Refused, err)
			}
		})
	}
}

func TestClosePortEndsWhatCronStartedAndNotCron(t *testing.T) {
	port := platform.PortSubject{Sockets: []platform.Listener{{Owner: platform.Owner{PID: 70, PIDs: []int{70}, Unit: "cron.service"}}}}
	if units, rest := owningUnits(port); len(units) != 0 || len(rest) != 1 {
		t.Fatal(units, rest)
	}
}

func TestClosePortEndsParentsFirst(t *testing.T) {
	p := func(pid, parent int) platform.Process {
		return platform.Process{ProcessID: platform.ProcessID{PID: pid}, PPID: parent}
	}
	if got := parentsFirst([]platform.Process{p(5, 9), p(9, 1), p(12, 9)}); got[0].PID != 9 || len(got) != 3 {
		t.Fatalf("%+v", got)
	}
}

func TestClosePortPassesFaultsOn(t *testing.T) {
	planted := errors.New("planted")
	for _, method := range []string{"Observer.Snapshot", "Services.Inspect"} {
		m := platformtest.New()
		m.AddService("smbd", "/usr/sbin/smbd", platformtest.Listen(platform.TCP, "*:445"))
		o := portOrder(m, platform.TCP, 445)
		m.Fail(method, planted)
		if _, err := ClosePort.Preview(t.Context(), m.Host(), o); !errors.Is(err, planted) {
			t.Errorf("%s: %v", method, err)
		}
	}
	m := platformtest.New()
	m.AddService("smbd", "/usr/sbin/smbd", platformtest.Listen(platform.TCP, "*:445"))
	o := portOrder(m, platform.TCP, 445)
	m.FailTimes("Services.Close", 1, planted)
	if _, err := closeIt(t, m, &o); !errors.Is(err, planted) {
		t.Error(err)
	}
	m.Fail("Services.Restore", planted)
	if err := ClosePort.Undo(context.Background(), m.Host(), o); !errors.Is(err, planted) {
		t.Error(err)
	}
	for _, inverse := range []string{"", "null ", "[]", "{"} {
		o.Inverse = json.RawMessage(inverse)
		if _, err := ClosePort.Do(t.Context(), m.Host(), o); err == nil && inverse != "null " {
			t.Errorf("acted on the inverse %q", inverse)
		}
	}
}
