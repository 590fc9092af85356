package detect

import (
	"time"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// judgement is where a release stands on one day.
type judgement struct {
	verdict platform.LifecycleVerdict
	// ends is the last day of the support that the host has or had; zero if none
	// is known.
	ends time.Time
	// later is the last day of support that the host could have after ends; zero
	// if there is none.
	later time.Time
	// by is what covers the host past its regular security updates.
	by configs.Extension
}

// covers says which support past the regular one counts for a host.
type covers struct {
	none              bool // policy lets none count
	extended, further bool
}

// entitlement says what counts for a host, by policy and by what was found on it.
// A policy that names one kind of extended support vouches for it, and for no
// other. What follows that kind has no name in a policy: it must be found.
func entitlement(p configs.Product, policy string, evidence map[string]bool) covers {
	found := func(x configs.Extension) bool { return x.Free || x.Evidence != "" && evidence[x.Evidence] }
	switch policy {
	case "none":
		return covers{none: true}
	case "", "auto":
		return covers{extended: found(p.Extended), further: found(p.Further)}
	default:
		return covers{extended: p.Extended.Kind == policy}
	}
}

// judge says where a dated release stands on the day. A day of end is a day of
// support still.
func judge(p configs.Product, r configs.Release, c covers, warnBefore time.Duration, day time.Time) judgement {
	regular, extended, further := r.SecurityEnd.Time, r.ExtendedEnd.Time, r.FurtherEnd.Time
	if !extended.After(regular) {
		extended = time.Time{}
	}
	if c.none {
		extended, further = time.Time{}, time.Time{}
	}
	switch {
	case !day.After(regular):
		j := judgement{verdict: platform.Supported, ends: regular, later: extended}
		if regular.Sub(day) <= warnBefore && warnBefore > 0 {
			j.verdict = platform.EndingSoon
		}
		if c.extended {
			j.by = p.Extended
		}
		return j
	case c.extended && !day.After(extended):
		return judgement{verdict: platform.ExtendedEntitled, ends: extended, by: p.Extended}
	case c.further && !day.After(further):
		return judgement{verdict: platform.ExtendedEntitled, ends: further, by: p.Further}
	case !day.After(extended):
		return judgement{verdict: platform.ExtendedNotEntitled, ends: regular, later: extended}
	case c.extended && !extended.IsZero():
		return judgement{verdict: platform.Ended, ends: extended}
	}
	return judgement{verdict: platform.Ended, ends: regular}
}

// upgradeTo returns the release that a host should go to: the first on the path
// that is kept secure for a year from the day, or else the one that is kept secure
// longest. Of releases that end on the same day the newest counts.
func upgradeTo(p configs.Product, from configs.Release, releases []configs.Release, day time.Time) (configs.Release, bool) {
	if p.Upgrade == configs.UpgradeUnknown {
		return configs.Release{}, false
	}
	var best configs.Release
	for _, r := range releases {
		if configs.CompareVersions(r.Cycle, from.Cycle) <= 0 || letters(r.Cycle) != letters(from.Cycle) || !offered(r, day) {
			continue
		}
		if p.Upgrade == configs.UpgradeLTS && from.LTS && !r.LTS {
			continue
		}
		if lasts(best, day) && !best.SecurityEnd.Equal(r.SecurityEnd.Time) {
			break
		}
		if r.State == configs.Undated || !r.SecurityEnd.Before(best.SecurityEnd.Time) {
			best = r
		}
	}
	return best, best.Cycle != ""
}

// offered tells whether a release is out and kept secure on the day.
func offered(r configs.Release, day time.Time) bool {
	switch r.State {
	case configs.Dated:
		return !r.Released.After(day) && !r.SecurityEnd.Before(day)
	case configs.Undated:
		return !r.Released.After(day)
	default:
		return false
	}
}

// lasts tells whether a release is kept secure for a year from the day.
func lasts(r configs.Release, day time.Time) bool {
	return r.Cycle != "" && (r.State == configs.Undated || r.SecurityEnd.After(day.AddDate(1, 0, 0)))
}
