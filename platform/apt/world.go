package apt

import "slices"

// world is a set of packages that are installed together.
type world struct {
	native   string
	packages map[string][]member   // by name
	provided map[string][]provider // by name
}

// member is one package of a world, under the architecture that apt has it under.
type member struct {
	*pkg
	under  string
	choice *choice // nil if it would be new
}

// provider is a package that stands for another name, and perhaps for a version of it.
type provider struct {
	member
	version string
}

func newWorld(native string) *world {
	return &world{native: native, packages: map[string][]member{}, provided: map[string][]provider{}}
}

func (w *world) add(m member) {
	w.packages[m.name] = append(w.packages[m.name], m)
	for _, g := range m.relations().provides {
		w.provided[g[0].name] = append(w.provided[g[0].name], provider{m, g[0].version})
	}
}

// who finds the packages that a relation of one means, of whatever architecture if
// the relation is a conflict.
func (w *world) who(r relation, of member, conflict bool) (all []member) {
	for _, m := range w.packages[r.name] {
		if (conflict && r.arch == "" || w.reaches(r, of, m)) && r.accepts(m.version) {
			all = append(all, m)
		}
	}
	for _, p := range w.provided[r.name] {
		if (conflict && r.arch == "" || w.reaches(r, of, p.member)) && (r.operator == "" || p.version != "" && r.accepts(p.version)) {
			all = append(all, p.member)
		}
	}
	return all
}

// reaches says that the architecture of a package is one that a dependency of another
// may be met by.
func (w *world) reaches(r relation, of, m member) bool {
	switch r.arch {
	case "":
		return of.under == m.under || m.multiArch == "foreign"
	case "any":
		return of.under == m.under || m.multiArch == "allowed" || m.multiArch == "foreign"
	case "native":
		return m.under == w.native
	}
	return m.under == r.arch
}

// meets says that a dependency of a package is met.
func (w *world) meets(g group, of member) bool {
	return slices.ContainsFunc(g, func(r relation) bool { return len(w.who(r, of, false)) > 0 })
}

// against are the packages that one cannot be together with.
func (w *world) against(of member) (all []member) {
	for _, g := range of.relations().conflicts {
		for _, r := range g {
			for _, m := range w.who(r, of, true) {
				if m.name != of.name {
					all = append(all, m)
				}
			}
		}
	}
	return all
}

// relations are the fields of a package that name others, taken apart.
type relations struct{ depends, conflicts, provides []group }

func (p *pkg) relations() *relations {
	if p.parsed == nil {
		p.parsed = &relations{parseGroups(p.depends), parseGroups(p.conflicts), parseGroups(p.provides)}
	}
	return p.parsed
}
