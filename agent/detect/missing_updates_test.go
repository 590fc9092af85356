package detect

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

var patchDay = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func ago(days int) time.Time { return patchDay.AddDate(0, 0, -days) }

func defaultPolicy(t *testing.T) configs.Policy {
	t.Helper()
	p, err := configs.Default()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// missing is a security update that waits for some days.
func missing(name string, days int) platform.Update {
	return platform.Update{Name: name, Arch: "amd64", Installed: "1", Candidate: "2", Fixed: "2", Security: true, Since: ago(days)}
}

// TestMissingUpdates says what is found by what a snapshot holds, each as
// "KEY severity: sentence".
func TestMissingUpdates(t *testing.T) {
	fresh := platform.Updates{Manager: "apt", ListsAsOf: ago(1), Installed: 800}
	with := func(pending ...platform.Update) platform.Updates {
		u := fresh
		u.Pending = pending
		return u
	}
	kev := missing("libwebp7", 3)
	kev.KEV = []string{"CVE-2023-4863"}
	plain := missing("vim", 100)
	plain.Security = false
	held := missing("nginx", 9)
	held.Why = platform.Held
	undated := missing("curl", 0)
	undated.Since = time.Time{}
	stale := platform.RunningCode{Stale: []platform.StaleProcess{{Name: "nginx", Unit: "nginx.service"}, {Name: "nginx", Unit: "nginx.service"}, {Name: "bash"}}}
	old := fresh
	old.ListsAsOf = ago(31)
	tests := []struct {
		name    string
		updates platform.Updates
		running platform.RunningCode
		seen    map[UpdateID]time.Time
		want    string
	}{
		{"up to date", fresh, platform.RunningCode{}, nil, ""},
		{"no matter of security", with(plain), platform.RunningCode{}, nil, ""},
		{"new", with(missing("curl", 0)), platform.RunningCode{}, nil, "missing-updates low: 1 security update is missing: curl."},
		{"within policy", with(missing("curl", 6)), platform.RunningCode{}, nil, "missing-updates low: 1 security update is missing, for 6 days: curl."},
		{"for too long", with(missing("curl", 8), missing("libc6", 2)), platform.RunningCode{}, nil, "missing-updates high: 2 security updates are missing, the oldest for 8 days: curl and libc6."},
		{"many", with(missing("a", 0), missing("b", 0), missing("c", 0), missing("d", 0), missing("e", 0)), platform.RunningCode{}, nil, "missing-updates low: 5 security updates are missing: a, b, c and 2 more."},
		{"two architectures are one name", with(missing("libc6", 0), platform.Update{Name: "libc6", Arch: "i386", Installed: "1", Security: true, Since: ago(0)}), platform.RunningCode{}, nil, "missing-updates low: 2 security updates are missing: libc6."},
		{"exploited", with(missing("a", 1), kev), platform.RunningCode{}, nil, "missing-updates critical: 2 security updates are missing, the oldest for 3 days: libwebp7 and a. What one of them mends is being attacked elsewhere."},
		{"held by a person", with(held), platform.RunningCode{}, nil, "missing-updates high: 1 security update is missing, for 9 days: nginx. Somebody set 1 package here to be held back."},
		{"nobody can date it", with(undated), platform.RunningCode{}, nil, "missing-updates low: 1 security update is missing: curl."},
		{"the agent remembers it", with(undated), platform.RunningCode{}, map[UpdateID]time.Time{{"curl", "amd64", "1"}: ago(10)}, "missing-updates high: 1 security update is missing, for 10 days: curl."},
		{"another one of the same package", with(undated), platform.RunningCode{}, map[UpdateID]time.Time{{"curl", "amd64", "0"}: ago(10)}, "missing-updates low: 1 security update is missing: curl."},
		{"old code runs", fresh, stale, nil, "missing-updates medium: Updates are installed, but not all in effect: 2 programs still run as before an update: bash and nginx."},
		{"old kernel runs", fresh, platform.RunningCode{Kernel: "6.1.0-9-amd64", NewerKernel: "6.1.0-10-amd64"}, nil, "missing-updates medium: Updates are installed, but not all in effect: the kernel runs as 6.1.0-9-amd64 while 6.1.0-10-amd64 is installed."},
		{"a restart is asked for", fresh, platform.RunningCode{RebootAsked: []string{"dbus"}}, nil, "missing-updates medium: Updates are installed, but not all in effect: a restart is asked for by dbus."},
		{"old lists", old, platform.RunningCode{}, nil, "package-lists medium unsure: This computer last asked for updates 31 days ago, on 24 October 2026: whether more are missing is not known."},
		{"no lists", platform.Updates{Manager: "apt"}, platform.RunningCode{}, nil, "package-lists medium unsure: This computer has no lists of what its package sources offer: whether updates are missing is not known."},
		{
			"old lists, and one is missing all the same", func() platform.Updates { u := old; u.Pending = []platform.Update{missing("curl", 40)}; return u }(),
			platform.RunningCode{},
			nil,
			"missing-updates high: 1 security update is missing, for 40 days: curl.\n" +
				"package-lists medium unsure: This computer last asked for updates 31 days ago, on 24 October 2026: whether more are missing is not known.",
		},
		{"out of support", func() platform.Updates {
			u := fresh
			u.Unsupported = []platform.UnsupportedPackage{{Name: "chromium"}, {Name: "binutils", Limited: true}}
			return u
		}(), platform.RunningCode{}, nil, "unsupported-packages medium: 1 package installed here gets no more security updates: chromium."},
		{"some support", func() platform.Updates {
			u := fresh
			u.Unsupported = []platform.UnsupportedPackage{{Name: "binutils", Limited: true}, {Name: "webkit", Limited: true}}
			return u
		}(), platform.RunningCode{}, nil, "unsupported-packages low: 2 packages installed here get security updates for some of their bugs only: binutils and webkit."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found, err := findMissingUpdates(Input{
				Snapshot: platform.Snapshot{Updates: tt.updates, Running: tt.running}, Policy: defaultPolicy(t), Now: patchDay, FirstSeen: tt.seen,
			})
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, f := range found {
				unsure := ""
				if f.Unsure {
					unsure = " unsure"
				}
				lines = append(lines, fmt.Sprintf("%s %s%s: %s", f.Key, f.Severity, unsure, f.Summary))
			}
			if got := strings.Join(lines, "\n"); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestUpdatesAreGone says what a second look makes of a threat.
func TestUpdatesAreGone(t *testing.T) {
	fresh := platform.Updates{Manager: "apt", ListsAsOf: ago(0)}
	old := platform.Updates{Manager: "apt", ListsAsOf: ago(40)}
	tests := []struct {
		name     string
		snapshot platform.Snapshot
		want     Verdict
	}{
		{"installed and running", platform.Snapshot{Updates: fresh}, Cleared},
		{"installed, and the old library is still mapped", platform.Snapshot{Updates: fresh, Running: platform.RunningCode{Stale: []platform.StaleProcess{{Name: "nginx"}}}}, Persists},
		{"installed, and a restart is pending", platform.Snapshot{Updates: fresh, Running: platform.RunningCode{NewerKernel: "6.2"}}, Persists},
		{"nothing is missing by lists that are old", platform.Snapshot{Updates: old}, Unknown},
		{"no lists any more", platform.Snapshot{Updates: platform.Updates{Manager: "apt"}}, Unknown},
		{"package data cannot be read", platform.Snapshot{Gaps: []platform.Gap{{Part: platform.PartUpdates, Reason: "no"}}}, Unknown},
		{"processes cannot be seen", platform.Snapshot{Updates: fresh, Gaps: []platform.Gap{{Part: platform.PartRunning, Reason: "no"}}}, Unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, why := MissingUpdates.Verify(keyMissing, Input{Snapshot: tt.snapshot, Policy: defaultPolicy(t), Now: patchDay})
			if got != tt.want {
				t.Errorf("got %s (%s), want %s", got, why, tt.want)
			}
		})
	}
}
