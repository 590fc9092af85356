package localapi

import (
	"context"
	"sync"
	"time"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// fakeAgent remembers its orders and answers from memory.
type fakeAgent struct {
	mu      sync.Mutex
	orders  []agent.Order
	entries []journal.Entry
	changed chan struct{}
	threats []threat.Threat
	refuse  error
}

func (f *fakeAgent) whole() Agent { return Agent{Reader: f, Recorder: f, Doer: f} }

func newFake() *fakeAgent {
	return &fakeAgent{changed: make(chan struct{}), threats: []threat.Threat{redis, samba}}
}

func (f *fakeAgent) Do(_ context.Context, o agent.Order) (agent.Reply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orders = append(f.orders, o)
	return agent.Reply{Text: "done", Done: true}, f.refuse
}

func (f *fakeAgent) last() agent.Order {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.orders) == 0 {
		return agent.Order{}
	}
	return f.orders[len(f.orders)-1]
}

func (f *fakeAgent) Status() agent.Status {
	return agent.Status{
		State: agent.StateAttention, Host: "lena-t14", Mode: configs.Enforce,
		Open: map[configs.Severity]int{configs.High: 2}, Threats: f.threats, LastLook: noon,
		Policy:  agent.PolicyStatus{Version: "workstations r41", Mode: configs.Enforce, Source: "/etc/firebreak/policy.yaml", Valid: true, Text: "name: workstations\n"},
		Gaps:    []platform.Gap{{Part: platform.PartOwners, Reason: "cannot read /proc/77/exe", Partial: true}},
		Contact: configs.Contact{Phone: "4357"}, Next: "helpdesk: firebreak approve T-9MPX (stops redis-lena.service)",
		Flags: []platform.Flag{{Name: "os-upgrade", Told: []string{"lena"}}},
	}
}

func (f *fakeAgent) Owner(context.Context, threat.Threat) []string {
	return []string{"held by redis-server (process 812, user redis)"}
}

func (f *fakeAgent) Threats(bool) []threat.Threat { return f.threats }

func (f *fakeAgent) History(after uint64, limit int) ([]journal.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []journal.Entry
	for _, e := range f.entries {
		if e.Seq > after && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, nil
}

func (f *fakeAgent) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *fakeAgent) note(e journal.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entries = append(f.entries, e)
	close(f.changed)
	f.changed = make(chan struct{})
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

var redis = threat.Threat{
	ID: "T-9MPX", Detector: "open-port", Severity: configs.High, Stage: threat.Waiting, WaitingFor: threat.ForApproval,
	Subject: platform.Subject{Port: &platform.PortSubject{
		Protocol: platform.TCP, Port: 6379, Address: "*", PID: 77, Process: "redis-server",
		Exe: "/home/lena/bin/redis-server", User: "lena", Unit: "redis-lena.service", Reach: platform.ReachAny,
	}},
	Summary:   "redis-server of lena (/home/lena/bin/redis-server) answers any network on port 6379",
	Next:      "administrator: firebreak approve T-9MPX (stops redis-lena.service)",
	FirstSeen: noon, LastSeen: noon, Because: "deny rule in line 12 of /etc/firebreak/policy.yaml", Plan: "ask",
	Proofs:   []threat.Proof{{At: noon, Look: "at once", How: "probe", Verdict: detect.Persists, Detail: "/home/lena answered"}},
	Evidence: []string{"T-9MPX-20261123T120000Z"},
}

var samba = threat.Threat{
	ID: "T-7K4Q", Detector: "open-port", Severity: configs.High, Stage: threat.Mitigated, InForce: []string{"block-port"},
	Subject: platform.Subject{Port: &platform.PortSubject{Protocol: platform.TCP, Port: 445, Reach: platform.ReachLAN}},
	Summary: "smbd answers the local network on port 445", FirstSeen: noon, LastSeen: noon,
	Actions: []threat.Act{
		{Seq: 1, Name: "block-port", Kind: "mitigation", At: noon, By: "policy", Result: "done", Detail: "shut"},
		{Seq: 2, Name: "close-port", Kind: "remediation", At: noon, By: "jd (uid 1000)", Result: "failed", Detail: "/usr/sbin/smbd came back"},
	},
	Exception: &threat.Exception{Owner: "jd", Reason: "printer", Until: noon},
	HoldOff:   &threat.HoldOff{Reason: "undone", By: "jd (uid 1000)", Until: noon},
}
