package agent

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

// These tests are about the cut: what comes before it, and what it says of itself.

const keeping = `isolation: {keep: ["10.0.0.5:443", "10.0.0.0/8:22 in", dhcp]}
`

var (
	hub       = netip.MustParseAddrPort("10.0.0.5:443")
	homeOnNFS = platform.Network{Mounts: []platform.NetworkMount{{Path: "/home", Kind: "nfs4", Server: netip.MustParseAddr("192.0.2.9"), Port: 2049}}}
)

func connection(from, to string) platform.Connection {
	return platform.Connection{Protocol: platform.TCP, Local: netip.MustParseAddrPort(from), Remote: netip.MustParseAddrPort(to)}
}

// tick lets time pass in small steps.
func (b *bench) tick(all, step time.Duration) {
	b.Helper()
	for range all / step {
		b.pass(step)
	}
}

func (b *bench) isolated() bool { return b.m.InForce().Isolation != nil }

func TestTheCut(t *testing.T) {
	b := newBench(t, enforcing+keeping)
	b.m.AddSession(platform.Session{User: "lena", Terminal: "pts/0"})
	b.m.Connect(connection("192.0.2.2:40000", "198.51.100.7:443"))
	b.m.Connect(connection("192.0.2.2:40001", "192.168.1.9:445"))
	b.m.Connect(connection("192.0.2.2:40002", "10.0.0.5:443"))
	b.m.Connect(connection("192.0.2.2:22", "10.1.2.3:50000"))
	r := b.order(Order{Verb: Isolate, Reason: "odd mails are sent", For: time.Hour})
	if !r.Done || r.Text != "This computer is isolated, proved: nothing gets in or out but what is kept." {
		t.Fatalf("%+v\n%s", r, b.story())
	}
	if live := b.m.Connections(); len(live) != 2 {
		t.Errorf("still connected: %v; want the two that are kept", live)
	}
	if !strings.Contains(b.story(), "2 connections ended") {
		t.Errorf("the history does not say what was ended:\n%s", b.story())
	}
	s := b.a.Status().Isolation
	if s.State != IsolationFull || len(s.Reasons) != 0 || s.Ended != 2 || !slices.Equal(s.Told, []string{"lena"}) ||
		s.Lease != 15*time.Minute || s.Left != time.Hour || !s.Until.Equal(b.m.Now().Add(time.Hour)) {
		t.Errorf("status %+v", s)
	}
	calls := strings.Join(b.m.Calls(), "\n")
	told, cut, ended := strings.Index(calls, "Notifier.Notify"), strings.Index(calls, "Firewall.Apply isolated"), strings.Index(calls, "Connections.Cut")
	if told < 0 || cut < told || ended < cut {
		t.Errorf("people are told first, then the rules, then the connections:\n%s", calls)
	}
}

func TestAnIsolationTellsWhatItCosts(t *testing.T) {
	b := newBench(t, enforcing+keeping)
	b.m.AddSession(platform.Session{User: "lena", Terminal: "pts/1", Remote: "192.0.2.77"})
	b.m.AddProcess("/usr/bin/X", tcp("0.0.0.0:6000"))
	b.look()
	x := b.only(6000)
	if len(x.Actions) != 1 || !strings.Contains(strings.Join(x.Actions[0].Costs, "; "), "the session of lena from 192.0.2.77 ends") {
		t.Errorf("got %+v", x.Actions)
	}
}

func TestPeopleAreToldAllTheyNeed(t *testing.T) {
	b := newBench(t, enforcing+keeping)
	b.m.AddSession(platform.Session{User: "lena", Terminal: "pts/0"})
	b.order(Order{Verb: Isolate, Reason: "odd mails are sent", For: time.Hour})
	ends := b.m.Now().Add(time.Hour).Local().Format("15:04")
	for _, text := range []string{b.m.Notices()[0], b.m.Banner()} {
		for _, want := range []string{"odd mails are sent.", "4357", "10.0.0.5:443, 10.0.0.0/8:22 in, dhcp", ends} {
			if !strings.Contains(text, want) {
				t.Errorf("%q does not tell %q", text, want)
			}
		}
	}
	b.order(Order{Verb: Release})
	if text := b.m.Banner(); text != "" {
		t.Errorf("the banner outlives the isolation: %q", text)
	}
}

func TestABannerOfAnEarlierRunGoesAtStart(t *testing.T) {
	b := newBench(t, enforcing)
	if err := b.m.Host().Notifier.Banner(t.Context(), "isolated"); err != nil {
		t.Fatal(err)
	}
	b.crash()
	if text := b.m.Banner(); text != "" {
		t.Errorf("the banner is still %q", text)
	}
}

func TestPeopleWhoCannotBeToldDoNotStopTheCut(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.Fail("Notifier.Notify", errors.New("no terminal"))
	if r := b.order(Order{Verb: Isolate, Reason: "x"}); !r.Done || !strings.Contains(b.story(), "could not be told") {
		t.Errorf("%+v\n%s", r, b.story())
	}
}

func TestTellingThatTakesLongDoesNotStopTheCut(t *testing.T) {
	b := newBench(t, enforcing)
	b.m.AddSession(platform.Session{User: "lena", Terminal: "pts/0"})
	answer := make(chan result, 1)
	b.a.order(t.Context(), request{Order: Order{Verb: Isolate, Reason: "x"}, reply: answer})
	b.a.turn(t.Context())
	prepare := b.a.toIsolate[0]
	b.a.toIsolate = b.a.toIsolate[1:]
	prepare(t.Context())(t.Context())
	b.a.turn(t.Context())
	tell := b.a.toIsolate // it is under way
	b.a.toIsolate = nil
	if b.isolated() {
		t.Fatal("cut before anybody could be told")
	}
	b.pass(tellPatience)
	if !b.isolated() {
		t.Fatal("not cut")
	}
	for _, j := range tell {
		j(t.Context())(t.Context())
	}
	b.settle()
	if s := b.a.Status().Isolation; !slices.Equal(s.Told, []string{"lena"}) {
		t.Errorf("told %q", s.Told)
	}
}

func TestAnOrderThatWouldStrandIsRefused(t *testing.T) {
	b := newBench(t, enforcing+keeping)
	b.m.AddSession(platform.Session{User: "lena", Terminal: "pts/0"})
	b.m.SetNetwork(homeOnNFS)
	_, err := b.try(Order{Verb: Isolate, Reason: "x"})
	var refused *RefusedError
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, "/home") {
		t.Fatalf("%v\n%s", err, b.story())
	}
	if b.isolated() || len(b.m.Notices()) != 0 || b.m.Banner() != "" {
		t.Errorf("in force %v, told %q, banner %q", b.m.InForce(), b.m.Notices(), b.m.Banner())
	}
	b.pass(time.Hour)
	b.m.SetNetwork(platform.Network{})
	b.a.event(platform.Event{Part: platform.PartNetwork})
	b.settle()
	if b.isolated() {
		t.Error("an order that was refused was carried out later")
	}
	if r := b.order(Order{Verb: Isolate, Reason: "x"}); !r.Done {
		t.Errorf("%+v", r)
	}
}

func TestAPlanThatWouldStrandWaitsUntilTheNetworkChanges(t *testing.T) {
	b := newBench(t, enforcing+keeping)
	b.m.SetNetwork(homeOnNFS)
	b.m.AddProcess("/usr/bin/X", tcp("0.0.0.0:6000"))
	b.look()
	x := b.want(6000, threat.Waiting, threat.ForPerson)
	if b.isolated() || !strings.Contains(x.Next, "/home") {
		t.Fatalf("in force %+v, next %q", b.m.InForce(), x.Next)
	}
	for range 20 {
		b.pass(5 * time.Minute)
		b.look()
	}
	if n := strings.Count(b.story(), "/home"); n > 2 {
		t.Errorf("it is told %d times\n%s", n, b.story())
	}
	b.m.SetNetwork(platform.Network{})
	b.a.event(platform.Event{Part: platform.PartNetwork})
	b.settle()
	if x := b.only(6000); !b.isolated() || x.Stage != threat.Mitigated {
		t.Errorf("isolated %v, %s\n%s", b.isolated(), x.Stage, b.story())
	}
	b.order(Order{Verb: Release})
	b.m.SetNetwork(homeOnNFS)
	b.pass(4*time.Hour + time.Minute)
	b.want(6000, threat.Waiting, threat.ForPerson)
}

func TestADryRunSaysWhatWouldBeCutAndWhy(t *testing.T) {
	b := newBench(t, enforcing+keeping)
	b.m.Connect(connection("192.0.2.2:40000", "198.51.100.7:443"))
	b.m.SetNetwork(homeOnNFS)
	before := len(b.m.Calls())
	r := b.order(Order{Verb: Isolate, DryRun: true})
	if !strings.Contains(r.Text, "must not be isolated now: /home") || len(r.Lines) < 3 {
		t.Errorf("%+v", r)
	}
	if calls := b.m.Calls()[before:]; len(calls) != 0 {
		t.Errorf("it changed %q", calls)
	}
}

func TestNamesAreLookedUpBeforeTheCut(t *testing.T) {
	b := newBench(t, enforcing)
	addr := netip.MustParseAddr("10.0.0.7")
	b.policy(enforcing + "isolation: {keep: [\"hub.example.org:443\"]}\n")
	b.a.loadPolicy()
	b.settle()
	b.dns = map[string][]netip.Addr{"hub.example.org": {addr}}
	b.order(Order{Verb: Isolate, Reason: "x"})
	iso := b.m.InForce().Isolation
	if iso == nil || len(iso.Keep) != 1 || iso.Keep[0].Network.Addr() != addr {
		t.Errorf("in force %+v", iso)
	}
}

func TestAChangedAddressIsFollowedWhileIsolated(t *testing.T) {
	b := newBench(t, enforcing)
	old, now := netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("10.0.0.8")
	b.dns = map[string][]netip.Addr{"hub.example.org": {old}}
	b.policy(enforcing + "isolation: {keep: [\"hub.example.org:443\", dns]}\n")
	b.a.loadPolicy()
	b.a.terms.Isolation.Resolvers = []netip.Addr{netip.MustParseAddr("10.0.0.53")}
	b.order(Order{Verb: Isolate, Reason: "x"})
	keeps := func(addr netip.Addr) bool {
		return slices.ContainsFunc(b.m.InForce().Isolation.Keep, func(p platform.Peer) bool { return p.Network.Addr() == addr })
	}
	if !keeps(old) {
		t.Fatalf("in force %+v", b.m.InForce().Isolation)
	}
	before := len(b.m.Calls())
	b.m.Connect(connection("192.0.2.2:40002", "10.0.0.7:443"))
	b.dns = nil
	b.pass(time.Minute)
	if !keeps(old) {
		t.Error("a name that cannot be looked up was forgotten")
	}
	b.dns = map[string][]netip.Addr{"hub.example.org": {now}}
	b.pass(time.Minute)
	if !keeps(now) || keeps(old) || len(b.m.Connections()) != 0 {
		t.Errorf("in force %+v, connected %v", b.m.InForce().Isolation, b.m.Connections())
	}
	if slices.Contains(b.m.Calls()[before:], "Firewall.Apply nothing") {
		t.Error("it was released in between")
	}
}

func TestAKeepListIsFollowedInPlace(t *testing.T) {
	b := newBench(t, enforcing+keeping)
	b.order(Order{Verb: Isolate, Reason: "x"})
	b.m.Connect(connection("192.0.2.2:40002", "10.0.0.5:443"))
	b.pass(2 * time.Second)
	b.policy(enforcing + "isolation: {keep: [\"10.0.0.6:443\"]}\n")
	b.a.loadPolicy()
	b.settle()
	if iso := b.m.InForce().Isolation; iso == nil || len(iso.Keep) != 1 || iso.Keep[0].Network.Addr().String() != "10.0.0.6" {
		t.Errorf("in force %+v", iso)
	}
	if live := b.m.Connections(); len(live) != 0 || !strings.Contains(b.story(), "1 connection ended") {
		t.Errorf("still connected: %v\n%s", live, b.story())
	}
}

func TestReleasedBeforeItWasProved(t *testing.T) {
	b := newBench(t, enforcing)
	first, second := make(chan result, 1), make(chan result, 1)
	b.a.order(t.Context(), request{Order: Order{Verb: Isolate, Reason: "x"}, reply: first})
	b.a.turn(t.Context())
	b.a.order(t.Context(), request{Order: Order{Verb: Release, By: "jd"}, reply: second})
	b.settle()
	if r := <-first; r.Done || !strings.Contains(r.Text, "released before") {
		t.Errorf("%+v", r)
	}
	if r := <-second; !r.Done || b.isolated() {
		t.Errorf("%+v", r)
	}
}

func TestAFullDiskStopsNoIsolation(t *testing.T) {
	b := newBench(t, enforcing)
	if err := b.a.cfg.Journal.Close(); err != nil {
		t.Fatal(err)
	}
	r := b.order(Order{Verb: Isolate, Reason: "x"})
	if !r.Done || !strings.Contains(strings.Join(r.Lines, "\n"), "could not be written down") {
		t.Errorf("%+v", r)
	}
	b.tick(20*time.Minute, 10*time.Second)
	if !b.isolated() {
		t.Error("whoever fills the disk is free")
	}
	b.reopen()
}
