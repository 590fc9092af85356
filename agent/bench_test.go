package agent

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
	"github.com/firebreak-sec/firebreak/platform/platformtest"
)

// bench is an agent on a host in memory, turned by hand: no goroutine, no
// clock but the machine's.
type bench struct {
	*testing.T
	m   *platformtest.Machine
	a   *Agent
	dir string
	dns map[string][]netip.Addr // what names are looked up to be
}

const enforcing = `version: firebreak/v1
name: test
revision: 1
mode: enforce
contact: {phone: "4357", text: "IT service desk"}
ports:
  deny:
    - {port: [445, 6379], severity: critical, plan: shut}
    - {port: 5900, severity: high, plan: ask}
    - {port: 6000, severity: critical, plan: cut}
plans:
  shut: {mitigate: [block-port], remediate: [close-port], evidence: true}
  ask:  {mitigate: [block-port], remediate: [close-port], approve: remediate}
  cut:  {mitigate: [isolate-host]}
  again: {on: shut, times: 2, mitigate: [block-port, isolate-host], approve: all}
  upgrade: {remediate: [flag-os-upgrade]}
os: {plan: upgrade}
`

func newBench(t *testing.T, policy string) *bench {
	t.Helper()
	b := &bench{T: t, m: platformtest.New(), dir: t.TempDir()}
	b.m.SetOS(platform.OS{ID: "debian", Version: "13", Name: "Debian GNU/Linux 13 (trixie)", Codename: "trixie"})
	b.policy(policy)
	b.start()
	t.Cleanup(func() { _ = b.a.cfg.Journal.Close() })
	return b
}

func (b *bench) policy(text string) {
	b.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, PolicyFile), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}

// open opens the journal of the machine.
func (b *bench) open() *journal.Journal {
	b.Helper()
	j, err := journal.Open(filepath.Join(b.dir, "journal.db"), journal.DefaultLimits())
	if err != nil {
		b.Fatal(err)
	}
	return j
}

// reopen gives the agent a journal that can be written again.
func (b *bench) reopen() { b.a.cfg.Journal = b.open() }

// start starts an agent on the machine, as it is, with the journal as it is.
func (b *bench) start() {
	b.Helper()
	j := b.open()
	var err error
	c := DefaultConfig()
	c.Host, c.Journal, c.PolicyDir, c.Evidence = b.m.Host(), j, b.dir, filepath.Join(b.dir, "evidence")
	c.Now, c.Version, c.HostName = b.m.Now, "test", "host"
	c.Boot = func() (platform.Boot, error) { return b.m.Boot(), nil }
	c.LookUp = b.lookUp
	if b.a, err = New(c); err != nil {
		b.Fatal(err)
	}
	b.a.start(b.Context())
	b.settle()
}

// crash ends the agent without a word and starts another.
func (b *bench) crash() {
	b.Helper()
	if err := b.a.cfg.Journal.Close(); err != nil {
		b.Fatal(err)
	}
	b.start()
}

// settle turns the loop until nothing is left to do.
func (b *bench) settle() {
	b.Helper()
	ctx := b.Context()
	for range 1000 {
		b.a.turn(ctx)
		if !b.job() {
			return
		}
	}
	b.Fatal("the agent does not come to rest")
}

// lookUp is the name server of the bench.
func (b *bench) lookUp(_ context.Context, name string) ([]netip.Addr, error) {
	if addrs, ok := b.dns[name]; ok {
		return slices.Clone(addrs), nil
	}
	return nil, errors.New("no such host")
}

// job carries out the next job, isolation and looks before acts, and tells whether
// there was one.
func (b *bench) job() bool {
	ctx := b.Context()
	for _, queue := range []*[]job{&b.a.toGlance, &b.a.toIsolate, &b.a.toLook, &b.a.toAct} {
		if len(*queue) > 0 {
			j := (*queue)[0]
			*queue = (*queue)[1:]
			j(ctx)(ctx)
			return true
		}
	}
	return false
}

// look makes the agent look and carry on until nothing is left to do.
func (b *bench) look() {
	b.Helper()
	b.a.look("test")
	b.settle()
}

// pass lets time pass.
func (b *bench) pass(d time.Duration) {
	b.Helper()
	b.m.SetNow(b.m.Now().Add(d))
	b.settle()
}

// order gives an order as a person would, and returns the answer.
func (b *bench) order(o Order) Reply {
	b.Helper()
	reply, err := b.try(o)
	if err != nil {
		b.Fatalf("%s: %v", o.Verb, err)
	}
	return reply
}

func (b *bench) try(o Order) (Reply, error) {
	b.Helper()
	if o.By == "" {
		o.By = "jd (uid 1000)"
	}
	answer := make(chan result, 1)
	b.a.order(context.Background(), request{Order: o, reply: answer})
	b.settle()
	select {
	case r := <-answer:
		return r.Reply, r.err
	default:
		b.Fatalf("%s: no answer", o.Verb)
		return Reply{}, nil
	}
}

// only returns the one threat about a port.
func (b *bench) only(port uint16) threat.Threat {
	b.Helper()
	for _, t := range b.a.Threats(true) {
		if t.Subject.Port != nil && t.Subject.Port.Port == port {
			return t
		}
	}
	b.Fatalf("no threat about port %d: %+v", port, b.a.Threats(true))
	return threat.Threat{}
}

// want fails unless the threat about the port is at that stage.
func (b *bench) want(port uint16, stage threat.Stage, wait threat.Wait) threat.Threat {
	b.Helper()
	t := b.only(port)
	if t.Stage != stage || t.WaitingFor != wait {
		b.Fatalf("port %d is %s %s; want %s %s\n%s", port, t.Stage, t.WaitingFor, stage, wait, b.story())
	}
	return t
}

// story is the history, for failures.
func (b *bench) story() string {
	entries, err := b.a.History(0, 0)
	if err != nil {
		return err.Error()
	}
	var out strings.Builder
	for _, e := range entries {
		out.WriteString(e.Kind + " " + e.Threat + " " + e.Action + " by " + e.By + ": " + e.Text + "\n")
	}
	return out.String()
}

func (b *bench) listens(port uint16) bool {
	for _, l := range b.m.Snapshot().Listeners {
		if l.Port == port {
			return true
		}
	}
	return false
}

// tcp is a listener on every address.
func tcp(at string) platform.Listener { return platformtest.Listen(platform.TCP, at) }
