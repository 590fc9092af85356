package actions

import (
	"errors"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
	"github.com/firebreak-sec/firebreak/platform/platformtest"
)

func TestMitigationsPutTheWholeWantedStateInForce(t *testing.T) {
	m := platformtest.New()
	m.AddService("smbd", "/usr/sbin/smbd", platformtest.Listen(platform.TCP, "*:445"))
	o := portOrder(m, platform.TCP, 445)
	o.Terms.Isolation = platform.Isolation{DHCP: true, Lease: time.Minute}
	for _, a := range []*Action{BlockPort, IsolateHost} {
		t.Run(a.Name, func(t *testing.T) {
			o.Restrictions = a.Restrict(o.Subject, o.Terms)
			if inForce(t, a, m, o) {
				t.Fatal("in force before it was done")
			}
			for range 2 {
				if r, err := a.Do(t.Context(), m.Host(), o); err != nil || len(r.Done) != 1 {
					t.Fatal(r, err)
				}
			}
			if !inForce(t, a, m, o) {
				t.Fatal("not in force")
			}
			o.Restrictions = platform.Restrictions{}
			for range 2 {
				if err := a.Undo(t.Context(), m.Host(), o); err != nil {
					t.Fatal(err)
				}
			}
			if !m.InForce().Zero() {
				t.Fatalf("left in force: %+v", m.InForce())
			}
		})
	}
	planted := errors.New("planted")
	for _, method := range []string{"Firewall.Apply", "Firewall.InForce"} {
		m.Fail(method, planted)
	}
	_, doErr := BlockPort.Do(t.Context(), m.Host(), o)
	_, verifyErr := BlockPort.Verify(t.Context(), m.Host(), o)
	undoErr := BlockPort.Undo(t.Context(), m.Host(), o)
	for _, err := range []error{doErr, verifyErr, undoErr} {
		if !errors.Is(err, planted) {
			t.Error(err)
		}
	}
}

func TestIsolationOfOneOrderIsNotSharedWithAnother(t *testing.T) {
	terms := Terms{Isolation: platform.Isolation{Lease: time.Minute}}
	r := IsolateHost.Restrict(platform.Subject{}, terms)
	r.Isolation.Lease = time.Hour
	if terms.Isolation.Lease != time.Minute {
		t.Fatal("changed the terms")
	}
}

func TestForPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		15 * time.Minute: "15m", 90 * time.Minute: "1h30m", 4 * time.Hour: "4h", 90 * time.Second: "1m30s", 10 * time.Second: "10s",
	} {
		if got := forPeople(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
