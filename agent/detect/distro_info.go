package detect

import (
	"slices"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// distroInfo reads the releases of a debian.csv or ubuntu.csv as Debian's
// distro-info-data brings them to a host. Columns go by their names, for new ones
// were added over the years; a line that cannot be read is left out.
func distroInfo(f platform.LifecycleFile) []configs.Release {
	var (
		columns []string
		out     []configs.Release
	)
	for line := range strings.Lines(string(f.Data)) {
		fields := strings.Split(strings.TrimRight(line, "\r\n"), ",")
		if columns == nil {
			columns = fields
			continue
		}
		if r, ok := distroRelease(f.Product, columns, fields); ok {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b configs.Release) int { return configs.CompareVersions(a.Cycle, b.Cycle) })
	return out
}

func distroRelease(product string, columns, fields []string) (configs.Release, bool) {
	valid := true
	field := func(name string) string {
		if i := slices.Index(columns, name); i >= 0 && i < len(fields) {
			return strings.TrimSpace(fields[i])
		}
		return ""
	}
	day := func(name string) configs.Date {
		text := field(name)
		if text == "" {
			return configs.Date{}
		}
		t, err := time.Parse(time.DateOnly, text)
		valid = valid && err == nil
		return configs.Date{Time: t}
	}
	cycle, lts := strings.CutSuffix(field("version"), " LTS")
	r := configs.Release{
		Product: product, Cycle: cycle, LTS: lts, Codename: field("codename"),
		Released: day("release"), SecurityEnd: day("eol"),
	}
	if product == "debian" {
		r.Codename = field("series")
		r.ExtendedEnd, r.FurtherEnd = day("eol-lts"), day("eol-elts")
	} else {
		r.ExtendedEnd, r.FurtherEnd = day("eol-esm"), day("eol-legacy")
	}
	switch {
	case r.Released.IsZero():
		r.State = configs.Development
	case r.SecurityEnd.IsZero():
		r.State = configs.Undated
	}
	if r.State == configs.Dated && r.SecurityEnd.Before(r.Released.Time) {
		valid = false
	}
	return r, valid && cycle != ""
}
