package platformtest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/firebreak-sec/firebreak/platform"
)

func ports(m *Machine) []uint16 {
	var all []uint16
	for _, l := range m.Snapshot().Listeners {
		all = append(all, l.Port)
	}
	return all
}

func TestClosedServiceStaysClosedOverReboot(t *testing.T) {
	m, ctx := New(), context.Background()
	m.AddService("smbd", "/usr/sbin/smbd", Listen(platform.TCP, "*:445"), Listen(platform.TCP, "*:139"))
	m.Respawn("smbd")
	h := m.Host()
	units, err := h.Services.Inspect(ctx, "smbd.service")
	if err != nil || len(units) != 1 || units[0].File != "enabled" {
		t.Fatal(units, err)
	}
	if err := h.Processes.End(ctx, platform.ProcessID{PID: units[0].MainPID, Start: uint64(units[0].MainPID) * 10}, 0); err != nil {
		t.Fatal(err)
	}
	if got := ports(m); !slices.Equal(got, []uint16{139, 445}) {
		t.Fatalf("a service that respawns is gone after a kill: %v", got)
	}
	if err := h.Services.Close(ctx, units); err != nil {
		t.Fatal(err)
	}
	m.Systemctl("start", "smbd")
	m.Reboot()
	if got := ports(m); len(got) != 0 {
		t.Fatalf("a masked service came back: %v", got)
	}
	if err := h.Services.Restore(ctx, units); err != nil {
		t.Fatal(err)
	}
	if active, file := m.UnitState("smbd"); active != "active" || file != "enabled" {
		t.Fatal(active, file)
	}
	m.Systemctl("disable", "smbd")
	if err := h.Services.Restore(ctx, units); !errors.Is(err, platform.ErrChanged) {
		t.Fatalf("overwrote what a person did: %v", err)
	}
}

func TestSocketStartsItsServiceAgain(t *testing.T) {
	m, ctx := New(), context.Background()
	m.AddSocketService("cups", "/usr/sbin/cupsd", Listen(platform.TCP, "*:631"))
	h := m.Host()
	at := netip.MustParseAddrPort("192.0.2.1:631")
	if a, err := h.Prober.Inbound(ctx, platform.TCP, at); a != platform.Answered || err != nil {
		t.Fatal(a, err)
	}
	o := m.Snapshot().Listeners[0].Owner
	if o.Unit != "cups.socket" || o.Process != "cupsd" || !slices.Contains(o.PIDs, 1) {
		t.Fatalf("%+v", o)
	}
	m.Kill(o.PID)
	if o := m.Snapshot().Listeners[0].Owner; o.PID != 1 {
		t.Fatalf("the socket unit let go of its socket: %+v", o)
	}
	units, _ := h.Services.Inspect(ctx, "cups.service")
	if len(units) != 2 || units[0].Name != "cups.socket" {
		t.Fatalf("triggers do not come first: %+v", units)
	}
	if err := h.Services.Close(ctx, units); err != nil {
		t.Fatal(err)
	}
	if a, _ := h.Prober.Inbound(ctx, platform.TCP, at); a != platform.Refused {
		t.Fatal(a)
	}
}

func TestBlockedPortIsSilentAndFaultsAreInjected(t *testing.T) {
	m, ctx := New(), context.Background()
	m.AddProcess("/usr/bin/nc", Listen(platform.TCP, "0.0.0.0:4444"))
	h := m.Host()
	want := platform.Restrictions{Blocked: []platform.PortRule{{Protocol: platform.TCP, First: 4444, Last: 4444}}}
	planted := errors.New("planted")
	m.FailTimes("Firewall.Apply", 1, planted)
	if err := h.Firewall.Apply(ctx, want); !errors.Is(err, planted) {
		t.Fatal(err)
	}
	if err := h.Firewall.Apply(ctx, want); err != nil {
		t.Fatal(err)
	}
	a, err := h.Prober.Inbound(ctx, platform.TCP, netip.MustParseAddrPort("192.0.2.1:4444"))
	if a != platform.Silent || err != nil {
		t.Fatal(a, err)
	}
}

func TestSupervisedProcessComesBack(t *testing.T) {
	m := New()
	pid := m.AddSupervised("/usr/bin/vncd", "/usr/bin/runsv", Listen(platform.TCP, "*:5900"))
	m.Kill(pid)
	if l := m.Snapshot().Listeners; len(l) != 1 || l[0].Owner.PID == pid {
		t.Fatalf("%+v", l)
	}
}
