package apt

import (
	"bytes"
	"context"
	"slices"
)

// resolver finds which updates apt would keep back, because they need something that
// cannot be had or something else would have to go. It is no solver: it takes all
// updates together, and takes away those in which something is wrong until nothing is.
type resolver struct {
	settings *settings
	choices  []*choice
	old, now *world
	// fresh are packages that are not installed and that an update asked for, by name;
	// nil as long as nobody looked in the lists.
	fresh  map[string][]*pkg
	asked  map[string]bool
	looked map[string]bool
}

// maxLooks is how often the lists are read again, because what an update asks for
// asks for more. What is then still not known is taken to be there, unless it is what
// is installed in another version.
const maxLooks = 6

// resolve keeps back what apt would. look adds to fresh what the lists have of names.
func (s *settings) resolve(choices []*choice, look func(names map[string]bool, fresh map[string][]*pkg) error) error {
	r := &resolver{settings: s, choices: choices, fresh: map[string][]*pkg{}, looked: map[string]bool{}}
	r.old = r.world(func(c *choice) *pkg { return c.pkg })
	var kept []*choice // back
	for looks := 0; ; {
		r.asked = map[string]bool{}
		wrong := r.wrong()
		if len(r.asked) > 0 && looks < maxLooks {
			if err := look(r.asked, r.fresh); err != nil {
				return err
			}
			for name := range r.asked {
				r.looked[name] = true
			}
			looks++
			continue
		}
		if len(wrong) == 0 {
			break
		}
		for _, c := range wrong {
			if c.to != c.pkg {
				c.kept, c.to, c.why = c.to, c.pkg, Unmet
				kept = append(kept, c)
			}
		}
	}
	// One may have been in the way of another that is not there any more.
	for _, c := range kept {
		if c.to, c.why = c.kept, NotHeld; len(r.wrong()) > 0 {
			c.to, c.why = c.pkg, Unmet
		}
	}
	return nil
}

func (r *resolver) world(which func(*choice) *pkg) *world {
	w := newWorld(r.settings.have.native)
	for _, c := range r.choices {
		w.add(member{which(c), c.arch, c})
	}
	return w
}

// wrong are updates that cannot be, of all those that are left.
func (r *resolver) wrong() (all []*choice) {
	r.now = r.world(func(c *choice) *pkg { return c.to })
	drop := func(c *choice) bool {
		if c != nil && c.to != c.pkg {
			all = append(all, c)
			return true
		}
		return false
	}
	for _, c := range r.choices {
		m, was := member{c.to, c.arch, c}, member{c.pkg, c.arch, c}
		if c.to != c.pkg && (r.wanting(m, map[string]bool{}) || r.alone(m)) {
			drop(c)
			continue
		}
		for _, other := range r.now.against(m) {
			if !slices.ContainsFunc(r.old.against(was), func(o member) bool { return o.choice == other.choice }) && !drop(c) {
				drop(other.choice)
			}
		}
		if c.to != c.pkg {
			continue
		}
		for _, g := range c.relations().depends {
			if r.now.meets(g, m) || !r.old.meets(g, was) {
				continue
			}
			for _, relation := range g {
				for _, met := range r.old.who(relation, was, false) {
					drop(met.choice)
				}
			}
		}
	}
	return all
}

// alone says that a package has one of another architecture beside it that must be of
// the same version, and is not.
func (r *resolver) alone(m member) bool {
	return m.multiArch == "same" && slices.ContainsFunc(r.now.packages[m.name], func(o member) bool {
		return o.multiArch == "same" && o.version != m.version
	})
}

// wanting says that a package needs what is neither there nor to be had. What it needs
// and nobody has looked for yet is asked for, and not wanting.
func (r *resolver) wanting(m member, above map[string]bool) bool {
	above[m.name] = true
	for _, g := range m.relations().depends {
		if !r.now.meets(g, m) && !r.obtainable(g, m, above) {
			return true
		}
	}
	return false
}

// obtainable says that a dependency can be met by a package that is not installed.
func (r *resolver) obtainable(g group, of member, above map[string]bool) bool {
	known := true
	for _, relation := range g {
		if !r.looked[relation.name] {
			r.asked[relation.name] = true
			known = known && r.settings.have.names[relation.name]
			continue
		}
		for _, p := range r.fresh[relation.name] {
			under := r.settings.have.key(p).arch
			m := member{p, under, nil}
			alone := newWorld(r.settings.have.native)
			alone.add(m)
			if !alone.meets(group{relation}, of) {
				continue
			}
			if !r.candidate(p, r.fresh[relation.name]) {
				continue
			}
			if above[p.name] || len(r.now.against(m)) == 0 && !r.unwelcome(m, alone) && !r.wanting(m, above) {
				return true
			}
		}
	}
	return !known
}

// candidate says that of the versions of a new package one is what apt would install:
// it takes no other for the sake of a dependency.
func (r *resolver) candidate(p *pkg, all []*pkg) bool {
	key := r.settings.have.key(p)
	priority, _ := r.settings.priority(p, key.arch)
	return priority > 0 && !slices.ContainsFunc(all, func(o *pkg) bool {
		if r.settings.have.key(o) != key {
			return false
		}
		other, _ := r.settings.priority(o, key.arch)
		return other > priority || other == priority && compare(o.version, p.version) > 0
	})
}

// unwelcome says that something installed cannot be together with a new package.
func (r *resolver) unwelcome(m member, alone *world) bool {
	return slices.ContainsFunc(r.choices, func(c *choice) bool {
		return c.name != m.name && len(alone.against(member{c.to, c.arch, c})) > 0
	})
}

// readFresh finds in the lists the packages of those names, and those that stand for
// them.
func readFresh(ctx context.Context, read *files, have *offer, lists []*list, names map[string]bool, fresh map[string][]*pkg) error {
	field := []byte("\nProvides: ")
	for _, l := range lists {
		err := eachPackage(ctx, read, l, func(name []byte, s stanza) {
			add := func(as string) {
				p := parsePackage(s)
				if _, installed := have.versions[have.have.key(p)]; !installed {
					p.lists = []*list{l}
					fresh[as] = append(fresh[as], p)
				}
			}
			if names[string(name)] {
				add(string(name))
			}
			i := bytes.Index(s, field)
			if i < 0 {
				return
			}
			line, _, _ := bytes.Cut(s[i+len(field):], []byte("\n"))
			for part := range bytes.SplitSeq(line, []byte(",")) {
				part, _, _ = bytes.Cut(part, []byte("("))
				if part = bytes.TrimSpace(part); names[string(part)] && !bytes.Equal(part, name) {
					add(string(part))
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
