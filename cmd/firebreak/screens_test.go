package main

import (
	"bytes"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

var update = flag.Bool("update", false, "write the golden screens anew")

var evening = time.Date(2026, 11, 23, 16, 38, 12, 0, time.UTC)

func earlier(d time.Duration) *time.Time { at := evening.Add(-d); return &at }

func waitFor(w threat.Wait) *threat.Wait { return &w }

// golden compares a screen with its place in testdata/screens/FILE.txtar.
func golden(t *testing.T, file, name string, draw func(*page)) {
	t.Helper()
	p := &page{}
	draw(p)
	var got bytes.Buffer
	if err := p.print(&got); err != nil {
		t.Fatal(err)
	}
	fitsTerminal(t, name, p)
	path := filepath.Join("testdata", "screens", file+".txtar")
	archive := &txtar.Archive{}
	if data, err := os.ReadFile(path); err == nil {
		archive = txtar.Parse(data)
	}
	at := -1
	for i, f := range archive.Files {
		if f.Name == name {
			at = i
		}
	}
	if *update {
		if at < 0 {
			archive.Files = append(archive.Files, txtar.File{Name: name})
			at = len(archive.Files) - 1
		}
		archive.Files[at].Data = got.Bytes()
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if at < 0 {
		t.Fatalf("%s has no screen %q; got:\n%s", path, name, &got)
	}
	if want := string(archive.Files[at].Data); got.String() != want {
		t.Errorf("%s: got:\n%s\nwant:\n%s", name, &got, want)
	}
}

func fitsTerminal(t *testing.T, name string, p *page) {
	t.Helper()
	if len(p.lines) > screenLines {
		t.Errorf("%s: %d lines; at most %d fit:\n%s", name, len(p.lines), screenLines, strings.Join(p.lines, "\n"))
	}
	for _, line := range p.lines {
		if width(line) > screenWidth || clean(line) != line {
			t.Errorf("%s: %d columns or a control character in %q", name, width(line), line)
		}
	}
}

func vnc() localapi.Threat {
	return localapi.Threat{
		ID: "T-7K4Q", Detector: "open-port", Severity: "high", Stage: threat.Mitigated, InForce: []string{"block-port"},
		Summary: ptr("VNC (port 5900) answers the local network"), Plan: ptr("shut"),
		Next: ptr("helpdesk: ask Lena who started x11vnc"), Because: ptr("deny rule in line 12"),
		FirstSeen: earlier(2 * time.Hour), LastSeen: earlier(12 * time.Second), Recurrences: 1,
		Subject: localapi.Subject{Port: &localapi.PortSubject{
			Protocol: "tcp", Port: 5900, Exe: ptr("/usr/bin/x11vnc"), User: ptr("lena"), Reach: "lan",
		}},
		Actions: []localapi.Act{
			{Name: "block-port", Kind: "mitigation", At: earlier(2 * time.Hour), By: ptr("policy"), Result: "done", Undoable: true, Detail: ptr("nobody gets in at tcp 5900")},
			{Name: "close-port", Kind: "remediation", At: earlier(time.Hour), By: ptr("policy"), Result: "failed", Detail: ptr("x11vnc was started again 3 times")},
		},
		Proofs:   []localapi.Proof{{At: earlier(time.Hour), Look: "at once", How: "probe", Verdict: "persists", Detail: ptr("it still listens; the probe got no answer")}},
		Looks:    []localapi.Look{{Name: "after 1h", Due: earlier(-time.Hour)}, {Name: "after reboot"}},
		Evidence: []string{"EV-T-7K4Q-20261123T143812.000Z.tar.gz"},
	}
}

func redisThreat() localapi.Threat {
	return localapi.Threat{
		ID: "T-9MPX", Severity: "high", Stage: threat.Waiting, WaitingFor: waitFor(threat.ForApproval), Plan: ptr("ask"),
		Summary: ptr("Redis (port 6379) answers any network"),
		Next:    ptr("administrator: firebreak approve T-9MPX (blocks it, stops redis-server.service)"),
	}
}

func allRight() localapi.Status {
	return localapi.Status{
		State: agent.StateOK, Host: "lena-t14", Mode: configs.Enforce, LastLook: earlier(12 * time.Second),
		Policy: localapi.Policy{Version: ptr("workstations r41"), Mode: configs.Enforce, Valid: true}, Next: ptr("nothing"),
	}
}

func TestStatusScreen(t *testing.T) {
	cases := []struct {
		name   string
		change func(*localapi.Status)
	}{
		{"all right", func(*localapi.Status) {}},
		{"all right but partly seen", func(s *localapi.Status) {
			s.Gaps = []localapi.Gap{{Part: "owners", Partial: true, Reason: ptr("owners of 2 ports are not visible from here")}}
		}},
		{"attention", func(s *localapi.Status) {
			s.State, s.Threats = agent.StateAttention, []localapi.Threat{vnc(), redisThreat()}
			s.Blocked = []localapi.Ports{{Protocol: "tcp", First: 5900, Last: 5900}}
			s.Next = s.Threats[0].Next
		}},
		{"many threats", func(s *localapi.Status) {
			s.State = agent.StateAttention
			for range 12 {
				s.Threats = append(s.Threats, vnc())
			}
			s.Threats[11].Severity = "low"
		}},
		{"isolated by a plan", func(s *localapi.Status) {
			s.State, s.Isolated, s.Threats = agent.StateIsolated, true, []localapi.Threat{redisThreat()}
			s.Isolation = &localapi.Isolation{
				Since: earlier(2 * time.Hour), Until: earlier(-2 * time.Hour), By: ptr(`plan "contain"`), Threat: ptr("T-9MPX"),
				Proved: true, Keep: []string{"hub", "dhcp", "192.0.2.10:22 in"},
			}
			s.Next = ptr("do not switch off; call 4357")
		}},
		{"isolated and lacking nothing", func(s *localapi.Status) {
			s.State, s.Isolated = agent.StateIsolated, true
			s.Isolation = isolationIn(agent.IsolationFull)
			s.Next = ptr("do not switch off; call 4357")
		}},
		{"isolated with gaps", func(s *localapi.Status) {
			s.State, s.Isolated = agent.StateIsolated, true
			s.Isolation = isolationIn(agent.IsolationDegraded,
				"frames that root programs send past IP are not stopped: this kernel has no netdev egress hook",
				"what containers or virtual machines on one bridge say to each other is not stopped: this kernel has no bridge rules",
				"programs that try to connect wait instead of being refused at once: this kernel cannot reject")
			s.Next = ptr("do not switch off; call 4357")
		}},
		{"not isolated as it should be", func(s *localapi.Status) {
			s.State, s.Isolated = agent.StateIsolated, true
			s.Isolation = isolationIn(agent.IsolationFailed, "this computer still gets out over IPv6")
			s.Isolation.Closed = true
			s.Next = ptr("do not switch off; call 4357")
		}},
		{"isolated, and told to everybody", func(s *localapi.Status) {
			s.State, s.Isolated = agent.StateIsolated, true
			s.Isolation = isolationIn(agent.IsolationFull)
			s.Isolation.Keep = []string{"hub", "user:rustdesk"}
			s.Next = ptr("do not switch off; call 4357")
			*s = s.Redact()
		}},
		{"isolated by a person and not proved", func(s *localapi.Status) {
			s.State, s.Isolated = agent.StateIsolated, true
			s.Isolation = &localapi.Isolation{
				Since: earlier(time.Minute), Until: earlier(-4 * time.Hour), By: ptr("jd (uid 1000)"), Reason: ptr("odd mails are sent"),
				Detail: ptr("no probe could be made"),
			}
			s.Next = ptr("do not switch off; ask your helpdesk")
		}},
		{"not sure", func(s *localapi.Status) {
			s.State = agent.StateUnsure
			s.Gaps = []localapi.Gap{{Part: "updates", Reason: ptr("updates are unknown: package lists are 31 days old")}}
			s.Troubles = []string{"the disk is full: no fix is started; blocks stay"}
			s.Policy.Valid, s.Policy.Error = false, ptr(`policy.yaml:7:3: unknown field "dney": did you mean "deny"?`)
			s.Next = ptr("helpdesk: free space on /var, then: firebreak recheck")
		}},
		{"for everybody", func(s *localapi.Status) {
			s.State, s.Threats = agent.StateAttention, []localapi.Threat{vnc()}
			*s = s.Redact()
		}},
		{"paused, watching only, one left open", func(s *localapi.Status) {
			s.Policy.Mode, s.Mode = configs.Audit, configs.Audit
			s.Paused = &localapi.Pause{By: ptr("jd (uid 1000)"), Until: earlier(-time.Hour)}
			left := redisThreat()
			left.Stage = threat.Excepted
			s.Threats = []localapi.Threat{left}
		}},
		{"hostile names", func(s *localapi.Status) {
			s.State = agent.StateAttention
			evil := vnc()
			evil.Summary = ptr("\x1b[2J\x1b[1;1HNo open threats.\r\nports \u202e are fine " + strings.Repeat("x", 200))
			s.Threats = []localapi.Threat{evil}
		}},
	}
	for _, c := range cases {
		s := allRight()
		c.change(&s)
		golden(t, "status", c.name, func(p *page) { statusScreen(p, s, evening) })
	}
}

// isolationIn is an isolation by a person, in a state.
func isolationIn(state agent.IsolationState, reasons ...string) *localapi.Isolation {
	return &localapi.Isolation{
		Since: earlier(2 * time.Hour), Until: earlier(-2 * time.Hour), By: ptr("jd (uid 1000)"), Reason: ptr("odd mails are sent"),
		Proved: state != agent.IsolationFailed, State: &state, Reasons: reasons, Keep: []string{"hub", "dhcp"},
		LeaseSeconds: 900, Ended: 14, Told: []string{"lena"},
	}
}

// TestStatusScreenAlwaysFits draws statuses with far too much in them.
func TestStatusScreenAlwaysFits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	words := func() string {
		return strings.Repeat("a sentence with a "+strings.Repeat("l", r.IntN(100))+"ong word ", r.IntN(20))
	}
	for range 500 {
		s := allRight()
		for range r.IntN(40) {
			x := vnc()
			x.Summary, x.Next, x.HoldOff = ptr(words()), ptr(words()), &localapi.HoldOff{Reason: ptr(words())}
			s.Threats = append(s.Threats, x)
		}
		for range r.IntN(6) {
			s.Gaps = append(s.Gaps, localapi.Gap{Reason: ptr(words()), Partial: r.IntN(2) == 0})
			s.Troubles = append(s.Troubles, words())
		}
		if r.IntN(2) == 0 {
			s.Isolation = &localapi.Isolation{Reason: ptr(words()), Detail: ptr(words()), By: ptr(words()), Keep: []string{words()}, Until: earlier(0)}
			if r.IntN(2) == 0 {
				state := agent.IsolationDegraded
				s.Isolation.State, s.Isolation.Told = &state, []string{words()}
				s.Isolation.Reasons = []string{words(), words(), words()}
			}
		}
		s.Policy.Valid, s.Policy.Error, s.Next = r.IntN(2) == 0, ptr(words()), ptr(words())
		s.Host = strings.Repeat("h", r.IntN(70))
		p := &page{}
		statusScreen(p, s, evening)
		fitsTerminal(t, "random status", p)
		if t.Failed() {
			return
		}
	}
}

func TestExplainScreen(t *testing.T) {
	golden(t, "explain", "blocked, not fixed", func(p *page) { explainScreen(p, localapi.Explained{Threat: vnc()}, evening) })
	owned := localapi.Explained{Threat: vnc(), Owner: []string{
		"held by x11vnc (process 4242, user lena), started by systemd (process 1800, user lena), started by systemd (process 1, user root)",
		"package x11vnc 0.9.16-9",
		`0.0.0.0: the networks that this computer is on can reach it, through rule "ip saddr 192.0.2.0/24 tcp dport 5900 accept" of table inet filter`,
	}}
	owned.Threat.Flaps, owned.Threat.FlapsSince = 4, earlier(20*time.Minute)
	golden(t, "explain", "who holds it", func(p *page) { explainScreen(p, owned, evening) })
	missing := func(name, why string) localapi.MissingUpdate {
		return localapi.MissingUpdate{
			Name: name, Installed: ptr("1.2-1"), Candidate: ptr("1.2-1+deb12u3"), Archive: ptr("Debian 12 (bookworm)"),
			Security: true, Fixed: ptr("1.2-1+deb12u2"), Since: earlier(9 * 24 * time.Hour), Held: ptr(why),
		}
	}
	updates := localapi.Threat{
		ID: "T-PY8W", Detector: "missing-updates", Severity: "high", Stage: threat.Identified,
		Summary: ptr("7 security updates are missing, the oldest for 9 days: openssl, curl, libc6 and 4 more."),
		Because: ptr("policy lets security updates wait for 7d"), FirstSeen: earlier(time.Hour), LastSeen: earlier(time.Minute),
		Subject: localapi.Subject{Updates: &localapi.UpdatesSubject{
			Packages: []localapi.MissingUpdate{
				missing("openssl", ""), missing("curl", "held"), missing("libc6", "phased"), missing("perl", ""), missing("bash", ""), missing("tar", ""), missing("vim", ""),
			},
			Stale:  []localapi.StaleProcess{{PID: 812, Unit: ptr("nginx.service"), Files: []string{"libssl.so.3"}}},
			Kernel: ptr("6.1.0-25-amd64"), NewerKernel: ptr("6.1.0-30-amd64"),
		}},
	}
	golden(t, "explain", "missing updates", func(p *page) { explainScreen(p, localapi.Explained{Threat: updates}, evening) })
	golden(t, "explain", "waits for approval", func(p *page) { explainScreen(p, localapi.Explained{Threat: redisThreat()}, evening) })
	gone := vnc()
	gone.Stage, gone.InForce, gone.Looks, gone.Next = threat.Resolved, nil, nil, ptr("nothing: it is proved gone")
	gone.Actions[1].Result, gone.Actions[1].Costs = "done", []string{"remote control of this screen stops"}
	gone.Proofs[0].Verdict = "cleared"
	golden(t, "explain", "gone", func(p *page) { explainScreen(p, localapi.Explained{Threat: gone}, evening) })
	long := vnc()
	for range 30 {
		long.Actions = append(long.Actions, long.Actions[1])
		long.Proofs = append(long.Proofs, long.Proofs[0])
	}
	golden(t, "explain", "a long story", func(p *page) { explainScreen(p, localapi.Explained{Threat: long}, evening) })
}

func TestThreatsScreen(t *testing.T) {
	golden(t, "threats", "none", func(p *page) { threatsScreen(p, localapi.Threats{}, false, evening) })
	gone := vnc()
	gone.Stage, gone.ResolvedAt = threat.Resolved, earlier(48*time.Hour)
	list := localapi.Threats{Threats: []localapi.Threat{vnc(), redisThreat(), gone}}
	golden(t, "threats", "three", func(p *page) { threatsScreen(p, list, true, evening) })
}

func TestHistoryLines(t *testing.T) {
	golden(t, "history", "lines", func(p *page) {
		for _, e := range []localapi.Entry{
			{At: earlier(time.Hour), Threat: ptr("T-7K4Q"), By: ptr("agent"), Text: ptr("VNC (port 5900) answers the local network")},
			{At: earlier(time.Minute), By: ptr("jd (uid 1000)"), Text: ptr("pause for 1h")},
		} {
			historyLine(p, e, entryTime(e))
		}
	})
}

func TestCheckScreen(t *testing.T) {
	c := localapi.Check{
		Host: "lena-t14", Mode: configs.Audit,
		Policy: localapi.Policy{Version: ptr("default r1"), Mode: configs.Audit, Source: ptr("built-in default"), Valid: true},
	}
	golden(t, "check", "nothing to do", func(p *page) { checkScreen(p, c, checkOptions{}, evening) })
	redis := redisThreat()
	redis.Subject.Port = &localapi.PortSubject{Protocol: "tcp", Port: 6379, Unit: ptr("redis-server.service"), Reach: "any"}
	redis.Next = ptr(howTo(redis))
	old := localapi.Threat{
		ID: "T-2222", Severity: "medium", Detector: "outdated-os", Summary: ptr("Debian 11 gets no more updates since 31 August 2026"),
		Subject: localapi.Subject{OS: &localapi.OSSubject{UpgradeTo: ptr("Debian 13 (trixie)")}},
	}
	old.Next = ptr(howTo(old))
	c.Threats = []localapi.Threat{redis, old}
	low := vnc()
	low.Severity, low.Next = "low", ptr(howTo(vnc()))
	for range 5 {
		c.Threats = append(c.Threats, low)
	}
	c.Ports = localapi.PortCount{Open: 25, Threats: 6, Usual: 5, Loopback: 14}
	c.Gaps = []localapi.Gap{{Part: "owners", Partial: true, Reason: ptr("owners of 6 ports are not visible: repeat with sudo")}}
	c.Allowed = []localapi.Allowed{{Subject: localapi.Subject{Port: low.Subject.Port}, Summary: ptr("SSH (port 22) answers any network"), Because: ptr("allow rule in line 12")}}
	c.Plan = []localapi.Step{
		{Threat: "T-9MPX", Action: "block-port", WaitsFor: ptr("approval")},
		{Threat: "T-9MPX", Action: "close-port", WaitsFor: ptr("approval")},
		{Threat: "T-2222", Action: "flag-os-upgrade"},
	}
	golden(t, "check", "a newcomer's laptop", func(p *page) { checkScreen(p, c, checkOptions{}, evening) })
	golden(t, "check", "the same in full", func(p *page) { checkScreen(p, c, checkOptions{all: true}, evening) })
	c.Policy.Valid, c.Policy.Error, c.Policy.Source = false, ptr("7:3: unknown field"), ptr("/etc/firebreak/policy.yaml")
	golden(t, "check", "a policy that is refused", func(p *page) { checkScreen(p, c, checkOptions{}, evening) })
}

func TestCheckScreenTellsWhatThePlanCosts(t *testing.T) {
	cut := localapi.Step{
		Threat: "T-9MPX", Action: "isolate-host",
		Steps: []string{"cut this computer off from every network, at its own firewall", "end 14 tcp connections, with 192.0.2.7 (14)"},
		Costs: []string{"the session of jd from 203.0.113.5 ends"},
	}
	again := cut
	again.Threat = "T-2222"
	c := localapi.Check{
		Host: "lena-t14", Mode: configs.Enforce, Threats: []localapi.Threat{redisThreat()}, Plan: []localapi.Step{cut, again},
		Policy: localapi.Policy{Version: ptr("workstations r41"), Mode: configs.Enforce, Source: ptr("/etc/firebreak/policy.yaml"), Valid: true},
	}
	golden(t, "check", "what a plan costs", func(p *page) { checkScreen(p, c, checkOptions{all: true}, evening) })
	c.Plan[0].Refused = ptr("/home is on the server 10.0.0.9 (nfs4), which is not in isolation.keep, and this computer would hang: add 10.0.0.9:2049")
	golden(t, "check", "a plan that is refused here", func(p *page) { checkScreen(p, c, checkOptions{}, evening) })
	golden(t, "check", "a plan that is refused here, in full", func(p *page) { checkScreen(p, c, checkOptions{all: true}, evening) })
}

func TestDoctorScreen(t *testing.T) {
	d := localapi.Doctor{Host: "lena-t14", Checks: []localapi.DoctorCheck{
		{Name: "rights", Result: localapi.CouldNotTell, Detail: ptr("this is not root"), Hint: ptr("repeat with sudo")},
		{Name: "policy", Result: localapi.Works, Detail: ptr("default r1 from built-in default, audit")},
		{Name: "service", Result: localapi.DoesNot, Detail: ptr("not installed"), Hint: ptr("sudo firebreak install")},
	}}
	golden(t, "doctor", "some things do not work", func(p *page) { doctorScreen(p, d, evening) })
	d.Checks = d.Checks[1:2]
	golden(t, "doctor", "everything works", func(p *page) { doctorScreen(p, d, evening) })
}

func TestIsolateReplyScreen(t *testing.T) {
	for _, c := range []struct {
		name    string
		text    string
		state   agent.IsolationState
		reasons []string
	}{
		{"whole", "This computer is isolated, proved: nothing gets in or out but what is kept.", agent.IsolationFull, nil},
		{
			"with gaps", "This computer is isolated, proved: nothing gets in or out but what is kept.", agent.IsolationDegraded,
			[]string{"what containers or virtual machines on one bridge say to each other is not stopped: this kernel has no bridge rules"},
		},
		{
			"failed", "This computer is not proved to be isolated: this computer still gets out.", agent.IsolationFailed,
			[]string{"this computer still gets out"},
		},
	} {
		r := localapi.Reply{
			Verb: "isolate", Text: ptr(c.text), Lines: []string{"cut off from every network but: hub", "14 connections ended", "ends by itself after 4h"},
			Status: &localapi.Status{Isolation: isolationIn(c.state, c.reasons...)},
		}
		golden(t, "isolate", c.name, func(p *page) { replyScreen(p, r) })
	}
}

func TestIsolationOutcome(t *testing.T) {
	for want, i := range map[outcome]localapi.Isolation{
		works("in force and proved; nothing is lacking"):                                                *isolationIn(agent.IsolationFull),
		doesNot("in force and proved, with gaps: no bridge; no egress", "firebreak status"):             *isolationIn(agent.IsolationDegraded, "no bridge", "no egress"),
		doesNot("this computer is not isolated as it should be: it still gets out", "firebreak status"): *isolationIn(agent.IsolationFailed, "it still gets out"),
		{localapi.CouldNotTell, "in force, and not proved yet", "firebreak recheck"}:                    {},
	} {
		if got := isolationOutcome(i); got != want {
			t.Errorf("got %+v; want %+v", got, want)
		}
	}
}

func TestColourOnlyOnTheVerdict(t *testing.T) {
	p := &page{color: true}
	statusScreen(p, allRight(), evening)
	if got := strings.Count(strings.Join(p.lines, "\n"), "\x1b["); got != 2 {
		t.Errorf("got %d escape sequences; want one pair around the verdict", got)
	}
}

func TestNowOf(t *testing.T) {
	with := func(change func(*localapi.Threat)) localapi.Threat {
		x := localapi.Threat{Stage: threat.Identified, Plan: ptr("shut")}
		change(&x)
		return x
	}
	for want, x := range map[string]localapi.Threat{
		"STILL OPEN: being worked on":                          with(func(*localapi.Threat) {}),
		"STILL OPEN: only reported, policy has no plan for it": with(func(x *localapi.Threat) { x.Plan = nil }),
		"BLOCKED, NOT FIXED":                                   with(func(x *localapi.Threat) { x.InForce = []string{"block-port"} }),
		"CUT OFF, NOT FIXED":                                   with(func(x *localapi.Threat) { x.InForce = []string{"block-port", "isolate-host"} }),
		"FIXED, NOT YET PROVED":                                with(func(x *localapi.Threat) { x.Stage = threat.Remediated }),
		"GONE, proved":                                         with(func(x *localapi.Threat) { x.Stage = threat.Resolved }),
		"ALLOWED by policy now": with(func(x *localapi.Threat) {
			x.Stage, x.Proofs = threat.Resolved, []localapi.Proof{{How: "policy", Verdict: "cleared"}}
		}),
		"LEFT OPEN by a person's decision":          with(func(x *localapi.Threat) { x.Stage = threat.Excepted }),
		"STILL OPEN: the fix works after a restart": with(func(x *localapi.Threat) { x.Stage, x.WaitingFor = threat.Waiting, waitFor(threat.ForReboot) }),
		"BLOCKED, NOT FIXED: the fix waits for approval": with(func(x *localapi.Threat) {
			x.Stage, x.WaitingFor, x.InForce = threat.Waiting, waitFor(threat.ForApproval), []string{"block-port"}
		}),
	} {
		if got := nowOf(x, configs.Enforce); got != want {
			t.Errorf("got %q; want %q", got, want)
		}
	}
	if got := nowOf(localapi.Threat{Stage: threat.Identified, Plan: ptr("shut")}, configs.Audit); got != "STILL OPEN: policy only watches (audit)" {
		t.Errorf("audit: got %q", got)
	}
	if got := network(localapi.Status{Blocked: []localapi.Ports{{Protocol: platform.TCP, First: 445, Last: 445}}}); !strings.Contains(got, "445") {
		t.Errorf("network: got %q", got)
	}
}

// TestHelpFitsTerminal reads the help of every command as a person does, who
// wants no line broken.
func TestHelpFitsTerminal(t *testing.T) {
	var read func(c *cobra.Command)
	read = func(c *cobra.Command) {
		var help bytes.Buffer
		c.SetOut(&help)
		if err := c.Help(); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(help.String()) {
			if w := width(strings.TrimRight(line, "\n")); w > screenWidth {
				t.Errorf("%s --help: %d characters in %q", c.CommandPath(), w, line)
			}
		}
		for _, sub := range c.Commands() {
			read(sub)
		}
	}
	read(newRoot(&env{out: io.Discard, err: io.Discard}))
}
