package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

// A host that nobody upgrades is put behind a wall when its plan says so, and the
// wall falls when the upgrade is done, not before.
func TestAHostThatIsNotUpgradedIsRestricted(t *testing.T) {
	b := newBench(t, strings.Replace(enforcing, "upgrade: {remediate: [flag-os-upgrade]}",
		"upgrade: {remediate: [flag-os-upgrade], escalate: {after: 60d, mitigate: [restrict-host]}}", 1)+"restrict: {outbound: keep}\n")
	b.m.SetOS(platform.OS{ID: "debian", Version: "9", Name: "Debian GNU/Linux 9 (stretch)", Codename: "stretch"})
	b.look()
	if x := b.a.Threats(false)[0]; len(x.InForce) != 0 || b.m.Snapshot().InForce.Wall != nil {
		t.Fatalf("restricted at once: %v\n%s", x.InForce, b.story())
	}
	b.pass(61 * 24 * time.Hour)
	b.look()
	x := b.a.Threats(false)[0]
	wall := b.m.Snapshot().InForce.Wall
	if wall == nil || !wall.Shut || !slices.Equal(x.InForce, []string{"restrict-host"}) || x.Stage == threat.Resolved {
		t.Fatalf("after 61 days: wall %+v, in force %v, %s\n%s", wall, x.InForce, x.Stage, b.story())
	}
	if s := b.a.Status(); s.Wall == nil || s.Isolated {
		t.Errorf("status: wall %+v, isolated %v", s.Wall, s.Isolated)
	}
	b.crash()
	b.settle()
	if b.m.Snapshot().InForce.Wall == nil {
		t.Error("the wall did not outlive the agent")
	}
	b.m.SetOS(platform.OS{ID: "debian", Version: "13", Name: "Debian GNU/Linux 13 (trixie)", Codename: "trixie"})
	b.look()
	if wall := b.m.Snapshot().InForce.Wall; wall != nil || len(b.a.Threats(false)) != 0 {
		t.Errorf("after the upgrade: wall %+v\n%s", wall, b.story())
	}
	if !strings.Contains(b.story(), "anybody may connect to this computer again") {
		t.Errorf("the history does not say that the wall fell:\n%s", b.story())
	}
}
