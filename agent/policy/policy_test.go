package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

const sample = `version: firebreak/v1
name: test
mode: enforce
ports:
  deny:
    - {port: 445, plan: shut}
    - {port: "5000-5010", plan: report, preempt: block}
    - {port: "20-30", protocol: tcp, plan: report, preempt: block}
plans:
  shut:   {mitigate: [block-port], remediate: [close-port]}
  ask:    {mitigate: [block-port], remediate: [close-port], approve: remediate}
  askall: {mitigate: [block-port], remediate: [close-port], approve: all}
  night:  {mitigate: [block-port], remediate: [close-port], window: "22:00-05:00"}
  soft:   {mitigate: [block-port], remediate: [close-port], mode: audit}
  report: {mitigate: [block-port]}
  later:  {remediate: [flag-os-upgrade], escalate: {after: 60d, mitigate: [isolate-host]}}
  bare:   {remediate: [close-port]}
  cut:    {mitigate: [isolate-host]}
  again:  {on: bare, times: 3, mitigate: [block-port, isolate-host], approve: all}
  future: {remediate: [install-updates]}
limits: {disruptivePerHour: 2}
`

func parse(t *testing.T, text string) configs.Policy {
	t.Helper()
	p, err := configs.ParsePolicy([]byte(text), "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func port(id, plan string, n uint16) threat.Threat {
	return threat.Threat{
		ID: id, Plan: plan, Stage: threat.Identified, FirstSeen: noon,
		Subject: platform.Subject{Port: &platform.PortSubject{Protocol: platform.TCP, Port: n, Reach: platform.ReachAny}},
	}
}

// told writes a plan as one line a step.
func told(p Plan) string {
	var lines []string
	for _, s := range p.Steps {
		word := "do"
		switch {
		case !s.Enforced:
			word = "would"
		case s.Wait != "":
			word = "wait " + string(s.Wait)
		}
		lines = append(lines, s.Threat+" "+word+" "+s.Action.Name)
	}
	return strings.Join(lines, "; ")
}

func TestDecide(t *testing.T) {
	p := parse(t, sample)
	with := func(x threat.Threat, change func(*threat.Threat)) threat.Threat { change(&x); return x }
	for _, c := range []struct {
		name    string
		threats []threat.Threat
		facts   Facts
		want    string
	}{
		{
			"mitigations come before remediations",
			[]threat.Threat{port("A", "shut", 1), port("B", "shut", 2)},
			Facts{},
			"A do block-port; B do block-port; A do close-port; B do close-port",
		},
		{"no plan, nothing to do", []threat.Threat{port("A", "", 1)}, Facts{}, ""},
		{"audit shows", []threat.Threat{port("A", "soft", 1)}, Facts{}, "A would block-port; A would close-port"},
		{"approval of the remediation", []threat.Threat{port("A", "ask", 1)}, Facts{}, "A do block-port; A wait approval close-port"},
		{"approved", []threat.Threat{with(port("A", "ask", 1), func(x *threat.Threat) { x.Approved = "jd" })}, Facts{}, "A do block-port; A do close-port"},
		{"approval of everything", []threat.Threat{port("A", "askall", 1)}, Facts{}, "A wait approval block-port; A wait approval close-port"},
		{"outside the window", []threat.Threat{port("A", "night", 1)}, Facts{}, "A do block-port; A wait window close-port"},
		{"inside the window", []threat.Threat{port("A", "night", 1)}, Facts{Now: noon.Add(11 * time.Hour)}, "A do block-port; A do close-port"},
		{
			"the limit",
			[]threat.Threat{port("A", "bare", 1), port("B", "bare", 2)},
			Facts{Disruptive: []time.Time{noon.Add(-time.Minute), noon.Add(-2 * time.Hour)}},
			"A do close-port; B wait limit close-port",
		},
		{"resolved and excepted", []threat.Threat{
			with(port("A", "shut", 1), func(x *threat.Threat) { x.Stage = threat.Resolved }),
			with(port("B", "shut", 1), func(x *threat.Threat) { x.Stage = threat.Excepted }),
		}, Facts{}, ""},
		{"in force already", []threat.Threat{with(port("A", "shut", 1), func(x *threat.Threat) {
			x.Stage, x.InForce = threat.Mitigated, []string{"block-port"}
		})}, Facts{}, "A do close-port"},
		{"waits for a person", []threat.Threat{with(port("A", "bare", 1), func(x *threat.Threat) {
			x.Stage, x.WaitingFor = threat.Waiting, threat.ForPerson
		})}, Facts{}, ""},
		{"held off", []threat.Threat{with(port("A", "shut", 1), func(x *threat.Threat) { x.HoldOff = &threat.HoldOff{} })}, Facts{}, ""},
		{
			"came back too often",
			[]threat.Threat{with(port("A", "bare", 1), func(x *threat.Threat) { x.Recurrences = 3 })},
			Facts{},
			"A wait approval block-port; A wait approval isolate-host",
		},
		{
			"escalated",
			[]threat.Threat{with(port("A", "later", 1), func(x *threat.Threat) { x.FirstSeen = noon.AddDate(0, 0, -61) })},
			Facts{},
			"A do isolate-host; A do flag-os-upgrade",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.facts.Now.IsZero() {
				c.facts.Now = noon
			}
			if got := told(Decide(p, c.threats, c.facts)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestActionsThatAreNotThereAreGaps(t *testing.T) {
	got := Decide(parse(t, sample), []threat.Threat{port("A", "future", 1)}, Facts{Now: noon})
	if want := []Lack{{Plan: "future", Action: "install-updates"}}; !slices.Equal(got.Lacks, want) || len(got.Steps) != 0 {
		t.Errorf("got %+v; want %+v and no step", got, want)
	}
}

func TestDerive(t *testing.T) {
	p := parse(t, sample)
	base := "tcp 20-21, tcp 23-30, tcp 5000-5010, udp 5000-5010"
	for _, c := range []struct {
		name    string
		threats []threat.Threat
		facts   Facts
		blocked string
		isolate bool
	}{
		{"preempted, but for what is protected", nil, Facts{}, base, false},
		{"an open threat", []threat.Threat{port("A", "shut", 445)}, Facts{}, "tcp 20-21, tcp 23-30, tcp 445, tcp 5000-5010, udp 5000-5010", false},
		{"audit blocks nothing", []threat.Threat{port("A", "soft", 445)}, Facts{}, base, false},
		{"nothing before approval", []threat.Threat{port("A", "askall", 445)}, Facts{}, base, false},
		{"isolated by plan", []threat.Threat{port("A", "cut", 445)}, Facts{}, base, true},
		{"isolation taken back", []threat.Threat{port("A", "cut", 445)}, Facts{IsolationHeldOff: true}, base, false},
		{"isolated by a person", nil, Facts{Isolation: true}, base, true},
		{"paused", []threat.Threat{port("A", "shut", 445), port("B", "cut", 1)}, Facts{Paused: true}, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.facts.Now, c.facts.Host.Taken = noon, noon
			got, _ := Derive(p, c.threats, c.facts)
			if blocked := platform.PortList(got.Blocked); blocked != c.blocked || (got.Isolation != nil) != c.isolate {
				t.Errorf("blocked %q, isolated %v; want %q, %v", blocked, got.Isolation != nil, c.blocked, c.isolate)
			}
		})
	}
}

func TestNothingIsPreemptedBlindly(t *testing.T) {
	p := parse(t, sample)
	inForce := platform.Restrictions{Blocked: []platform.PortRule{{Protocol: platform.TCP, First: 5005, Last: 6000}}}
	hidden := platform.Snapshot{Taken: noon, Listeners: []platform.Listener{{Protocol: platform.TCP, Port: 5007}}}
	blind := platform.Snapshot{Taken: noon, Gaps: []platform.Gap{{Part: platform.PartListeners, Reason: "none"}}}
	for _, c := range []struct {
		name    string
		facts   Facts
		blocked string
	}{
		{"before the first look", Facts{}, ""},
		{"what was shut stays shut", Facts{InForce: inForce}, "tcp 5005-5010"},
		{"a look without listeners", Facts{Host: blind, InForce: inForce}, "tcp 5005-5010"},
		{
			"an owner that could not be seen may be SSH",
			Facts{Host: hidden},
			"tcp 20-21, tcp 23-30, tcp 5000-5006, tcp 5008-5010, udp 5000-5010",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.facts.Now = noon
			got, _ := Derive(p, nil, c.facts)
			if blocked := platform.PortList(got.Blocked); blocked != c.blocked {
				t.Errorf("blocked %q; want %q", blocked, c.blocked)
			}
		})
	}
}

func TestTheLimitHoldsForIsolationToo(t *testing.T) {
	p := parse(t, sample)
	f := Facts{Now: noon, Disruptive: []time.Time{noon.Add(-time.Minute), noon.Add(-2 * time.Minute)}}
	x := port("A", "cut", 1)
	if got := told(Decide(p, []threat.Threat{x}, f)); got != "A wait limit isolate-host" {
		t.Errorf("at the limit: %s", got)
	}
	if want, _ := Derive(p, []threat.Threat{x}, f); want.Isolation != nil {
		t.Error("isolated beyond the limit")
	}
	x.Stage, x.WaitingFor = threat.Waiting, threat.ForLimit
	if want, _ := Derive(p, []threat.Threat{x}, Facts{Now: noon}); want.Isolation != nil {
		t.Error("isolated while a person is waited for")
	}
	x.InForce = []string{"isolate-host"}
	if want, _ := Derive(p, []threat.Threat{x}, f); want.Isolation == nil {
		t.Error("the limit took back what was in force")
	}
}

func TestWhatCouldNotBeClosedIsBlocked(t *testing.T) {
	p := parse(t, sample)
	x := port("A", "bare", 445)
	for _, c := range []struct {
		result string
		want   bool
	}{{"", false}, {"done", false}, {"cannot", true}, {"failed", true}} {
		x.Actions = []threat.Act{{Name: "close-port", Kind: "remediation", Result: c.result}}
		_, claims := Derive(p, []threat.Threat{x}, Facts{Now: noon})
		if got := len(claims) == 1; got != c.want {
			t.Errorf("result %q: claims %+v; want a block: %v", c.result, claims, c.want)
		}
	}
}

func TestEscalationSetsTheDeadline(t *testing.T) {
	p := parse(t, sample)
	if got, want := Deadline(p, port("A", "later", 1)), noon.AddDate(0, 0, 60); !got.Equal(want) {
		t.Errorf("got %s; want %s", got, want)
	}
	if got := Deadline(p, port("A", "shut", 1)); !got.IsZero() {
		t.Errorf("got %s; want none", got)
	}
}
