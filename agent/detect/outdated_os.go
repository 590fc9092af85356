package detect

import (
	"fmt"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// OutdatedOS finds an operating system release that is out of support, or soon
// will be.
//
// Its verdicts and how bad they are:
//
//	supported              no threat
//	ending-soon            low       policy's os.warnBefore, counted to the last day
//	extended-entitled      low       medium in the last os.warnBefore days of it
//	extended-not-entitled  high      never critical: the evidence may be where we do not look
//	ended                  high      critical after a year
//	rolling                no threat while its package lists are fresh; medium when they
//	                       are older than 30 days, low when nobody can tell
//	unlisted               low       these three say that nobody can tell: none of them
//	unknown-newer          low       is ever taken for supported
//	unknown                low
var OutdatedOS = &Detector{
	Name: "outdated-os",
	Doc: "Finds an operating system that gets no more security updates, or soon will not. " +
		"The end of support is what the vendor wrote on the host, or what the host's own distro-info files say if they " +
		"are newer than this program's table, or what the table says. Extended support counts if it is free, " +
		"if it is found on the host, or if policy vouches for it.",
	Parts: platform.Parts{platform.PartOS},
	Find:  findOutdatedOS,
}

// What the age of a rolling release and of an end of support may be.
const (
	oldSync  = 30 * 24 * time.Hour
	longOver = 365 * 24 * time.Hour
)

func findOutdatedOS(in Input) ([]Finding, error) {
	if err := in.Snapshot.Missing(platform.PartOS); err != nil {
		return nil, err
	}
	return []Finding{assess(in).finding(in.Policy.OS)}, nil
}

// assessment is all that is said of a host's release.
type assessment struct {
	osFacts
	judgement
	os       platform.OS
	day      time.Time // the day it is judged by, at midnight UTC
	now      time.Time
	lastSync time.Time
	upgrade  string
}

func assess(in Input) assessment {
	os, now := in.Snapshot.OS, today(in)
	a := assessment{os: os, now: now, day: now.Truncate(24 * time.Hour), lastSync: os.LastSync}
	if os.ID == "" {
		a.verdict = platform.LifecycleUnknown
		return a
	}
	a.osFacts = gather(os, in.Lifecycle, in.Snapshot.Taken)
	switch {
	case a.release.State == configs.Rolling:
		a.verdict = platform.Rolling
		a.lastSync = a.noNewerThanRelease()
	case a.release.State == configs.Undated:
		a.verdict = platform.Supported
	case a.release.Cycle != "" && a.release.State == configs.Dated:
		evidence := map[string]bool{}
		for _, e := range os.ExtendedSupport {
			evidence[e] = true
		}
		p := a.claim.product
		a.judgement = judge(p, a.release, entitlement(p, in.Policy.OS.Extended, evidence), time.Duration(in.Policy.OS.WarnBefore), a.day)
		if a.verdict != platform.Supported {
			a.upgrade = a.upgradeTo()
		}
	case a.release.Cycle != "" || a.where == newer:
		a.verdict = platform.UnknownNewer
	case a.where == older && a.releases[0].SecurityEnd.Before(a.day):
		a.verdict = platform.Ended
		a.upgrade = a.upgradeTo()
	case a.claim.product.Key != "" && a.claim.version == "":
		a.verdict = platform.LifecycleUnknown
	default:
		a.verdict = platform.Unlisted
	}
	return a
}

// today is the time to judge by. A host whose clock stands before the day our
// data was gathered has a wrong clock: it must not make an old release young.
func today(in Input) time.Time {
	now, taken, data := in.Now.UTC(), in.Snapshot.Taken, in.Lifecycle.DataDate().Time
	if now.IsZero() {
		now = taken.UTC()
	}
	if taken.Before(data) && !taken.IsZero() && now.Before(data) {
		return data
	}
	return now
}

// noNewerThanRelease is when the package lists were last brought up to date. A
// Debian that still calls itself the testing of a release that came out long ago
// fetched lists since, perhaps, but installed nothing from them.
func (a assessment) noNewerThanRelease() time.Time {
	codename, ok := strings.CutSuffix(a.os.DebianVersion, "/sid")
	if a.release.Product != "debian" || !ok {
		return a.lastSync
	}
	for _, r := range a.releases {
		if strings.EqualFold(r.Codename, codename) && !r.Released.IsZero() && r.Released.Before(a.day) && r.Released.Before(a.lastSync) {
			return r.Released.Time
		}
	}
	return a.lastSync
}

func (a assessment) upgradeTo() string {
	from := a.release
	if from.Cycle == "" {
		from = configs.Release{Cycle: a.claim.version}
	}
	to, ok := upgradeTo(a.claim.product, from, a.releases, a.day)
	if !ok {
		return ""
	}
	title := a.claim.product.Title(to)
	if to.Codename != "" {
		title += " (" + to.Codename + ")"
	}
	if a.claim.derived {
		return "a release based on " + title
	}
	return title
}

func (a assessment) finding(rules configs.OSRules) Finding {
	severity, threat := a.severity(time.Duration(rules.WarnBefore))
	f := Finding{
		Detector: "outdated-os",
		Key:      a.key(),
		Severity: severity,
		Summary:  a.summary(),
		Because:  a.because(rules),
		Allowed:  !threat,
		Unsure:   a.verdict == platform.LifecycleUnknown,
		Subject: platform.Subject{OS: &platform.OSSubject{
			ID:          a.os.ID,
			Version:     a.os.Version,
			Name:        a.name(),
			Verdict:     a.verdict,
			SupportEnds: dateOnly(a.ends),
			DataDate:    dateOnly(a.date),
			DataSource:  a.source,
			Stale:       a.stale(a.now),
			UpgradeTo:   a.upgrade,
		}},
	}
	switch a.verdict {
	case platform.EndingSoon, platform.ExtendedEntitled, platform.ExtendedNotEntitled, platform.Ended:
		f.Plan = rules.Plan
	}
	return f
}

// severity says how bad the verdict is, and whether it is a threat at all.
func (a assessment) severity(warnBefore time.Duration) (configs.Severity, bool) {
	switch a.verdict {
	case platform.Supported:
		return configs.Low, false
	case platform.ExtendedEntitled:
		if a.ends.Sub(a.day) <= warnBefore {
			return configs.Medium, true
		}
	case platform.ExtendedNotEntitled:
		return configs.High, true
	case platform.Ended:
		end := a.ends
		if end.IsZero() {
			end = a.releases[0].SecurityEnd.Time
		}
		if a.day.Sub(end) > longOver {
			return configs.Critical, true
		}
		return configs.High, true
	case platform.Rolling:
		switch {
		case a.lastSync.IsZero():
		case a.now.Sub(a.lastSync) > oldSync:
			return configs.Medium, true
		default:
			return configs.Low, false
		}
	}
	return configs.Low, true
}

// key names the release, not what is thought of it: ending soon and ended are one
// threat, and the next release is another.
func (a assessment) key() string {
	if a.verdict == platform.LifecycleUnknown {
		return "outdated-os/unknown"
	}
	product, cycle := a.os.ID, a.release.Cycle
	if cycle == "" {
		cycle = a.claim.cycle(a.releases)
	}
	switch {
	case a.claim.product.Key == "":
		cycle = major(a.os.Version)
	case a.claim.derived && a.claim.version == "":
		cycle = a.claim.product.Key + "-" + cycle
	case !a.claim.derived:
		product = a.claim.product.Key
	}
	return "outdated-os/" + keyPart(product) + "/" + keyPart(cycle)
}

// keyPart keeps what a key may hold of text that the host wrote.
func keyPart(s string) string {
	if s == "" {
		return "unversioned"
	}
	s = strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
	return s[:min(len(s), 60)]
}

func (a assessment) because(rules configs.OSRules) string {
	if a.verdict == platform.LifecycleUnknown {
		return "os-release on this host"
	}
	because := a.source
	if !a.date.IsZero() {
		because += " of " + dateOnly(a.date)
	}
	if rules.Extended != "" && a.claim.product.Extended.Kind != "" {
		because += fmt.Sprintf("; policy has os.extended: %s", rules.Extended)
	}
	return because
}

func dateOnly(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}
