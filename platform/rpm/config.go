package rpm

import (
	"bufio"
	"io"
	"slices"
	"strings"
)

// section is a part of a configuration file of dnf.
type section struct {
	name   string
	values map[string]string
}

// parseConfig reads a configuration file of dnf. What is not understood is passed
// over, as dnf does.
func parseConfig(r io.Reader) ([]section, error) {
	var all []section
	key := ""
	lines := bufio.NewScanner(io.LimitReader(r, 4<<20))
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), " \t\r")
		text := strings.TrimLeft(line, " \t")
		switch {
		case text == "", line[0] == '#', line[0] == ';':
			key = ""
		case line[0] == '[':
			name, _, _ := strings.Cut(line[1:], "]")
			all = append(all, section{name: name, values: map[string]string{}})
			key = ""
		case len(all) == 0:
		case len(text) < len(line): // it continues the line before
			if v := all[len(all)-1].values; key != "" {
				v[key] += "\n" + text
			}
		default:
			before, after, ok := strings.Cut(text, "=")
			if key = strings.TrimSpace(before); ok && key != "" {
				all[len(all)-1].values[key] = strings.TrimSpace(after)
			}
		}
	}
	return all, lines.Err()
}

// first is the first of those keys that has a value.
func (s section) first(keys ...string) string {
	for _, k := range keys {
		if v := s.values[k]; v != "" {
			return v
		}
	}
	return ""
}

// list is the values of a key of several names, which are separated by commas or
// white space.
func (s section) list(keys ...string) []string {
	var all []string
	for _, k := range keys {
		all = append(all, strings.FieldsFunc(s.values[k], func(r rune) bool {
			return r == ',' || r == ' ' || r == '\t' || r == '\n'
		})...)
	}
	return all
}

// yes is a key as a truth, or what it is when it is not said.
func (s section) yes(key string, unsaid bool) bool {
	switch strings.ToLower(s.values[key]) {
	case "1", "yes", "true", "on", "enabled":
		return true
	case "0", "no", "false", "off", "disabled":
		return false
	}
	return unsaid
}

// expand puts the values of variables in the place of "$name" and "${name}".
func expand(s string, vars map[string]string) string {
	names := make([]string, 0, len(vars))
	for n := range vars {
		names = append(names, n)
	}
	// The longest first: "$releasever_major" begins with another variable.
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	for _, n := range names {
		s = strings.ReplaceAll(s, "${"+n+"}", vars[n])
		s = strings.ReplaceAll(s, "$"+n, vars[n])
	}
	return s
}
