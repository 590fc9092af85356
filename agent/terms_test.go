package agent

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// Users are kept by number, and services by name; who is not known is told.
func TestKeptPrograms(t *testing.T) {
	list := []string{"hub", "user:root-is-not-this", "unit:rustdesk.service", "user:nobody"}
	iso, _ := keep(list)
	if !slices.Equal(iso.Units, []string{"rustdesk.service"}) {
		t.Errorf("got units %q", iso.Units)
	}
	users, err := keptUsers(list)
	if err == nil || !strings.HasPrefix(err.Error(), "an isolated host could not keep a user that policy names: ") ||
		!strings.Contains(err.Error(), "root-is-not-this") || strings.Contains(err.Error(), "nobody") {
		t.Errorf("got %v", err)
	}
	if !slices.Equal(users, []uint32{65534}) {
		t.Errorf("got users %d; want that of nobody", users)
	}
}

// Who wants to see beforehand what an action would do is told what stays open.
func TestTermsBeforehand(t *testing.T) {
	p, err := configs.ParsePolicy([]byte(`version: firebreak/v1
isolation:
  keep: [hub, dhcp, 10.0.0.5:443, mdm.example.org:443, user:nosuchuser, unit:rustdesk.service]
  lease: 1m
  max: 2h
  onLeaseEnd: closed
`), "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	terms, open := TermsBeforehand(p, platform.Snapshot{})
	want := platform.Isolation{
		Keep:  []platform.Peer{{Network: netip.MustParsePrefix("10.0.0.5/32"), Protocol: platform.TCP, Port: 443}},
		Units: []string{"rustdesk.service"}, DHCP: true, Lease: time.Minute, Closed: true, Max: 2 * time.Hour,
	}
	if !(platform.Restrictions{Isolation: &want}).Equal(platform.Restrictions{Isolation: &terms.Isolation}) {
		t.Errorf("got %+v; want %+v", terms.Isolation, want)
	}
	if !slices.Contains(terms.Logins, platform.PortRule{Protocol: platform.TCP, First: 22, Last: 22}) {
		t.Errorf("people log in at %v; want SSH among them", terms.Logins)
	}
	wantOpen := []string{
		"mdm.example.org:443 is kept as well: its address is looked up when isolating",
		"an isolated host could not keep a user that policy names: there is no user nosuchuser in /etc/passwd",
	}
	if !slices.Equal(open, wantOpen) {
		t.Errorf("open: got %q; want %q", open, wantOpen)
	}
}
