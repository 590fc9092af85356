package rpm

import (
	"path"
	"slices"
	"strings"
)

// candidate is a version that a repository offers.
type candidate struct {
	name, arch string
	evr        evr
	repository *repository
	obsoletes  []relation
	module     string // the stream it is of, "name:stream"; "" if of none
}

// relation is a name, and versions of it.
type relation struct {
	name string
	flag string // EQ | LT | LE | GT | GE, "" is any version
	evr  evr
}

func (r relation) covers(p installed) bool {
	if r.name != p.name {
		return false
	}
	c := p.evr.compareRange(r.evr)
	switch r.flag {
	case "EQ":
		return c == 0
	case "LT":
		return c < 0
	case "LE":
		return c <= 0
	case "GT":
		return c > 0
	case "GE":
		return c >= 0
	}
	return true
}

// artifact is the version as the metadata of modules writes it.
func (c candidate) artifact() string {
	return nevra(c.name, c.evr, c.arch)
}

func nevra(name string, e evr, arch string) string {
	with := e.String()
	if e.epoch == 0 {
		with = "0:" + with
	}
	return name + "-" + with + "." + arch
}

// matches says that a pattern of the configuration means this version, in any of the
// forms that dnf knows.
func (c candidate) matches(pattern string) bool {
	if glob(pattern, c.name) || glob(pattern, c.name+"."+c.arch) {
		return true
	}
	plain := evr{version: c.evr.version, release: c.evr.release}
	for _, e := range []string{plain.String(), strings.TrimPrefix(nevra("", c.evr, ""), "-")} {
		e = c.name + "-" + strings.TrimSuffix(e, ".")
		short := e[:strings.LastIndexByte(e, '-')]
		if slices.ContainsFunc([]string{e, e + "." + c.arch, short}, func(s string) bool { return glob(pattern, s) }) {
			return true
		}
	}
	return false
}

// glob matches as a shell does. Names of packages have no slash in them, and so one
// is nothing special.
func glob(pattern, name string) bool {
	if !strings.ContainsAny(pattern, "*?[") {
		return pattern == name
	}
	ok, err := path.Match(strings.ReplaceAll(pattern, "[!", "[^"), name)
	return err == nil && ok
}

// excluded says that the configuration keeps a version from being used.
func (s settings) excluded(c candidate) bool {
	means := func(p string) bool { return c.matches(p) }
	switch {
	case slices.ContainsFunc(s.exclude, means), slices.ContainsFunc(c.repository.exclude, means):
		return true
	case len(s.only) > 0 && !slices.ContainsFunc(s.only, means):
		return true
	case len(c.repository.only) > 0 && !slices.ContainsFunc(c.repository.only, means):
		return true
	}
	return locked(s.locks, c)
}

// decide says what of the installed packages is out of date.
func decide(all []installed, s settings, o offer) []Update {
	byName := map[string][]installed{}
	for _, p := range all {
		byName[p.name] = append(byName[p.name], p)
	}
	base := baseArch(all)
	var pending []Update
	for _, name := range sortedKeys(byName) {
		usable := o.usable(name, s)
		done := map[string]bool{}
		for _, p := range newestFirst(byName[name]) {
			if done[p.arch] {
				continue // several versions of a kernel: the newest counts
			}
			done[p.arch] = true
			u := Update{Name: p.name, Arch: p.arch, Source: p.source, Installed: p.evr.String(), Candidate: p.evr.String()}
			newer := u.choose(p, byName[name], usable, base, s)
			fixed := u.judge(p, o.advisories[name])
			if s.obsoletes && !newer {
				newer = u.obsolete(p, o.obsoleters, byName, s)
			}
			if !newer && fixed {
				u.Why = Unmet
			}
			if newer || fixed {
				pending = append(pending, u)
			}
		}
	}
	return pending
}

// choose finds what dnf would install in place of a package, and says whether there
// is anything newer at all.
func (u *Update) choose(p installed, same []installed, offered []candidate, base string, s settings) bool {
	priority := 1 << 30
	for _, c := range offered {
		if !s.excluded(c) {
			priority = min(priority, c.repository.priority)
		}
	}
	best := candidate{evr: p.evr}
	newest, why := p.evr, NotHeld
	for _, c := range offered {
		if !fits(c.arch, p.arch) || c.arch != p.arch && c.arch != "noarch" && !native(c.arch, base) {
			continue
		}
		if slices.ContainsFunc(same, func(o installed) bool { return fits(c.arch, o.arch) && o.evr.compare(c.evr) >= 0 }) {
			continue
		}
		hold := NotHeld
		switch {
		case s.excluded(c):
			hold = Held
		case c.repository.priority != priority:
			hold = Pinned
		case c.evr.compare(best.evr) > 0, c.evr.compare(best.evr) == 0 && c.repository.cost < best.repository.cost:
			best = c
		}
		if d := c.evr.compare(newest); d > 0 || d == 0 && hold == NotHeld {
			newest, why = c.evr, hold
		}
	}
	u.Why = why
	if best.repository != nil {
		u.Candidate, u.Archive = best.evr.String(), best.repository.id
	}
	return newest.compare(p.evr) > 0
}

// obsolete finds a package of another name that takes the place of one.
func (u *Update) obsolete(p installed, offered []candidate, have map[string][]installed, s settings) bool {
	for _, c := range offered {
		if c.name == p.name || !fits(c.arch, p.arch) || s.excluded(c) || len(have[c.name]) > 0 {
			continue
		}
		if slices.ContainsFunc(c.obsoletes, func(r relation) bool { return r.covers(p) }) {
			u.Obsoleter, u.Candidate, u.Archive = c.name, c.evr.String(), c.repository.id
			return true
		}
	}
	return false
}

// fits says that a package of one architecture can take the place of another.
func fits(a, b string) bool { return a == b || a == "noarch" || b == "noarch" }

func newestFirst(all []installed) []installed {
	return slices.SortedStableFunc(slices.Values(all), func(a, b installed) int { return b.evr.compare(a.evr) })
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// native says that an architecture is the host's own.
func native(arch, base string) bool {
	return arch == base || base == "i386" && strings.HasSuffix(arch, "86") || base == "armhfp" && strings.HasPrefix(arch, "armv7")
}
