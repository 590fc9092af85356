package apt

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// limit is what debian-security-support says of the packages of a source.
type limit struct {
	source  *regexp.Regexp
	ended   time.Time
	note    string
	limited bool
}

// readUnsupported finds the installed packages of which debian-security-support says
// that they get no security updates, at present or from some day on. Where that is not
// installed nobody says so.
func readUnsupported(read *files, have *installed) (all []Unsupported, problems []string) {
	const dir = "/usr/share/debian-security-support/"
	b, _ := read.read("/etc/debian_version")
	major := strings.TrimSpace(string(b))
	major = major[:digits(major)]
	if major == "" {
		return nil, nil
	}
	for _, limited := range []bool{false, true} {
		name := "security-support-ended.deb" + major
		if limited {
			name = "security-support-limited"
		}
		b, err := read.readPresent(dir + name)
		if err != nil {
			problems = append(problems, fmt.Sprintf("what has no security support: %s: %v", name, err))
			continue
		}
		limits := parseLimits(string(b), limited)
		for _, p := range have.packages {
			i := slices.IndexFunc(limits, func(l limit) bool { return l.source.MatchString(p.source) })
			if i >= 0 {
				l := limits[i]
				all = append(all, Unsupported{Name: p.name, Version: p.version, Limited: limited, Ended: l.ended, Note: l.note})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Unsupported) int { return cmp.Compare(a.Name, b.Name) })
	return all, problems
}

// parseLimits reads a list of sources: a pattern; where support has ended, the last
// version that had it and the day; and what else there is to say.
func parseLimits(text string, limited bool) (all []limit) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || line[0] == '#' {
			continue
		}
		source, err := regexp.Compile("^(?:" + words[0] + ")$")
		if err != nil {
			continue
		}
		l := limit{source: source, limited: limited}
		said := words[1:]
		if !limited {
			if len(words) < 3 {
				continue
			}
			if l.ended, err = time.Parse(time.DateOnly, words[2]); err != nil {
				continue
			}
			said = words[3:]
		}
		l.note = strings.Join(said, " ")
		all = append(all, l)
	}
	return all
}

// ended are those of a list of which the day has come.
func ended(all []Unsupported, now time.Time) []Unsupported {
	return slices.DeleteFunc(slices.Clone(all), func(u Unsupported) bool { return u.Ended.After(now) })
}
