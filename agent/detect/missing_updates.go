package detect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// MissingUpdates finds security updates that are not installed, or that are and
// not in effect yet.
//
// Its findings and how bad they are:
//
//	missing-updates       low       a security update is missing, for less time than policy lets it wait
//	                      high      for longer than updates.security
//	                      critical  one of them is known to be exploited, and waits for longer than updates.kev
//	                      medium    all are installed; programs or the kernel still run as they were before
//	package-lists         medium    nobody can tell: the host did not ask for updates for updates.listsMaxAge
//	unsupported-packages  medium    packages that nobody mends any more; low if it is some of their bugs
//
// The first one goes on until the old code runs no more: an update that is
// installed and not running mends nothing.
var MissingUpdates = &Detector{
	Name: "missing-updates",
	Doc: "Finds security updates that are missing, and programs that still run without those that were installed. " +
		"An update counts as security if the installed version is older than any version in an archive for security, " +
		"wherever the newest one comes from. Lists of packages that are too old to tell make the answer unknown, never up to date.",
	Parts: platform.Parts{platform.PartUpdates, platform.PartRunning},
	Find:  findMissingUpdates,
}

// Keys of the findings.
const (
	keyMissing     = "missing-updates"
	keyLists       = "package-lists"
	keyUnsupported = "unsupported-packages"
)

func findMissingUpdates(in Input) ([]Finding, error) {
	for _, part := range []platform.Part{platform.PartUpdates, platform.PartRunning} {
		if err := in.Snapshot.Missing(part); err != nil {
			return nil, fmt.Errorf("look for missing updates: %w", err)
		}
	}
	var found []Finding
	for _, f := range []*Finding{missingSecurity(in), oldLists(in), unsupported(in)} {
		if f != nil {
			f.Detector = "missing-updates"
			found = append(found, *f)
		}
	}
	return found, nil
}

// missingSecurity is the finding about all security updates together; nil if
// there is none missing, and nothing runs old code.
func missingSecurity(in Input) *Finding {
	u, rules, now := in.Snapshot.Updates, in.Policy.Updates, judgedAt(in)
	var missing []platform.Update
	for _, p := range u.Pending {
		if p.Security {
			p.Since = waitsSince(p, in.FirstSeen, now)
			missing = append(missing, p)
		}
	}
	running := in.Snapshot.Running
	if len(missing) == 0 && !oldRuns(running) {
		return nil
	}
	slices.SortStableFunc(missing, func(a, b platform.Update) int {
		return cmp.Or(cmp.Compare(len(b.KEV), len(a.KEV)), compareSeverity(configs.Severity(b.Severity), configs.Severity(a.Severity)), cmp.Compare(a.Name, b.Name))
	})
	f := &Finding{Key: keyMissing, Plan: rules.Plan, Severity: configs.Low}
	f.Because = fmt.Sprintf("policy lets security updates wait for %s", rules.Security)
	waited := func(p platform.Update, limit configs.Duration) bool { return now.Sub(p.Since) > time.Duration(limit) }
	switch {
	case slices.ContainsFunc(missing, func(p platform.Update) bool { return len(p.KEV) > 0 && waited(p, rules.KEV) }):
		f.Severity, f.Because = configs.Critical, fmt.Sprintf("policy lets updates against what is exploited wait for %s", rules.KEV)
	case slices.ContainsFunc(missing, func(p platform.Update) bool { return waited(p, rules.Security) }):
		f.Severity = configs.High
	case len(missing) == 0:
		f.Severity, f.Because = configs.Medium, "updates that are installed and not running mend nothing"
	}
	f.Summary = missingSentence(missing, running, now)
	f.Subject.Updates = &platform.UpdatesSubject{Manager: u.Manager, ListsAsOf: u.ListsAsOf, Packages: missing, Running: running}
	return f
}

// oldRuns tells whether anything runs as it was before an update.
func oldRuns(r platform.RunningCode) bool {
	return len(r.Stale) > 0 || r.NewerKernel != "" || len(r.RebootAsked) > 0
}

// waitsSince is when an update became known: the agent remembers it; else the
// package data may say so. One that nobody can date is new.
func waitsSince(p platform.Update, seen map[UpdateID]time.Time, now time.Time) time.Time {
	since := p.Since
	if first, ok := seen[IDOf(p)]; ok && (since.IsZero() || first.Before(since)) {
		since = first
	}
	if since.IsZero() || since.After(now) {
		return now
	}
	return since
}

// UpdateID names an update for as long as it is the same one.
type UpdateID struct{ Name, Arch, Installed string }

// IDOf names an update by what is installed: of several fixes that came one after
// the other, the first one is what the host waits for.
func IDOf(p platform.Update) UpdateID { return UpdateID{p.Name, p.Arch, p.Installed} }

// oldLists is the finding that nobody can tell what is missing; nil if the host
// asked lately enough.
func oldLists(in Input) *Finding {
	u, limit, now := in.Snapshot.Updates, time.Duration(in.Policy.Updates.ListsMaxAge), judgedAt(in)
	f := &Finding{
		Key: keyLists, Severity: configs.Medium, Unsure: true,
		Because: fmt.Sprintf("policy wants lists of packages that are at most %s old", in.Policy.Updates.ListsMaxAge),
		Subject: platform.Subject{Updates: &platform.UpdatesSubject{Manager: u.Manager, ListsAsOf: u.ListsAsOf}},
	}
	switch {
	case u.ListsAsOf.IsZero():
		f.Summary = "This computer has no lists of what its package sources offer: whether updates are missing is not known."
	case len(u.Unknown) > 0:
		f.Because = "what cannot be read may hide a missing update"
		f.Summary = fmt.Sprintf("Whether more updates are missing is not known: %s.", strings.TrimSuffix(u.Unknown[0], "."))
	case now.Sub(u.ListsAsOf) > limit:
		f.Summary = fmt.Sprintf("This computer last asked for updates %s ago, on %s: whether more are missing is not known.", spokenDays(now.Sub(u.ListsAsOf)), spoken(u.ListsAsOf))
	default:
		return nil
	}
	return f
}

// unsupported is the finding about packages that nobody mends; nil if there are
// none.
func unsupported(in Input) *Finding {
	u := in.Snapshot.Updates
	var ended, limited []string
	for _, p := range u.Unsupported {
		if p.Limited {
			limited = append(limited, p.Name)
		} else {
			ended = append(ended, p.Name)
		}
	}
	f := &Finding{
		Key: keyUnsupported, Severity: configs.Low, Because: "what the distribution itself says about its packages",
		Subject: platform.Subject{Updates: &platform.UpdatesSubject{Manager: u.Manager, ListsAsOf: u.ListsAsOf, Unsupported: u.Unsupported}},
	}
	switch {
	case len(ended) > 0:
		f.Severity = configs.Medium
		f.Summary = fmt.Sprintf("%s installed here %s no more security updates: %s.", countOf(len(ended), "package"), verb(len(ended), "gets", "get"), several(ended))
	case len(limited) > 0:
		f.Summary = fmt.Sprintf("%s installed here %s security updates for some of %s bugs only: %s.",
			countOf(len(limited), "package"), verb(len(limited), "gets", "get"), verb(len(limited), "its", "their"), several(limited))
	default:
		return nil
	}
	return f
}

// judgedAt is the time to judge by.
func judgedAt(in Input) time.Time {
	if in.Now.IsZero() {
		return in.Snapshot.Taken
	}
	return in.Now
}
