package apt

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// source is one place that apt is told to fetch lists of packages from.
type source struct {
	uri, suite    string
	components    []string // none for a flat archive
	architectures []string // nil for all that the host has
	add, remove   []string // architectures
}

// disc begins the address of what the host may have been installed from. It has
// nothing newer, and its lists are gone with it.
const disc = "cdrom:"

// readPresent reads a small file, which may be missing.
func (f *files) readPresent(path string) ([]byte, error) {
	b, err := f.read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// readSources reads what is configured, in apt's order.
func readSources(read *files) (all []source, problems []string) {
	const dir = "/etc/apt/sources.list.d"
	names, err := read.list(dir)
	if err != nil {
		problems = append(problems, "the folder of sources: "+err.Error())
	}
	paths := []string{"/etc/apt/sources.list"}
	for _, name := range names {
		if partName(name, "list", false) || partName(name, "sources", false) {
			paths = append(paths, dir+"/"+name)
		}
	}
	for _, path := range paths {
		b, err := read.readPresent(path)
		if err != nil {
			problems = append(problems, fmt.Sprintf("sources in %s: %v", path, err))
			continue
		}
		parse := parseLines
		if strings.HasSuffix(path, ".sources") {
			parse = parseParagraphs
		}
		found, err := parse(string(b))
		if err != nil {
			problems = append(problems, fmt.Sprintf("sources in %s: %v", path, err))
		}
		all = append(all, found...)
	}
	return all, problems
}

// parseLines reads sources, one a line: "deb [arch=amd64] http://host/debian suite main".
func parseLines(text string) (all []source, err error) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		kind, rest, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		if kind != "deb" {
			if kind != "" && kind != "deb-src" {
				err = fmt.Errorf("%q is no source", line)
			}
			continue
		}
		s := source{}
		rest = strings.TrimSpace(rest)
		if options, after, ok := strings.Cut(rest, "]"); ok && strings.HasPrefix(rest, "[") {
			s.options(options[1:])
			rest = after
		}
		words := strings.Fields(rest)
		if strings.HasPrefix(strings.TrimSpace(rest), disc) {
			continue
		}
		if len(words) < 2 || len(words) == 2 && !strings.HasSuffix(words[1], "/") {
			err = fmt.Errorf("%q is no source", line)
			continue
		}
		s.uri, s.suite, s.components = words[0], words[1], words[2:]
		all = append(all, s)
	}
	return all, err
}

// options reads what is in brackets.
func (s *source) options(text string) {
	for _, option := range strings.Fields(text) {
		name, value, _ := strings.Cut(option, "=")
		values := strings.Split(value, ",")
		switch name {
		case "arch":
			s.architectures = values
		case "arch+":
			s.add = append(s.add, values...)
		case "arch-":
			s.remove = append(s.remove, values...)
		}
	}
}

// parseParagraphs reads sources in paragraphs of fields.
func parseParagraphs(text string) (all []source, err error) {
	for _, s := range paragraphs(text) {
		field := map[string]string{}
		s.fields(func(name, value []byte) {
			field[strings.ToLower(string(name))] = strings.TrimSpace(string(value))
		})
		words := func(name string) []string { return strings.Fields(strings.ReplaceAll(field[name], ",", " ")) }
		if !yes(field["enabled"], true) || !slices.Contains(words("types"), "deb") {
			continue
		}
		uris, suites, components := strings.Fields(field["uris"]), strings.Fields(field["suites"]), strings.Fields(field["components"])
		if len(uris) == 0 || len(suites) == 0 {
			err = errors.New("a source has no URIs or no suites")
			continue
		}
		for _, uri := range uris {
			if strings.HasPrefix(uri, disc) {
				continue
			}
			for _, suite := range suites {
				flat := strings.HasSuffix(suite, "/")
				if flat == (len(components) > 0) {
					err = fmt.Errorf("source %s has the wrong components for suite %s", uri, suite)
					continue
				}
				one := source{uri: uri, suite: suite, components: components, add: words("architectures-add"), remove: words("architectures-remove")}
				if a := words("architectures"); len(a) > 0 {
					one.architectures = a
				}
				all = append(all, one)
			}
		}
	}
	return all, err
}

// paragraphs takes apart what a person wrote, with comments. A line of nothing but
// blanks goes on with the field above, as it does for apt.
func paragraphs(text string) (all []stanza) {
	var one []byte
	end := func() {
		if len(one) > 0 {
			all, one = append(all, one), nil
		}
	}
	for line := range strings.Lines(text) {
		switch {
		case strings.TrimRight(line, "\r\n") == "":
			end()
		case line[0] != '#':
			one = append(append(one, strings.TrimRight(line, "\r\n")...), '\n')
		}
	}
	end()
	return all
}

// wanted are the architectures that a source is asked for, of those the host has.
func (s source) wanted(native string, foreign []string) []string {
	all := s.architectures
	if all == nil {
		all = append([]string{native}, foreign...)
	}
	all = append(slices.Clone(all), s.add...)
	return slices.DeleteFunc(all, func(a string) bool { return slices.Contains(s.remove, a) })
}

// base is the address below which the lists of a source are.
func (s source) base(native string) string {
	uri := strings.TrimSuffix(s.uri, "/") + "/"
	suite := strings.ReplaceAll(s.suite, "$(ARCH)", native)
	switch {
	case suite == "/":
		return uri
	case strings.HasSuffix(suite, "/"):
		return uri + suite
	}
	return uri + "dists/" + suite + "/"
}

// fileName is the name that apt gives to what it fetched from an address: without the
// scheme and without who asks.
func fileName(uri string) string {
	if scheme, rest, ok := strings.Cut(uri, ":"); ok && !strings.Contains(scheme, "/") {
		uri = rest
	}
	if rest, ok := strings.CutPrefix(uri, "//"); ok {
		host, path, _ := strings.Cut(rest, "/")
		uri = host[strings.LastIndexByte(host, '@')+1:] + "/" + path
	}
	var name strings.Builder
	for i := range len(uri) {
		switch c := uri[i]; {
		case c == '/':
			name.WriteByte('_')
		case c <= ' ' || c >= 0x7f || strings.IndexByte("\\|{}[]<>\"^~_=!@#$%^&*", c) >= 0:
			fmt.Fprintf(&name, "%%%02x", c)
		default:
			name.WriteByte(c)
		}
	}
	return name.String()
}

// site is the computer of an address, as apt_preferences names it: "" for a file.
func site(uri string) string {
	_, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return ""
	}
	host, _, _ := strings.Cut(rest, "/")
	host = host[strings.LastIndexByte(host, '@')+1:]
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return host
}
