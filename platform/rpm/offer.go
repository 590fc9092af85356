package rpm

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// offer is what the repositories of a host say about the packages it has.
type offer struct {
	names      map[string]bool        // of what is installed: nothing else is kept
	versions   map[string][]candidate // by name
	obsoleters []candidate
	advisories map[string][]fix // by name
	artifacts  map[string]string
	masked     map[string][]string // of a name, the streams that have it
	defaults   map[string]string   // the stream of a module that is used if nobody chose
}

func newOffer(all []installed) offer {
	o := offer{
		names:      map[string]bool{},
		versions:   map[string][]candidate{},
		advisories: map[string][]fix{},
		artifacts:  map[string]string{},
		masked:     map[string][]string{},
		defaults:   map[string]string{},
	}
	for _, p := range all {
		o.names[p.name] = true
	}
	return o
}

// usable are the versions of a package that modules leave: those of streams that are
// switched on, and if there are such, those of no stream only if the repository says
// that it does not matter.
func (o offer) usable(name string, s settings) []candidate {
	on := func(stream string) bool {
		module, stream, _ := strings.Cut(stream, ":")
		chosen, ok := s.streams[module]
		if !ok {
			chosen = o.defaults[module]
		}
		return chosen != "" && chosen == stream
	}
	masked := slices.ContainsFunc(o.masked[name], on)
	var all []candidate
	for _, c := range o.versions[name] {
		c.module = o.artifacts[c.artifact()]
		if c.repository.hotfixes || c.module != "" && on(c.module) || c.module == "" && !masked {
			all = append(all, c)
		}
	}
	return all
}

// fix is a version of a package that an advisory about security names.
type fix struct {
	arch     string
	evr      evr
	module   string // the stream it is for, "" if for none
	advisory *advisory
}

// advisory is an announcement of fixed packages.
type advisory struct {
	id       string
	cves     []string
	severity string // low | medium | high | critical, or ""
	issued   time.Time
}

// judge says which advisories a package is older than, and whether there is one.
func (u *Update) judge(p installed, fixes []fix) bool {
	var newest evr
	for _, f := range fixes {
		if !fits(f.arch, p.arch) || f.module != p.module || f.evr.compare(p.evr) <= 0 {
			continue
		}
		if !u.Security || f.evr.compare(newest) > 0 {
			newest = f.evr
		}
		u.Security = true
		u.Advisory = append(append(u.Advisory, f.advisory.id), f.advisory.cves...)
		if rank(f.advisory.severity) > rank(u.Severity) {
			u.Severity = f.advisory.severity
		}
		if t := f.advisory.issued; !t.IsZero() && (u.Issued.IsZero() || t.Before(u.Issued)) {
			u.Issued = t
		}
	}
	if u.Security {
		u.Fixed = newest.String()
		slices.SortFunc(u.Advisory, func(a, b string) int {
			return cmp.Or(cmp.Compare(isCVE(a), isCVE(b)), cmp.Compare(a, b))
		})
		u.Advisory = slices.Compact(u.Advisory)
	}
	return u.Security
}

func isCVE(s string) int {
	if strings.HasPrefix(s, "CVE-") {
		return 1
	}
	return 0
}

var severities = []string{"", "low", "medium", "high", "critical"}

func rank(severity string) int { return slices.Index(severities, severity) }

// severity says in the words of this program what a distribution says in its own.
func severity(s string) string {
	switch strings.ToLower(s) {
	case "critical":
		return "critical"
	case "important":
		return "high"
	case "moderate":
		return "medium"
	case "low":
		return "low"
	}
	return ""
}
