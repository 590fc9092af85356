package apt

import "strings"

// relation is a name in a dependency or a conflict, and versions of it.
type relation struct {
	name, arch string
	operator   string // << | <= | = | >= | >>, "" is any version
	version    string
}

// group is a dependency: any of several relations will do.
type group []relation

// parseGroups reads the value of a field of relations.
func parseGroups(text string) []group {
	if text == "" {
		return nil
	}
	all := make([]group, 0, strings.Count(text, ",")+1)
	for part := range strings.SplitSeq(text, ",") {
		var g group
		for one := range strings.SplitSeq(part, "|") {
			if r := parseRelation(one); r.name != "" {
				g = append(g, r)
			}
		}
		if len(g) > 0 {
			all = append(all, g)
		}
	}
	return all
}

func parseRelation(text string) (r relation) {
	text, version, ok := strings.Cut(text, "(")
	if ok {
		version, _, _ = strings.Cut(version, ")")
		version = strings.TrimSpace(version)
		n := 0
		for n < len(version) && strings.IndexByte("<>=", version[n]) >= 0 {
			n++
		}
		r.operator, r.version = version[:n], strings.TrimSpace(version[n:])
		switch r.operator {
		case "<", ">": // as once was written, and means the same as with "="
			r.operator += "="
		case "":
			r.operator = "="
		}
	}
	text = strings.TrimSpace(text)
	if i := strings.IndexAny(text, " \t[<"); i >= 0 {
		text = text[:i]
	}
	r.name, r.arch, _ = strings.Cut(text, ":")
	return r
}

// accepts says that a version is one of those meant.
func (r relation) accepts(version string) bool {
	if r.operator == "" {
		return true
	}
	c := compare(version, r.version)
	switch r.operator {
	case "<<":
		return c < 0
	case "<=":
		return c <= 0
	case "=":
		return c == 0
	case ">=":
		return c >= 0
	}
	return c > 0
}
