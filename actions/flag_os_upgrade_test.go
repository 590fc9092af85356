package actions

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/firebreak-sec/firebreak/platform"
	"github.com/firebreak-sec/firebreak/platform/platformtest"
)

func TestFlagOSUpgradeTellsPeopleOnce(t *testing.T) {
	m, o := platformtest.New(), upgradeOrder()
	h := m.Host()
	do := func() Result {
		t.Helper()
		r, err := FlagOSUpgrade.Do(t.Context(), h, o)
		if err != nil || r.Waits != "person" {
			t.Fatal(r, err)
		}
		return r
	}
	if r := do(); !slices.Contains(r.Done, "nobody was logged in who could be told") {
		t.Fatal(r.Done)
	}
	m.AddSession(platform.Session{User: "lena", Terminal: "pts/0"})
	if r := do(); !slices.Contains(r.Done, "told lena") {
		t.Fatal(r.Done)
	}
	do()
	notices := m.Notices()
	want := "This computer runs Debian GNU/Linux 10 (buster), which gets no security updates any more since 2024-06-30.\n" +
		"Please upgrade Debian GNU/Linux 10 (buster) to Debian 13 (trixie) by 2026-12-01.\nQuestions: IT service desk, phone 4357."
	if len(notices) != 1 || notices[0] != want {
		t.Fatalf("%q", notices)
	}
	flag, err := h.Flags.Flag(t.Context(), "os-upgrade")
	if err != nil || flag.To != "Debian 13 (trixie)" || flag.Threat != "T-9MPX" || !flag.By.Equal(o.Terms.By) || !slices.Equal(flag.Told, []string{"lena"}) {
		t.Fatalf("%+v %v", flag, err)
	}

	o.Terms.By = o.Terms.By.AddDate(0, 1, 0)
	if inForce(t, FlagOSUpgrade, m, o) {
		t.Error("a note with another date counts as the right one")
	}
	do()
	if !inForce(t, FlagOSUpgrade, m, o) || len(m.Notices()) != 2 {
		t.Error("a new date is not told")
	}
}

func TestFlagOSUpgradeUndo(t *testing.T) {
	m, o := platformtest.New(), upgradeOrder()
	if _, err := FlagOSUpgrade.Do(t.Context(), m.Host(), o); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := FlagOSUpgrade.Undo(t.Context(), m.Host(), o); err != nil {
			t.Fatal(err)
		}
		if inForce(t, FlagOSUpgrade, m, o) {
			t.Fatal("the note is still there")
		}
	}
}

func TestFlagOSUpgradeStandsWhenNobodyCanBeTold(t *testing.T) {
	m, o := platformtest.New(), upgradeOrder()
	m.Fail("Notifier.Notify", errors.New("no terminals"))
	r, err := FlagOSUpgrade.Do(t.Context(), m.Host(), o)
	if err != nil || !inForce(t, FlagOSUpgrade, m, o) || !strings.Contains(strings.Join(r.Done, "; "), "nobody could be told: no terminals") {
		t.Fatal(r, err)
	}
	m.Fail("Flags.SetFlag", errors.New("disk full"))
	if _, err := FlagOSUpgrade.Do(t.Context(), m.Host(), o); err == nil {
		t.Fatal("claims to have left a note")
	}
}

func TestUpgradeSentences(t *testing.T) {
	for verdict, want := range map[platform.LifecycleVerdict]string{
		platform.Ended:               "which gets no security updates any more since 2026-06-30",
		platform.EndingSoon:          "which gets no security updates after 2026-06-30",
		platform.ExtendedNotEntitled: "which gets security updates after 2026-06-30 only with a contract that this computer does not have",
		platform.Rolling:             "which has to be replaced",
	} {
		if got := supportSentence(platform.OSSubject{Verdict: verdict, SupportEnds: "2026-06-30"}); got != want {
			t.Errorf("%s: %s", verdict, got)
		}
	}
	if got := upgradeText(platform.OSSubject{ID: "debian", Version: "10"}, upgradeOrder().Terms.By.AddDate(-3000, 0, 0)); !strings.Contains(got, "upgrade debian 10 to a release that gets security updates") {
		t.Error(got)
	}
}

func TestActionsRefuseForeignSubjects(t *testing.T) {
	h := platformtest.New().Host()
	for _, a := range []*Action{BlockPort, ClosePort, FlagOSUpgrade} {
		if _, err := a.Preview(t.Context(), h, Order{}); !errors.Is(err, ErrCannot) {
			t.Errorf("%s: %v", a.Name, err)
		}
	}
	if !BlockPort.Restrict(platform.Subject{}, Terms{}).Zero() {
		t.Error("blocks a port of a threat that has none")
	}
}
