package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

const preempting = `version: firebreak/v1
mode: enforce
ports:
  allow:
    - {port: 445, process: /usr/sbin/smbd, reach: lan}
    - {port: 5905, protocol: tcp}
    - {port: 5907, protocol: tcp, reach: lan}
    - {port: "5910-5911", user: bob}
    - {port: 5911, unit: vnc}
    - {port: 5915, process: /usr/bin/x, reach: loopback}
    - {port: 8003, process: /usr/bin/good}
  deny:
    - {port: [20-30, 445], protocol: tcp, plan: shut, preempt: bind}
    - {port: "5900-5920", protocol: tcp, plan: shut, preempt: bind}
    - {port: 7000, protocol: tcp, plan: soft, preempt: bind}
    - {port: 7001, protocol: tcp, plan: shut, preempt: bind, os: windows}
    - {port: "8000-8010", protocol: tcp, plan: shut, preempt: block}
plans:
  shut: {mitigate: [block-port], remediate: [close-port]}
  soft: {mitigate: [block-port]}
except:
  - {port: 5918, owner: jd, reason: old, until: 2020-01-01}
  - {port: 5919, owner: jd, reason: new, until: 2099-01-01}
  - {port: 5920, process: /usr/bin/y, owner: jd, reason: new, until: 2099-01-01}
`

// saidBinds writes rules as one line.
func saidBinds(rules []platform.BindRule) string {
	var all []string
	for _, r := range rules {
		text := platform.PortList([]platform.PortRule{r.PortRule})
		for _, e := range r.Except {
			text += fmt.Sprintf(" but %s", strings.Join(strings.Fields(e.Exe+" "+e.User+" "+e.Unit), "+"))
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func TestPreempt(t *testing.T) {
	const (
		block = "tcp 8000-8010"
		first = "tcp 20-21, tcp 23-30, tcp 445 but /usr/sbin/smbd"
		rest  = "tcp 5908-5909, tcp 5910 but bob, tcp 5911 but vnc.service but bob, tcp 5912-5918, tcp 5920 but /usr/bin/y"
		binds = first + ", tcp 5900-5904, tcp 5906, " + rest + ", tcp 7000"
	)
	listener := func(port uint16, exe string, reach platform.Reach) platform.Listener {
		return platform.Listener{Protocol: platform.TCP, Port: port, Reach: reach, Owner: platform.Owner{PID: 9, Exe: exe, Process: "p"}}
	}
	host := func(ls ...platform.Listener) platform.Snapshot { return platform.Snapshot{Taken: noon, Listeners: ls} }
	left := port("A", "shut", 5904)
	left.Stage = threat.Excepted
	held := port("B", "shut", 8001)
	held.HoldOff = &threat.HoldOff{Until: noon.Add(time.Hour)}
	denied := []platform.BindRule{{PortRule: platform.PortRule{Protocol: platform.TCP, First: 400, Last: 5901}}}
	for _, c := range []struct {
		name    string
		threats []threat.Threat
		facts   Facts
		blocked string
		binds   string
	}{
		{"all of it", nil, Facts{Host: host()}, block + ", tcp 5907", binds},
		{"paused", nil, Facts{Host: host(), Paused: true}, "", ""},
		{"before the first look", nil, Facts{}, "", ""},
		{"before the first look, what was denied stays so", nil, Facts{Denied: denied}, "", "tcp 445 but /usr/sbin/smbd, tcp 5900-5901"},
		{
			"what cannot be denied is blocked",
			nil,
			Facts{Host: host(), Undeniable: []platform.PortRule{{Protocol: platform.TCP, First: 1, Last: 1000}}},
			"tcp 20-21, tcp 23-30, tcp 445, " + "tcp 5907, " + block,
			"tcp 5900-5904, tcp 5906, " + rest + ", tcp 7000",
		},
		{
			"what a person leaves open",
			[]threat.Threat{left, held},
			Facts{Host: host()},
			"tcp 5907, tcp 8000, tcp 8002-8010",
			first + ", tcp 5900-5903, tcp 5906, " + rest + ", tcp 7000",
		},
		{"an allowed program listens", nil, Facts{Host: host(listener(8003, "/usr/bin/good", platform.ReachAny))}, "tcp 5907, tcp 8000-8002, tcp 8004-8010", binds},
		{"another one listens", nil, Facts{Host: host(listener(8003, "/usr/bin/bad", platform.ReachAny))}, "tcp 5907, " + block, binds},
		{"another one listens beside it", nil, Facts{Host: host(listener(8003, "/usr/bin/good", platform.ReachAny), listener(8003, "/usr/bin/bad", platform.ReachAny))}, "tcp 5907, " + block, binds},
		{"an allowed program listens for this computer alone", nil, Facts{Host: host(listener(8003, "/usr/bin/good", platform.ReachLoopback))}, "tcp 5907, " + block, binds},
		{
			"SSH is where it never was", nil,
			Facts{Host: host(listener(5900, "/usr/sbin/sshd", platform.ReachAny), listener(8005, "/usr/sbin/sshd", platform.ReachAny))},
			"tcp 5907, tcp 8000-8004, tcp 8006-8010", first + ", tcp 5901-5904, tcp 5906, " + rest + ", tcp 7000",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.facts.Now = noon
			blocked, binds := Preempt(parse(t, preempting), c.threats, c.facts)
			want := strings.Split(c.blocked, ", ")
			got := strings.Split(platform.PortList((platform.Restrictions{Blocked: blocked}).Normal().Blocked), ", ")
			if !sameWords(got, want) {
				t.Errorf("blocked %q; want %q", got, want)
			}
			if got := saidBinds(binds); got != c.binds {
				t.Errorf("binds\n%s; want\n%s", got, c.binds)
			}
		})
	}
	t.Run("audit", func(t *testing.T) {
		text := strings.Replace(preempting, "mode: enforce", "mode: audit", 1)
		if blocked, binds := Preempt(parse(t, text), nil, Facts{Now: noon, Host: host()}); len(blocked)+len(binds) > 0 {
			t.Errorf("got %v, %v; want nothing", blocked, binds)
		}
	})
}

func sameWords(a, b []string) bool {
	count := map[string]int{}
	for _, w := range a {
		count[w]++
	}
	for _, w := range b {
		count[w]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}
