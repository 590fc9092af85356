package apt

import (
	"cmp"
	"slices"
	"strings"
)

// statusList stands for the database of dpkg, which apt has among its lists.
var statusList = &list{release: &release{suite: "now"}, priority: 100}

// prioritise gives each list the priority that all packages in it have.
func (s *settings) prioritise(lists []*list) {
	all := s.pins
	if r := s.config.value("apt::default-release"); r != "" {
		all = append([]pin{{kind: "release", data: r, priority: 990}}, all...)
	}
	for _, l := range lists {
		l.priority = 500
		if r := l.release; r != nil && r.notAutomatic {
			l.priority = 1
			if r.butUpgrades {
				l.priority = 100
			}
		}
		for _, p := range all {
			if p.packages == nil && p.coversList(l) {
				l.priority, l.pinned = p.priority, true
				break
			}
		}
	}
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
	why     Hold
}

// choose finds the candidate of a package: the version of the highest priority, the
// newest among equals, and an older one than the installed only from 1000 on.
func (s *settings) choose(p *pkg, offered []*pkg) *choice {
	c := &choice{pkg: p, arch: s.have.key(p).arch, offered: offered, to: p}
	slices.SortStableFunc(offered, func(a, b *pkg) int { return compare(b.version, a.version) })
	p.lists = []*list{statusList}
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
		priority, pinned := s.priority(v, c.arch)
		newer := compare(v.version, p.version)
		if priority != 0 && priority > best && (newer >= 0 || priority >= 1000) {
			best, c.to = priority, v
			continue
		}
		// What an archive offers only to who asks for it is not missing.
		if newer > 0 && pinned {
			c.why = Pinned
		}
	}
	switch {
	case c.to != p && p.held:
		c.to, c.why = p, Held
	case c.to != p && s.phased(c):
		c.to, c.why = p, Phased
	case c.to != p:
		c.why = NotHeld
	}
	return c
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

// foreign says that a list is of another release than the host, and not what its
// packages come from: whoever has the next one in reach misses nothing of it.
func (s *settings) foreign(l *list, highest int) bool {
	of, ok := strings.CutSuffix(l.release.codename, "-security")
	return ok && len(s.codenames) > 0 && !slices.Contains(s.codenames, of) && l.priority < highest
}

// archive is where a version comes from, from the list of the highest priority.
func (p *pkg) archive() string {
	var from *list
	for _, l := range p.lists {
		if l != statusList && (from == nil || l.priority > from.priority) {
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
