package detect

import (
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// Where lifecycle data comes from, as it is shown.
const (
	sourceVendor = "SUPPORT_END in os-release"
	sourceHost   = "distro-info on this host"
	sourceTable  = "built-in table"
)

// osFacts are what is known of the release a host runs, before it is judged.
type osFacts struct {
	claim    claim             // what the host is judged as; its product may be unknown
	release  configs.Release   // no cycle: there is no data about it
	releases []configs.Release // of the same product, in the order of versions
	where    age               // of the version among releases, when it is none of them
	source   string
	date     time.Time // of the data; zero if unknown
}

// dataset is what one source says of one product.
type dataset struct {
	releases []configs.Release
	source   string
	date     time.Time
}

// gather finds the data about the release a host runs. Newer data wins over
// older, and the vendor's word on the host over both, never what promises more.
func gather(os platform.OS, table configs.Lifecycle, taken time.Time) osFacts {
	all := claims(os)
	for _, c := range all {
		for _, d := range datasets(c.product.Key, os, table, taken) {
			if r, ok := c.match(d.releases); ok {
				f := osFacts{claim: c, release: r, releases: d.releases, source: d.source, date: d.date}
				f.hearVendor(os)
				return f
			}
		}
	}
	f := osFacts{where: between, source: sourceTable, date: table.DataDate().Time}
	if len(all) > 0 && (!all[0].derived || all[0].version != "") {
		d := datasets(all[0].product.Key, os, table, taken)[0]
		f.claim, f.releases, f.source, f.date = all[0], d.releases, d.source, d.date
		f.where = all[0].place(d.releases)
	}
	f.hearVendor(os)
	return f
}

// datasets returns what there is about a product, the newest first. A file on the
// host that was changed after the look cannot be dated, and is left out.
func datasets(product string, os platform.OS, table configs.Lifecycle, taken time.Time) []dataset {
	out := []dataset{{table.Releases(product), sourceTable, table.DataDate().Time}}
	for _, file := range os.Lifecycle {
		future := !taken.IsZero() && file.Modified.After(taken.Add(24*time.Hour))
		if file.Product == product && !future {
			out = append(out, dataset{distroInfo(file), sourceHost, file.Modified})
		}
	}
	slices.SortStableFunc(out, func(a, b dataset) int { return b.date.Compare(a.date) })
	return out
}

// How far a vendor's date may lie: this long from a release's first day is a
// mistake, and this long from newer data is a date that the vendor has moved
// since.
const (
	longestSupport = 20 * 366 * 24 * time.Hour
	movedDate      = 31 * 24 * time.Hour
)

// hearVendor puts SUPPORT_END in the place of other data, unless it makes no
// sense or has been moved since it was written.
func (f *osFacts) hearVendor(os platform.OS) {
	end, err := time.Parse(time.DateOnly, os.SupportEnd)
	if err != nil || end.Year() > 2100 || f.release.State == configs.Rolling {
		return
	}
	r := &f.release
	if released := r.Released.Time; !released.IsZero() && (end.Before(released) || end.Sub(released) > longestSupport) {
		return
	}
	date := os.Modified
	if r.Cycle != "" && r.State == configs.Dated {
		apart := end.Sub(r.SecurityEnd.Time).Abs()
		if apart > movedDate && !date.IsZero() && f.date.After(date) {
			return
		}
		if apart <= movedDate && f.date.After(date) {
			date = f.date
		}
	}
	if r.Cycle == "" {
		*r = configs.Release{Product: f.claim.product.Key, Cycle: f.claim.cycle(f.releases)}
		if r.Cycle == "" {
			r.Cycle = major(os.Version)
		}
	}
	r.SecurityEnd, r.State = configs.Date{Time: end}, configs.Dated
	f.source, f.date = sourceVendor, date
}

// oldData is how old data may be before it is said to be old.
const oldData = 400 * 24 * time.Hour

func (f osFacts) stale(now time.Time) bool {
	return !f.date.IsZero() && now.Sub(f.date) > oldData
}
