package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

const preemptive = `version: firebreak/v1
name: test
revision: 1
mode: enforce
ports:
  allow:
    - {port: 6379, process: /usr/bin/redis-server}
  deny:
    - {port: [445, 6379], protocol: tcp, severity: critical, plan: shut, preempt: bind}
plans:
  shut: {mitigate: [block-port], remediate: [close-port]}
`

func (b *bench) deniedPorts() string { return platform.PortList(bindPorts(b.m.Denied())) }

func (b *bench) blockedPorts() string { return platform.PortList(b.m.InForce().Blocked) }

// said counts the lines of the history in which a text is.
func (b *bench) said(text string) int {
	b.Helper()
	n := 0
	for line := range strings.Lines(b.story()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func TestNoProgramOpensWhatIsDeniedAtTheBind(t *testing.T) {
	b := newBench(t, preemptive)
	if got := b.deniedPorts(); got != "tcp 445, tcp 6379" {
		t.Fatalf("denied %q", got)
	}
	b.m.AddProcess("/opt/evil", tcp("0.0.0.0:445"))
	b.m.AddProcess("/usr/bin/redis-server", tcp("0.0.0.0:6379"))
	b.look()
	if b.listens(445) || !b.listens(6379) {
		t.Errorf("445 listens %v, 6379 %v; want that only the exception does", b.listens(445), b.listens(6379))
	}
	if b.said("no program may open tcp 445; tcp 6379 (but /usr/bin/redis-server)") != 1 {
		t.Errorf("history:\n%s", b.story())
	}
	b.crash()
	b.look()
	if b.said("no program may open") != 1 || b.said("somebody changed") != 0 {
		t.Errorf("a restart tells again:\n%s", b.story())
	}
}

func TestWhatListenedBeforeIsAThreatAsUsual(t *testing.T) {
	b := newBench(t, strings.Replace(preemptive, "mode: enforce", "mode: audit", 1))
	b.m.AddProcess("/opt/evil", tcp("0.0.0.0:445"))
	b.look()
	if got := b.deniedPorts(); got != "" {
		t.Fatalf("audit denies %s", got)
	}
	b.policy(preemptive)
	b.a.loadPolicy()
	b.settle()
	b.want(445, threat.Resolved, "")
	if got := b.deniedPorts(); got != "tcp 445, tcp 6379" {
		t.Errorf("denied %q", got)
	}
}

func TestPauseAndPolicyLetProgramsOpenPortsAgain(t *testing.T) {
	b := newBench(t, preemptive)
	b.order(Order{Verb: PauseIt, For: time.Hour})
	if got := b.deniedPorts(); got != "" {
		t.Errorf("paused, and denied is %s", got)
	}
	b.order(Order{Verb: Resume})
	if got := b.deniedPorts(); got != "tcp 445, tcp 6379" {
		t.Errorf("resumed, and denied is %q", got)
	}
	b.policy(strings.Replace(preemptive, ", preempt: bind", "", 1))
	b.a.loadPolicy()
	b.settle()
	if got := b.deniedPorts(); got != "" || b.said("programs may open tcp 445, tcp 6379 again") == 0 {
		t.Errorf("denied is %q:\n%s", got, b.story())
	}
}

func TestWhatCannotBeDeniedIsBlocked(t *testing.T) {
	b := newBench(t, strings.Replace(preemptive, "process: /usr/bin/redis-server", "unit: redis.socket", 1))
	if b.deniedPorts() != "tcp 445" || b.blockedPorts() != "tcp 6379" {
		t.Errorf("denied %q, blocked %q", b.deniedPorts(), b.blockedPorts())
	}
	if got := b.a.troubles[troubleBinds]; !strings.Contains(got, "tcp 6379, so it is blocked at the firewall instead") {
		t.Errorf("trouble %q", got)
	}
	b = newBench(t, preemptive)
	b.m.Fail("Binds.Deny", platform.ErrUnsupported)
	b.policy(strings.Replace(preemptive, "445, 6379", "445, 446, 6379", 1))
	b.a.loadPolicy()
	b.settle()
	if b.blockedPorts() != "tcp 445-446, tcp 6379" {
		t.Errorf("blocked %q", b.blockedPorts())
	}
	b.m.Fail("Binds.Deny", nil)
	b.pass(5 * time.Minute)
	if b.deniedPorts() != "tcp 445-446, tcp 6379" || b.blockedPorts() != "" || b.a.troubles[troubleBinds] != "" {
		t.Errorf("denied %q, blocked %q, trouble %q", b.deniedPorts(), b.blockedPorts(), b.a.troubles[troubleBinds])
	}
}

func TestDeniedPortsAreReadBackAndPutBack(t *testing.T) {
	b := newBench(t, preemptive)
	b.m.AlterBinds()
	b.pass(5 * time.Minute)
	if b.deniedPorts() != "tcp 445, tcp 6379" || b.said("somebody changed what keeps programs from opening tcp 445, tcp 6379; it is put back") != 1 {
		t.Errorf("denied %q:\n%s", b.deniedPorts(), b.story())
	}
	b.m.FailTimes("Binds.Denied", 1, errors.New("altered"))
	b.pass(5 * time.Minute)
	if b.said("(altered)") != 1 {
		t.Errorf("history:\n%s", b.story())
	}
}

func TestDeniedPortsComeBackAfterARebootBeforeTheFirstLook(t *testing.T) {
	b := newBench(t, preemptive)
	b.m.Reboot()
	b.m.Fail("Observer.Snapshot", errors.New("not yet"))
	b.crash()
	if got := b.deniedPorts(); got != "tcp 445, tcp 6379" {
		t.Errorf("denied %q", got)
	}
	if b.said("somebody changed what keeps") != 0 {
		t.Errorf("a reboot is taken for a change by somebody:\n%s", b.story())
	}
}

func TestRefusedBindsAreTold(t *testing.T) {
	b := newBench(t, preemptive)
	nc := platform.BindAttempt{Protocol: platform.TCP, Port: 445, PID: 123, Process: "nc", Exe: "/usr/bin/nc", User: "bob", Times: 1}
	b.a.refusedBind(nc)
	b.settle()
	if b.said("refused: /usr/bin/nc (process 123, user bob) wanted to open tcp 445") != 1 {
		t.Errorf("history:\n%s", b.story())
	}
	for i := range 500 {
		nc.Port, nc.Times = uint16(1000+i), 2
		b.a.refusedBind(nc)
	}
	b.settle()
	if n := b.said("refused: /usr/bin/nc"); n != refusedEach {
		t.Errorf("%d lines of one program within a minute; want %d", n, refusedEach)
	}
	b.pass(time.Minute)
	if b.said("refused: /usr/bin/nc wanted to open ports 996 times more within a minute") != 1 {
		t.Errorf("history:\n%s", b.story())
	}
	for i := range 500 {
		nc.Exe = "/tmp/" + strings.Repeat("x", i+1)
		b.a.refusedBind(nc)
	}
	b.pass(time.Minute)
	if n := b.said("refused: /tmp/"); n != refusedAll+refusedEach {
		t.Errorf("%d lines of many programs; want %d", n, refusedAll+refusedEach)
	}
}
