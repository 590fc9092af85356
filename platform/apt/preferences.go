package apt

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// pin is one preference: which versions it means, and the priority they have.
type pin struct {
	packages []string // names and patterns; none for all packages
	kind     string   // version | release | origin
	data     string
	priority int
}

// never is the priority of what may not be used whatever else says.
const never = -1 << 15

// readPreferences reads the preferences as apt does: the file and then the folder.
func readPreferences(read *files) (pins []pin, problems []string) {
	const dir = "/etc/apt/preferences.d"
	paths := []string{"/etc/apt/preferences"}
	names, err := read.list(dir)
	if err != nil {
		problems = append(problems, "the folder of preferences: "+err.Error())
	}
	for _, name := range names {
		if partName(name, "pref", true) {
			paths = append(paths, dir+"/"+name)
		}
	}
	for _, path := range paths {
		b, err := read.readPresent(path)
		if err == nil {
			var found []pin
			found, err = parsePreferences(string(b))
			pins = append(pins, found...)
		}
		if err != nil {
			problems = append(problems, fmt.Sprintf("preferences in %s: %v", path, err))
		}
	}
	return pins, problems
}

// parsePreferences reads one file. What apt passes over is passed over.
func parsePreferences(text string) (pins []pin, err error) {
	for _, s := range paragraphs(text) {
		var name, data, priority string
		s.fields(func(field, value []byte) {
			switch {
			case named(field, "package"):
				name = string(value)
			case named(field, "pin"):
				data = string(value)
			case named(field, "pin-priority"):
				priority = string(value)
			}
		})
		if name == "" {
			return pins, fmt.Errorf("an entry names no package")
		}
		if data == "" {
			continue
		}
		p := pin{packages: strings.Fields(name)}
		if name == "*" {
			p.packages = nil
		}
		p.kind, p.data, _ = strings.Cut(data, " ")
		p.kind, p.data = strings.ToLower(p.kind), strings.TrimSpace(p.data)
		switch {
		case p.kind == "release", p.kind == "origin":
		case p.kind == "version" && p.packages != nil:
		default:
			continue
		}
		if p.priority, err = strconv.Atoi(priority); priority == "never" && p.packages == nil {
			p.priority, err = never, nil
		}
		if err != nil || p.priority == 0 {
			return pins, fmt.Errorf("the priority %q is none", priority)
		}
		pins = append(pins, p)
	}
	return pins, nil
}

// means says that a pin is for a package, by its name or that of its source.
func (p pin) means(v *pkg, arch, native string) bool {
	for _, pattern := range p.packages {
		name := v.name
		if source, ok := strings.CutPrefix(pattern, "src:"); ok {
			pattern, name = source, v.source
		}
		of := ""
		if i := strings.LastIndexByte(pattern, ':'); i >= 0 && !strings.HasSuffix(pattern, "/") {
			pattern, of = pattern[:i], pattern[i+1:]
		}
		if of == "" || of == "native" {
			of = native
		}
		if (of == arch || of == "any") && matches(pattern, name) {
			return true
		}
	}
	return false
}

// covers says that a pin is for a version, or for one of the lists it is in.
func (p pin) covers(v *pkg) bool {
	if p.kind == "version" {
		if prefix, ok := strings.CutSuffix(p.data, "*"); ok && hasPrefixFold(v.version, prefix) {
			return true
		}
		return strings.EqualFold(v.version, p.data) || matches(p.data, v.version)
	}
	for _, l := range v.lists {
		if p.coversList(l) {
			return true
		}
	}
	return false
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// coversList says that a pin is for all that is in a list.
func (p pin) coversList(l *list) bool {
	r := l.release
	if r == nil {
		r = &release{}
	}
	if p.kind == "origin" {
		want := p.data
		if len(want) > 1 && want[0] == '"' && want[len(want)-1] == '"' {
			want = want[1 : len(want)-1]
		}
		if want == "" {
			return l.site == "" && !l.status
		}
		return l.site != "" && matches(want, l.site)
	}
	switch {
	case p.data == "*":
		return true
	case p.data == "":
		return false
	case !strings.Contains(p.data, "="):
		if digit(p.data[0]) {
			return r.version != "" && matchesVersion(p.data, r.version)
		}
		return r.suite != "" && matches(p.data, r.suite) || r.codename != "" && matches(p.data, r.codename)
	}
	any := false
	for _, part := range strings.Split(p.data, ",") {
		part = strings.TrimSpace(part)
		if len(part) < 3 {
			continue
		}
		want, is := part[2:], ""
		switch strings.ToLower(part[:2]) {
		case "v=":
			if r.version == "" || !matchesVersion(want, r.version) {
				return false
			}
			any = true
			continue
		case "o=":
			is = r.origin
		case "a=":
			is = r.suite
		case "n=":
			is = r.codename
		case "l=":
			is = r.label
		case "c=":
			is = l.component
		case "b=":
			is = l.arch
		default:
			continue
		}
		if any = true; is == "" || !matches(want, is) {
			return false
		}
	}
	return any
}

func matchesVersion(pattern, version string) bool {
	prefix, ok := strings.CutSuffix(pattern, "*")
	return ok && hasPrefixFold(version, prefix) || strings.EqualFold(pattern, version) || matches(pattern, version)
}

// matches holds a name against a pattern of apt: one of the shell, or between slashes
// a regular expression. Upper and lower case are alike.
func matches(pattern, name string) bool {
	if len(pattern) > 1 && pattern[0] == '/' && pattern[len(pattern)-1] == '/' {
		re, err := regexp.Compile("(?i)" + pattern[1:len(pattern)-1])
		return err == nil && re.MatchString(name)
	}
	if !strings.ContainsAny(pattern, `*?[\`) {
		return strings.EqualFold(pattern, name)
	}
	// No slash is special here, and path.Match has no other way.
	plain := strings.NewReplacer("/", "\x00", "[!", "[^")
	ok, err := path.Match(strings.ToLower(plain.Replace(pattern)), strings.ToLower(plain.Replace(name)))
	return err == nil && ok
}
