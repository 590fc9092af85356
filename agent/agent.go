// Package agent is the loop: look, detect, decide, act, look again, record.
//
// One goroutine (Run) owns all state and is the only one that acts. Whatever
// takes longer than a moment (a look, stopping a service, a probe) is a job: it
// runs in a worker that sees no state of the agent, and what it brings back is
// taken up by the loop. So the loop never waits, and needs no lock. Some
// workers look and one acts: a service that is slow to stop holds up no proof.
package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/evidence"
	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/policy"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// Config is what an agent is made of.
type Config struct {
	Host      *platform.Host
	Journal   *journal.Journal
	Lifecycle configs.Lifecycle
	PolicyDir string // policy.yaml is in it
	Evidence  string // folder of evidence bundles
	// EvidenceLimits bound what is kept there.
	EvidenceLimits evidence.Limits
	Version        string
	HostName       string
	Log            *zap.Logger
	Now            func() time.Time
	// Boot tells which run of the host this is, and how long it has lasted.
	Boot func() (platform.Boot, error)
	// LookUp returns the addresses of a name.
	LookUp func(ctx context.Context, name string) ([]netip.Addr, error)
	// LookAgain is after how long a resolved threat is looked at again, beside
	// at once and after a reboot.
	LookAgain []time.Duration
	// LookEvery is how often the whole host is looked at when nothing happens.
	LookEvery time.Duration
}

// DefaultConfig returns the configuration but for what has no default: Host,
// Journal, the folders and the names.
func DefaultConfig() Config {
	boot := platform.BootClock()
	return Config{
		Log: zap.NewNop(), Now: time.Now,
		Boot: func() (platform.Boot, error) { return boot(time.Now()) },
		LookUp: func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		},
		LookAgain: []time.Duration{time.Minute, time.Hour},
		LookEvery: 5 * time.Minute,
		EvidenceLimits: evidence.Limits{
			Within: 10 * time.Second, Bytes: 256 << 20, Count: 200, Age: 180 * 24 * time.Hour,
		},
	}
}

// Agent is the running agent. The fields below the line belong to the loop;
// the methods of ask.go may be called from any goroutine.
type Agent struct {
	cfg      Config
	orders   chan request
	glances  chan job // to the worker that glances
	looks    chan job // to the workers that look
	acts     chan job // to the worker that acts
	isolates chan job // to the workers that isolation never waits for
	results  chan func(context.Context)
	started  chan struct{} // closed when what was in force is in force again
	ended    chan struct{} // closed when the loop has ended
	view     atomic.Pointer[view]

	// ---- owned by the loop ----
	toGlance  []job // glances that wait for their worker
	toLook    []job // looks, proofs and probes that wait for their worker
	toAct     []job // changes of the host that wait for theirs
	toIsolate []job // what isolation needs beside the loop
	threats   []threat.Threat
	state     journal.State
	intents   map[uint64]journal.Intent // those that can be undone, or are open
	batch     journal.Batch             // what the next record will hold
	policy    configs.Policy
	builtin   configs.Policy // the embedded default
	// generation counts the policies that were in force: what was judged by one
	// of the past is judged anew.
	generation int
	loaded     PolicyStatus
	terms      actions.Terms
	snapshot   platform.Snapshot
	blind      map[string]string // detectors that could not look at the last look, and why
	plan       policy.Plan
	flags      []platform.Flag      // what is left for a person to do, as the host has it
	troubles   map[string]string    // what the agent cannot do now, by what it is about
	busy       map[string]bool      // threats for which a job is under way
	retry      map[string]time.Time // threats that are left alone until then
	gone       map[string]bool      // threats that the last look did not find
	unknowns   map[string]int       // how often in a row a look at a threat could not be had
	clearing   bool                 // flags are being taken down
	clearAt    time.Time            // when taking them down is tried again
	looking    bool                 // a look is queued or under way
	lookAgain  bool                 // something happened since it was queued
	lastLook   time.Time
	lookNumber uint64 // of the look or glance that began last
	// newestListeners is the number of the look or glance that read the listeners
	// as they are known now.
	newestListeners uint64
	glancing        pace
	leftover        []platform.PortRule // in force when the journal was damaged: kept until the first look
	applied         bool                // the restrictions in force are known to be the wanted ones
	applies         int                 // how often they were put in force in this run
	applyAt         time.Duration       // since boot: when applying them is tried again
	applyWait       time.Duration       // how long was waited for it last
	changedBy       string              // who changed them, by the last event
	tampering       damped
	isolating
	binds    preempting
	waiters  []waiter
	recorded map[string][32]byte // digests of the threats as the journal has them
	lines    uint64              // written to the history in this run
	lost     int                 // lines of the history that had to be dropped
	recordAt time.Time           // when writing the journal is tried again
	damaged  bool                // the journal, while it was open
	prunedAt time.Time
	since    time.Time // when this run began
}

// What the agent can be in trouble with, where more than one place asks.
const (
	troubleLook        = "look"
	troubleJournal     = "journal"
	troubleFirewall    = "firewall"
	troublePolicyWatch = "policy watch"
	troubleKeep        = "keep"
	troubleLease       = "lease"
	troubleConnections = "connections"
	troubleBanner      = "banner"
)

// job is work for the worker. What it returns runs in the loop.
type job func(context.Context) (then func(context.Context))

// New returns an agent that has taken up what its journal remembers. It acts
// only when it is run.
func New(c Config) (*Agent, error) {
	a := &Agent{
		cfg:      c,
		orders:   make(chan request),
		glances:  make(chan job),
		looks:    make(chan job),
		acts:     make(chan job),
		isolates: make(chan job),
		started:  make(chan struct{}),
		results:  make(chan func(context.Context)),
		ended:    make(chan struct{}),
		gone:     map[string]bool{},
		unknowns: map[string]int{},
		blind:    map[string]string{},
		troubles: map[string]string{},
		busy:     map[string]bool{},
		retry:    map[string]time.Time{},
		intents:  map[uint64]journal.Intent{},
		recorded: map[string][32]byte{},
		since:    c.Now(),
	}
	a.answered, a.refusedFor = map[netip.AddrPort]time.Duration{}, map[string]bool{}
	a.checking.gap, a.reapplying.gap, a.cutting.gap, a.proving.gap = checkGap, reapplyGap, cutGap, proveIsolationGap
	a.judging.gap, a.banner.gap = cutGap, cutGap
	boot, err := c.Boot()
	a.bootless, a.lastBoot = err != nil || boot.ID == "", boot
	if a.builtin, err = configs.Default(); err != nil {
		return nil, fmt.Errorf("read built-in policy: %w", err)
	}
	kept, err := c.Journal.Contents()
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	a.threats, a.state = kept.Threats, kept.State
	for _, t := range a.threats {
		a.recorded[t.ID] = digest(t)
	}
	for _, i := range kept.Intents {
		a.intents[i.Seq] = i
	}
	if aside := c.Journal.Aside(); aside != "" {
		a.troubles["journal damaged"] = "The journal was damaged and is kept at " + aside + "; what could be read of it was taken over."
		a.note("agent", "", "", a.troubles["journal damaged"])
	}
	a.publish()
	return a, nil
}

// Run runs the agent until ctx ends. What is in force then stays in force, so
// that a restart opens nothing.
func (a *Agent) Run(ctx context.Context) error {
	defer close(a.ended)
	policyChanged, err := configs.Watch(ctx, a.cfg.PolicyDir)
	if err != nil {
		a.trouble(troublePolicyWatch, fmt.Errorf("the policy folder cannot be watched, so a change counts from the next look on: %w", err))
	}
	events := a.cfg.Host.Observer.Events(ctx)
	attempts := a.cfg.Host.Binds.Attempts(ctx)
	go a.work(ctx, a.glances)
	for range lookers {
		go a.work(ctx, a.looks)
	}
	go a.work(ctx, a.acts)
	for range isolators {
		go a.work(ctx, a.isolates)
	}
	a.start(ctx)
	a.turn(ctx)
	close(a.started)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(a.untilNext())
		glances, glance := offer(a.glances, a.toGlance)
		looks, look := offer(a.looks, a.toLook)
		acts, act := offer(a.acts, a.toAct)
		isolates, isolate := offer(a.isolates, a.toIsolate)
		select {
		case <-ctx.Done():
			return a.stop()
		case r := <-a.orders:
			a.order(ctx, r)
		case glances <- glance:
			a.toGlance = a.toGlance[1:]
			continue
		case looks <- look:
			a.toLook = a.toLook[1:]
			continue
		case acts <- act:
			a.toAct = a.toAct[1:]
			continue
		case isolates <- isolate:
			a.toIsolate = a.toIsolate[1:]
			continue
		case then := <-a.results:
			then(ctx)
		case t, ok := <-attempts:
			if !ok {
				attempts = nil
				break
			}
			a.refusedBind(t)
		case e, ok := <-events:
			if !ok {
				events = nil
				break
			}
			if a.event(e); e.Part == platform.PartListeners {
				continue // a glance was asked for, and nothing else is known yet
			}
		case _, ok := <-policyChanged:
			if !ok {
				policyChanged = nil
			}
			if !ok && ctx.Err() == nil {
				a.trouble(troublePolicyWatch, errors.New("the policy folder is not watched any more, so a change counts from the next look on"))
			}
			a.loadPolicy()
		case <-timer.C:
		}
		a.turn(ctx)
	}
}

// turn is the whole agent on one page: given what is known now, it puts the
// right restrictions in force, starts what policy wants done, and writes down
// what changed. It may be called at any time and any number of times.
func (a *Agent) turn(ctx context.Context) {
	now := a.cfg.Now()
	a.count(now)
	// What has come to its end.
	a.expire(now)
	// Look, or look again.
	a.lookIfDue(now)
	a.glanceIfDue()
	a.proveIfDue(now)
	// Decide.
	a.plan = policy.Decide(a.policy, a.present(), a.facts(now))
	a.waitNoMore()
	// Lessen.
	a.restrict(ctx, now)
	a.preempt(now)
	// Eliminate.
	a.remediate(now)
	a.clearFlags()
	// Record.
	a.record(now)
	a.publish()
	a.answerWaiters()
	a.glancing.settle(a.boot().Uptime)
}

// lookers is how many proofs are taken at the same time: most of one is waiting
// for an answer that does not come.
const lookers = 4

// isolators is the same for what isolation needs: telling people, ending
// connections and proving go on at the same time.
const isolators = 4

// present returns the threats that the last look saw: what is gone is proved, and
// not acted on.
func (a *Agent) present() []threat.Threat {
	return slices.DeleteFunc(slices.Clone(a.threats), func(t threat.Threat) bool { return a.gone[t.ID] })
}

// offer returns the channel and the first job of a queue, for a select; a nil
// channel, which never takes anything, if the queue is empty.
func offer(to chan job, queue []job) (chan<- job, job) {
	if len(queue) == 0 {
		return nil, nil
	}
	return to, queue[0]
}

func (a *Agent) enqueueLook(j job) { a.toLook = append(a.toLook, j) }

func (a *Agent) enqueueAct(j job) { a.toAct = append(a.toAct, j) }

func (a *Agent) enqueueIsolate(j job) { a.toIsolate = append(a.toIsolate, j) }

// work carries out jobs, one after the other.
func (a *Agent) work(ctx context.Context, jobs <-chan job) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-jobs:
			then := j(ctx)
			select {
			case <-ctx.Done():
				return
			case a.results <- then:
			}
		}
	}
}

// facts are what decisions depend on.
func (a *Agent) facts(now time.Time) policy.Facts {
	return policy.Facts{
		Now: now, Disruptive: a.state.Disruptive, Paused: a.state.Pause != nil,
		Isolation: a.state.Isolation != nil, IsolationHeldOff: a.state.IsolationHoldOff != nil,
		Host: a.snapshot, Terms: a.terms, InForce: a.state.Restrictions,
		Denied: a.state.Denied, Undeniable: a.binds.undeniable,
	}
}

// untilNext returns how long the loop may sleep.
func (a *Agent) untilNext() time.Duration {
	now := a.cfg.Now()
	next := a.lastLook.Add(a.cfg.LookEvery)
	if a.looking {
		next = now.Add(a.cfg.LookEvery)
	}
	sooner := func(t time.Time) {
		if !t.IsZero() && t.After(now) && t.Before(next) {
			next = t
		}
	}
	for _, t := range a.threats {
		for _, l := range t.Looks {
			sooner(l.Due)
		}
		if t.Exception != nil {
			sooner(t.Exception.Until)
		}
		if t.HoldOff != nil {
			sooner(t.HoldOff.Until)
		}
		sooner(a.retry[t.ID])
		if a.gone[t.ID] {
			sooner(believable(t))
		}
		if t.WaitingFor == threat.ForWindow {
			sooner(now.Add(time.Minute))
		}
	}
	for _, until := range a.deadlines() {
		sooner(until)
	}
	if wait := a.binds.refused.wait(now); wait > 0 {
		sooner(now.Add(wait))
	}
	for _, wait := range a.waits() {
		sooner(now.Add(wait))
	}
	return max(next.Sub(now), 50*time.Millisecond)
}

func (a *Agent) detectors() []*detect.Detector { return detect.All() }
