package actions

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/firebreak-sec/firebreak/platform"
	"github.com/firebreak-sec/firebreak/platform/platformtest"
)

var (
	container = platform.Program{Kind: "podman", Name: "web", Title: "container web (nginx:1.25)", State: map[string]string{"restart policy": "always"}}
	userUnit  = platform.Program{Kind: "user-unit", Name: "share.service", User: "lena", Title: "share.service of user lena"}
)

func forwarded(at, to string) platform.Listener {
	l := platformtest.Listen(platform.TCP, at)
	l.Forward = to
	return l
}

func TestClosePortAtItsSupervisorAndBack(t *testing.T) {
	for name, c := range map[string]struct {
		program platform.Program
		listens platform.Listener
		says    string
	}{
		"program of a user":        {userUnit, platformtest.Listen(platform.TCP, "*:8080"), "keep the service manager of its user from starting it again"},
		"container with a socket":  {container, platformtest.Listen(platform.TCP, "*:8080"), "keep podman from starting it again"},
		"published, and no socket": {container, forwarded("*:8080", "10.88.0.2:80"), "stop container web (nginx:1.25)"},
	} {
		t.Run(name, func(t *testing.T) {
			m := platformtest.New()
			m.AddProgram(c.program, "/usr/sbin/nginx", c.listens)
			o := portOrder(m, platform.TCP, 8080)
			p, err := ClosePort.Preview(t.Context(), m.Host(), o)
			if err != nil || p.Final || !strings.Contains(strings.Join(p.Steps, "\n"), c.says) || len(p.Costs) != 1 {
				t.Fatalf("%+v %v", p, err)
			}
			for range 2 {
				if r, err := closeIt(t, m, &o); err != nil || len(r.Done) != 1 {
					t.Fatal(r, err)
				}
				if open(m, 8080) || !inForce(t, ClosePort, m, o) {
					t.Fatal("not closed")
				}
				if _, err := ClosePort.Do(t.Context(), m.Host(), o); err != nil {
					t.Fatal("done twice:", err)
				}
				m.Reboot()
				if open(m, 8080) {
					t.Fatal("open again after a reboot")
				}
				for range 2 {
					if err := ClosePort.Undo(t.Context(), m.Host(), o); err != nil {
						t.Fatal(err)
					}
					if runs, kept := m.ProgramState(c.program.Name); !runs || !kept || !open(m, 8080) {
						t.Fatal("not as before:", runs, kept)
					}
				}
				if inForce(t, ClosePort, m, o) {
					t.Fatal("undone, and still said to be closed")
				}
			}
		})
	}
}

func TestClosePortDoesNotOverwriteAChangedProgram(t *testing.T) {
	m := platformtest.New()
	m.AddProgram(container, "/usr/sbin/nginx", platformtest.Listen(platform.TCP, "*:8080"))
	o := portOrder(m, platform.TCP, 8080)
	if _, err := closeIt(t, m, &o); err != nil {
		t.Fatal(err)
	}
	m.ChangeProgram("web")
	if err := ClosePort.Undo(t.Context(), m.Host(), o); !errors.Is(err, platform.ErrChanged) {
		t.Fatal(err)
	}
	if runs, _ := m.ProgramState("web"); runs {
		t.Fatal("overwritten")
	}
}

func TestClosePortPassedOnByARule(t *testing.T) {
	m := platformtest.New()
	l := forwarded("*:8080", "10.88.0.9:80")
	o := Order{Threat: "T-7K4Q", Subject: platform.Subject{Port: &platform.PortSubject{Protocol: platform.TCP, Port: 8080}}}
	m.AddProgram(container, "/usr/sbin/nginx", l)
	m.Fail("Supervisors.Find", errors.New("podman does not answer"))
	if _, err := ClosePort.Preview(t.Context(), m.Host(), o); err == nil || errors.Is(err, ErrCannot) {
		t.Fatal("a supervisor that could not be asked must be asked again:", err)
	}
	if why := unclosable(l); !strings.Contains(why, "passes it on to 10.88.0.9:80") {
		t.Fatal(why)
	}
}

func TestClosePortClosesALauncherForItsOwnPortOnly(t *testing.T) {
	m := platformtest.New()
	m.AddService("supervisor", "/usr/bin/supervisord", platformtest.Listen(platform.TCP, "*:9001"))
	p, err := ClosePort.Preview(t.Context(), m.Host(), portOrder(m, platform.TCP, 9001))
	var c closed
	if err != nil || json.Unmarshal(p.Inverse, &c) != nil || len(c.Units) != 1 || len(c.Processes) != 0 {
		t.Fatal(string(p.Inverse), err)
	}
}

func TestClosePortPassesFaultsOfSupervisorsOn(t *testing.T) {
	planted := errors.New("planted")
	m := platformtest.New()
	m.AddProgram(container, "/usr/sbin/nginx", platformtest.Listen(platform.TCP, "*:8080"))
	o := portOrder(m, platform.TCP, 8080)
	m.FailTimes("Supervisors.Close", 1, planted)
	if _, err := closeIt(t, m, &o); !errors.Is(err, planted) {
		t.Error(err)
	}
	m.FailTimes("Supervisors.Inspect", 1, planted)
	if _, err := ClosePort.Verify(t.Context(), m.Host(), o); !errors.Is(err, planted) {
		t.Error(err)
	}
	m.FailTimes("Supervisors.Restore", 1, planted)
	if err := ClosePort.Undo(t.Context(), m.Host(), o); !errors.Is(err, planted) {
		t.Error(err)
	}
}

func TestClosePortEndsTheCopyThatAProcessLeavesBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := platformtest.New()
		m.AddCopying("/srv/miner", 5, platformtest.Listen(platform.TCP, "*:4444"))
		o := portOrder(m, platform.TCP, 4444)
		r, err := closeIt(t, m, &o)
		if err != nil || len(r.Done) != 2 || open(m, 4444) {
			t.Fatal(r, err)
		}
	})
}

func TestClosePortGivesUpOnWhatComesBackFromNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := platformtest.New()
		m.AddPersistent("/srv/miner", platformtest.Listen(platform.TCP, "*:4444"))
		o := portOrder(m, platform.TCP, 4444)
		if r, err := closeIt(t, m, &o); !errors.Is(err, ErrCannot) || len(r.Done) != 1+maxCopies {
			t.Fatal(r, err)
		}
	})
}

func TestClosePortSparesAnotherProcessWithThePID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := platformtest.New()
		pid := m.AddProcess("/usr/bin/nc", platformtest.Listen(platform.TCP, "*:4444"))
		o := portOrder(m, platform.TCP, 4444)
		p, err := ClosePort.Preview(t.Context(), m.Host(), o)
		if err != nil {
			t.Fatal(err)
		}
		o.Inverse = p.Inverse
		m.Kill(pid)
		m.Reuse(pid, "/usr/bin/editor")
		r, err := ClosePort.Do(t.Context(), m.Host(), o)
		if err != nil || len(r.Done) != 0 || slices.ContainsFunc(m.Calls(), func(c string) bool { return strings.HasPrefix(c, "Processes.End") }) {
			t.Fatal(r, err, m.Calls())
		}
	})
}
