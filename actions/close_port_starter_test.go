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

var loop = []string{"/bin/sh", "/usr/local/bin/again"}

func runs(m *platformtest.Machine, pid int) bool {
	_, err := m.Host().Processes.Inspect(context.Background(), pid)
	return err == nil
}

func TestClosePortSparesTheScriptThatMerelyStartedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := platformtest.New()
		script := m.AddUnder(1, false, "/usr/bin/dash", loop)
		m.AddUnder(script, false, "/usr/bin/nc", nil, platformtest.Listen(platform.TCP, "*:7001"))
		o := portOrder(m, platform.TCP, 7001)
		p, err := ClosePort.Preview(t.Context(), m.Host(), o)
		if err != nil || !p.Final || !strings.Contains(strings.Join(p.Steps, "\n"), "but only if it starts the program again") ||
			!strings.Contains(strings.Join(p.Costs, "\n"), "dash again of user lena ends too, if it starts the program again") {
			t.Fatalf("%+v %v", p, err)
		}
		r, err := closeIt(t, m, &o)
		if err != nil || len(r.Done) != 1 || open(m, 7001) || !inForce(t, ClosePort, m, o) {
			t.Fatal(r, err)
		}
		if !runs(m, script) {
			t.Fatal("the script was ended, and had done nothing")
		}
	})
}

func TestClosePortEndsWhatStartsItAgain(t *testing.T) {
	for name, c := range map[string]struct {
		exe  string
		args []string
	}{
		"a script":          {"/usr/bin/dash", loop},
		"a command line":    {"/usr/bin/bash", []string{"bash", "-c", "while true; do nc; done"}},
		"another script":    {"/usr/bin/python3.13", []string{"python3", "keep.py"}},
		"a busybox":         {"/usr/bin/busybox", []string{"sh", "again"}},
		"a process like it": {"/usr/bin/nc", nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := platformtest.New()
				outer := m.AddUnder(1, false, "/usr/bin/dash", loop)
				inner := m.AddUnder(outer, false, c.exe, c.args)
				m.AddUnder(inner, true, "/usr/bin/nc", nil, platformtest.Listen(platform.TCP, "*:7001"))
				o := portOrder(m, platform.TCP, 7001)
				r, err := closeIt(t, m, &o)
				if err != nil || open(m, 7001) || runs(m, inner) || !runs(m, outer) || !strings.Contains(strings.Join(r.Done, "\n"), "it had started nc again") {
					t.Fatal(r, err)
				}
				if err := ClosePort.Undo(t.Context(), m.Host(), o); !errors.Is(err, ErrNotUndoable) {
					t.Fatal(err)
				}
			})
		})
	}
}

// The shell of a session, a desktop and a supervisor that is not known are never
// ended: the port is blocked, and a person is told what starts it again.
func TestClosePortNeverEndsASession(t *testing.T) {
	for name, c := range map[string]struct {
		parent string // of the one that starts it again; "" is the first process
		exe    string
		args   []string
	}{
		"login shell":                 {"", "/usr/bin/bash", []string{"-bash"}},
		"interactive shell":           {"", "/usr/bin/bash", []string{"bash", "-i", "x"}},
		"shell of an editor":          {"", "/usr/bin/bash", []string{"/bin/bash", "--init-file", "/usr/share/code/shell.sh"}},
		"shell that reads its input":  {"", "/usr/bin/dash", []string{"sh", "-s", "x"}},
		"command of an SSH session":   {"/usr/lib/openssh/sshd-session", "/usr/bin/bash", []string{"bash", "-c", "while true; do nc; done"}},
		"the session itself":          {"", "/usr/lib/openssh/sshd-session", []string{"sshd-session: lena@pts/0"}},
		"desktop":                     {"", "/usr/bin/xfce4-session", []string{"xfce4-session"}},
		"unknown supervisor":          {"", "/opt/keeper", []string{"keeper", "nc"}},
		"program that cannot be read": {"", "", []string{"sh", "again"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := platformtest.New()
				parent := 1
				if c.parent != "" {
					parent = m.AddUnder(1, false, c.parent, nil)
				}
				keeper := m.AddUnder(parent, false, c.exe, c.args)
				m.AddUnder(keeper, true, "/usr/bin/nc", nil, platformtest.Listen(platform.TCP, "*:7001"))
				o := portOrder(m, platform.TCP, 7001)
				if r, err := closeIt(t, m, &o); !errors.Is(err, ErrCannot) || !runs(m, keeper) {
					t.Fatal(r, err, "the session runs:", runs(m, keeper))
				}
			})
		})
	}
}

func TestClosePortSparesAScriptThatServesAnotherPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := platformtest.New()
		script := m.AddUnder(1, false, "/usr/bin/python3.13", []string{"python3", "web.py"}, platformtest.Listen(platform.TCP, "*:8000"))
		m.AddUnder(script, true, "/usr/bin/nc", nil, platformtest.Listen(platform.TCP, "*:7001"))
		o := portOrder(m, platform.TCP, 7001)
		if r, err := closeIt(t, m, &o); !errors.Is(err, ErrCannot) || !runs(m, script) {
			t.Fatal(r, err)
		}
	})
}

// A script that waits a minute before it starts the program again is found out
// when the port is closed the second time.
func TestClosePortEndsTheScriptAtARecurrence(t *testing.T) {
	for name, c := range map[string]struct {
		exe   string
		args  []string
		other string // what it starts the second time, if not the same
		ended bool
	}{
		"script":                  {"/usr/bin/dash", loop, "", true},
		"another program":         {"/usr/bin/dash", loop, "/usr/bin/socat", false},
		"tool of a person":        {"/usr/bin/node", []string{"node", "/usr/share/editor"}, "", false},
		"shell of a session":      {"/usr/bin/bash", []string{"-bash"}, "", false},
		"what no one knows about": {"/opt/keeper", nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := platformtest.New()
				script := m.AddUnder(1, false, c.exe, c.args)
				m.AddUnder(script, false, "/usr/bin/nc", nil, platformtest.Listen(platform.TCP, "*:7001"))
				o := portOrder(m, platform.TCP, 7001)
				if _, err := closeIt(t, m, &o); err != nil || !runs(m, script) {
					t.Fatal(err)
				}
				exe := "/usr/bin/nc"
				if c.other != "" {
					exe = c.other
				}
				m.AddUnder(script, false, exe, nil, platformtest.Listen(platform.TCP, "*:7001"))
				earlier := []json.RawMessage{o.Inverse}
				o = portOrder(m, platform.TCP, 7001)
				o.Earlier = earlier
				p, err := ClosePort.Preview(t.Context(), m.Host(), o)
				if err != nil || c.ended != strings.Contains(strings.Join(p.Steps, "\n"), "when the port was closed before, it started the program again") {
					t.Fatalf("%q %v", p.Steps, err)
				}
				if r, err := closeIt(t, m, &o); err != nil || open(m, 7001) || runs(m, script) == c.ended {
					t.Fatal(r, err)
				}
				if !inForce(t, ClosePort, m, o) {
					t.Fatal("not in force")
				}
			})
		})
	}
}

func TestStartersOf(t *testing.T) {
	m := platformtest.New()
	session := m.AddUnder(1, false, "/usr/bin/bash", []string{"-bash"})
	outer := m.AddUnder(session, false, "/usr/bin/dash", loop)
	inner := m.AddUnder(outer, false, "/usr/bin/dash", loop)
	sudo := m.AddUnder(inner, false, "/usr/bin/sudo", []string{"sudo", "nc"})
	nc, err := m.Host().Processes.Inspect(t.Context(), m.AddUnder(sudo, false, "/usr/bin/nc", nil))
	if err != nil {
		t.Fatal(err)
	}
	got, err := startersOf(t.Context(), m.Host(), nc)
	if err != nil || len(got) != 2 || got[0].PID != inner || got[1].PID != outer {
		t.Fatalf("%+v %v", got, err)
	}
}

func TestScript(t *testing.T) {
	for line, want := range map[string]string{
		"/bin/sh /x": "file", "sh -e /x": "file", "bash -o pipefail x": "file", "bash --norc x": "file",
		"sh -c x": "command", "bash -lc x": "command", "sh -e -c x": "command",
		"bash": "", "-bash": "", "bash -i": "", "bash -l": "", "bash --rcfile x": "", "sh -s x": "", "bash -ic x": "", "sh -": "",
	} {
		args := strings.Fields(line)
		file, command := script(platform.Process{Exe: "/usr/bin/bash", Args: args})
		got := ""
		if file {
			got = "file"
		} else if command {
			got = "command"
		}
		if got != want {
			t.Errorf("%q: got %q; want %q", line, got, want)
		}
	}
	if file, _ := script(platform.Process{Exe: "/usr/bin/busybox", Args: []string{"busybox", "httpd", "x"}}); file {
		t.Error("a web server of busybox counts as a script")
	}
}
