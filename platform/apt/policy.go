package apt

import (
	"cmp"
	"slices"
	"strings"
)

// defaultRelease is the priority of the release that APT::Default-Release names.
const defaultRelease = 990

// prioritise gives each list the priority that all packages in it have.
func (s *settings) prioritise(lists []*list) {
	all := s.pins
	if r := s.config.value("apt::default-release"); r != "" {
		all = append([]pin{{kind: "release", data: r, priority: defaultRelease}}, all...)
	}
	s.origins = map[string]bool{}
	for _, l := range lists {
		if s.own(l) {
			s.origins[l.release.origin] = true
		}
	}
	s.status = &list{status: true, release: &release{suite: "now"}}
	for _, l := range append([]*list{s.status}, lists...) {
		l.priority = l.unasked()
		for _, p := range all {
			if p.packages == nil && p.coversList(l) {
				l.priority, l.pinned = p.priority, true
				break
			}
		}
	}
}

// unasked is the priority of a list of which nobody said anything.
func (l *list) unasked() int {
	r := l.release
	switch {
	case l.status, r != nil && r.notAutomatic && r.butUpgrades:
		return 100
	case r != nil && r.notAutomatic:
		return 1
	}
	return 500
}

// priority is what one version of a package has, and whether a person said so.
func (s *settings) priority(v *pkg, arch string) (priority int, pinned bool) {
	priority = never
	for _, l := range v.lists {
		if l.priority > priority || l.priority == priority && l.pinned {
			priority, pinned = l.priority, l.pinned
		}
	}
	if priority == never {
		return never, true
	}
	for _, p := range s.pins {
		if p.packages != nil && p.means(v, arch, s.have.native) && p.covers(v) {
			return p.priority, true
		}
	}
	return priority, pinned
}

// choice is what becomes of one installed package.
type choice struct {
	*pkg           // as it is installed
	arch    string // the one apt has it under
	offered []*pkg // what the lists have, the newest first
	to      *pkg   // what apt would install in its place; itself if nothing
	kept    *pkg   // what apt would install but for other packages, nil if nothing
	why     Hold
}

// choose finds the candidate of a package: the version of the highest priority, the
// newest among equals, and an older one than the installed only from 1000 on.
func (s *settings) choose(p *pkg, offered []*pkg) *choice {
	c := &choice{pkg: p, arch: s.have.key(p).arch, offered: offered, to: p}
	slices.SortStableFunc(offered, func(a, b *pkg) int { return compare(b.version, a.version) })
	p.lists = []*list{s.status}
	all, at := slices.Clone(offered), len(offered)
	for i, v := range offered {
		switch d := compare(v.version, p.version); {
		case d == 0:
			p.lists = append(p.lists, v.lists...)
			all[i], at = p, -1
		case d < 0 && at == len(offered):
			at = i
		}
	}
	if at >= 0 {
		all = slices.Insert(all, at, p)
	}
	best := -1
	for _, v := range all {
		priority, _ := s.priority(v, c.arch)
		if priority != 0 && priority > best && (priority >= 1000 || compare(v.version, p.version) >= 0) {
			best, c.to = priority, v
		}
	}
	switch {
	case c.to != p && p.held:
		c.to, c.why = p, Held
	case c.to != p && s.phased(c):
		c.to, c.why = p, Phased
	case c.to == p && s.refused(all, p, c.arch):
		c.why = Pinned
	}
	return c
}

// refused says that a preference keeps a newer version from being the candidate. What
// an archive offers only to who asks for it is not missing, and neither is what only
// another release has.
func (s *settings) refused(all []*pkg, p *pkg, arch string) bool {
	return slices.ContainsFunc(all, func(v *pkg) bool {
		if compare(v.version, p.version) <= 0 || slices.ContainsFunc(v.lists, s.elsewhere) {
			return false
		}
		_, pinned := s.priority(v, arch)
		return pinned || s.chosen(all, arch)
	})
}

// chosen says that a preference is for this package in particular.
func (s *settings) chosen(all []*pkg, arch string) bool {
	return slices.ContainsFunc(s.pins, func(p pin) bool {
		return slices.ContainsFunc(all, func(v *pkg) bool { return p.packages != nil && p.means(v, arch, s.have.native) && p.covers(v) })
	})
}

// choices finds the candidates of all packages that are installed.
func (o *offer) choices(s *settings, lists []*list) []*choice {
	s.prioritise(lists)
	all := make([]*choice, 0, len(o.have.packages))
	for _, p := range o.have.packages {
		all = append(all, s.choose(p, o.versions[o.have.key(p)]))
	}
	return all
}

// pending says what of the installed packages is out of date.
func (s *settings) pending(choices []*choice, lists []*list) []Update {
	highest := 0
	for _, l := range lists {
		highest = max(highest, l.priority)
	}
	var pending []Update
	for _, c := range choices {
		u := Update{
			Name: c.name, Arch: c.pkg.arch, Source: c.source,
			Installed: c.version, Candidate: c.to.version, Why: c.why,
		}
		u.judge(c, s, highest)
		if c.to != c.pkg {
			u.Archive = c.to.archive()
		} else if u.Security && u.Why == NotHeld {
			u.Why = Pinned
		}
		if u.Security || c.to != c.pkg && compare(c.to.version, c.version) != 0 || u.Why != NotHeld {
			pending = append(pending, u)
		}
	}
	slices.SortFunc(pending, func(a, b Update) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch))
	})
	return pending
}

// judge says whether a package is older than a version in an archive of security
// updates.
func (u *Update) judge(c *choice, s *settings, highest int) {
	for _, v := range c.offered { // the newest first
		if compare(v.version, c.version) <= 0 {
			return
		}
		if slices.ContainsFunc(v.lists, func(l *list) bool { return l.release.security() && !s.foreign(l, highest) }) {
			u.Security, u.Fixed = true, v.version
			return
		}
	}
}

// foreign says that a list is of another release, and not what packages come from:
// whoever has the next release in reach misses nothing of it.
func (s *settings) foreign(l *list, highest int) bool {
	return s.elsewhere(l) && l.priority < highest
}

// elsewhere says that a list is of another release than the host, of whose own there
// are lists of the same origin as well.
func (s *settings) elsewhere(l *list) bool {
	return l.release != nil && l.release.codename != "" && !s.own(l) && s.origins[l.release.origin]
}

// own says that a list is of the release that this host is.
func (s *settings) own(l *list) bool {
	return l.release != nil && slices.ContainsFunc(s.codenames, func(c string) bool {
		return l.release.codename == c || strings.HasPrefix(l.release.codename, c+"-") || strings.HasPrefix(l.release.codename, c+"/")
	})
}

// archive is where a version comes from, from the list of the highest priority.
func (p *pkg) archive() string {
	var from *list
	for _, l := range p.lists {
		if !l.status && (from == nil || l.priority > from.priority) {
			from = l
		}
	}
	switch {
	case from == nil:
		return ""
	case from.release.name() != "":
		return from.release.name()
	}
	return from.name
}
