package actions

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/firebreak-sec/firebreak/platform"
	"github.com/firebreak-sec/firebreak/platform/platformtest"
)

// TestPreviews compares what a person is shown with testdata/previews.txtar.
// UPDATE=1 writes the file anew.
func TestPreviews(t *testing.T) {
	const golden = "testdata/previews.txtar"
	got := &txtar.Archive{Comment: []byte("What the actions say they would do, one case a section.\n")}
	for _, c := range previewCases() {
		p, err := c.action.Preview(t.Context(), c.machine.Host(), c.order)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got.Files = append(got.Files, txtar.File{Name: c.name, Data: []byte(shown(p))})
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(golden, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(txtar.Format(got)) {
		t.Errorf("previews are not as in %s (UPDATE=1 writes it anew):\n%s", golden, txtar.Format(got))
	}
}

func shown(p Preview) string {
	var b strings.Builder
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "step: %s\n", s)
	}
	for _, s := range p.Costs {
		fmt.Fprintf(&b, "cost: %s\n", s)
	}
	if p.Refused != "" {
		fmt.Fprintf(&b, "refused: %s\n", p.Refused)
	}
	fmt.Fprintf(&b, "undo: %t\n", p.Inverse != nil)
	return b.String()
}

type previewCase struct {
	name    string
	action  *Action
	machine *platformtest.Machine
	order   Order
}

func previewCases() []previewCase {
	tcp := func(at string) platform.Listener { return platformtest.Listen(platform.TCP, at) }
	m := platformtest.New()
	m.AddService("smbd", "/usr/sbin/smbd", tcp("*:445"), tcp("*:139"))
	m.AddService("redis-server", "/usr/bin/redis-server", tcp("*:6379"))
	m.AddService("shop", "/srv/shop")
	m.Require("redis-server", "shop.service")
	m.AddSocketService("cups", "/usr/sbin/cupsd", tcp("*:631"))
	m.AddProcess("/usr/bin/nc", tcp("0.0.0.0:4444"))
	m.AddService("ssh", "/usr/sbin/sshd", tcp("*:22"))

	return append([]previewCase{
		{"block-port, a file server", BlockPort, m, portOrder(m, platform.TCP, 445)},
		{"block-port, ssh", BlockPort, m, portOrder(m, platform.TCP, 22)},
		{"close-port, a service with a second port", ClosePort, m, portOrder(m, platform.TCP, 445)},
		{"close-port, a service that another one needs", ClosePort, m, portOrder(m, platform.TCP, 6379)},
		{"close-port, a socket unit", ClosePort, m, portOrder(m, platform.TCP, 631)},
		{"close-port, a program started by hand", ClosePort, m, portOrder(m, platform.TCP, 4444)},
		{"close-port, ssh", ClosePort, m, portOrder(m, platform.TCP, 22)},
		{"flag-os-upgrade, with a date", FlagOSUpgrade, m, upgradeOrder()},
	}, isolateCases()...)
}

func upgradeOrder() Order {
	return Order{
		Threat: "T-9MPX",
		Subject: platform.Subject{OS: &platform.OSSubject{
			ID: "debian", Version: "10", Name: "Debian GNU/Linux 10 (buster)", Verdict: platform.Ended,
			SupportEnds: "2024-06-30", UpgradeTo: "Debian 13 (trixie)",
		}},
		Terms: Terms{By: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), Contact: "Questions: IT service desk, phone 4357."},
		Now:   time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC),
	}
}
