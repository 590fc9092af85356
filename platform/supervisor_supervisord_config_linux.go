package platform

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// supervisordConfig is what is used of supervisord's settings.
type supervisordConfig struct {
	socket, user, password string
	sections               []iniSection
}

// iniSection is one section of an INI file.
type iniSection struct {
	path  string
	owner uint32
	iniText
}

// iniText is the same, as its text alone tells it. The last of several settings
// of one name counts.
type iniText struct {
	name   string
	values map[string]string
}

// parseINI reads settings as Python's ConfigParser does, with comments that
// supervisord allows.
func parseINI(text string) []iniText {
	var all []iniText
	last := ""
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "", strings.HasPrefix(trimmed, ";"), strings.HasPrefix(trimmed, "#"):
			continue
		case line[0] == ' ' || line[0] == '\t':
			if len(all) > 0 && last != "" {
				all[len(all)-1].values[last] += "\n" + withoutComment(trimmed)
			}
			continue
		}
		if name, ok := iniHeader(line); ok {
			all, last = append(all, iniText{name, map[string]string{}}), ""
			continue
		}
		if key, value, ok := iniSetting(line); ok && len(all) > 0 {
			all[len(all)-1].values[key], last = value, key
		}
	}
	return all
}

func iniHeader(line string) (string, bool) {
	if !strings.HasPrefix(line, "[") {
		return "", false
	}
	name, _, ok := strings.Cut(line[1:], "]")
	return name, ok
}

func iniSetting(line string) (key, value string, ok bool) {
	i := strings.IndexAny(line, "=:")
	if i < 0 {
		return "", "", false
	}
	return strings.ToLower(strings.TrimSpace(line[:i])), withoutComment(strings.TrimSpace(line[i+1:])), true
}

// withoutComment drops a comment behind a value. It begins after a space.
func withoutComment(value string) string {
	for i := 1; i < len(value); i++ {
		if (value[i] == ';' || value[i] == '#') && (value[i-1] == ' ' || value[i-1] == '\t') {
			return strings.TrimSpace(value[:i])
		}
	}
	return value
}

// noAutostart sets autostart=false in a section.
func noAutostart(text, section string, m mark) (string, error) {
	var out strings.Builder
	inside, found, open := false, 0, false
	for line := range strings.Lines(text) {
		if trimmed := strings.TrimSpace(line); trimmed != "" && trimmed[0] != ';' && trimmed[0] != '#' {
			if open && (line[0] == ' ' || line[0] == '\t') { // it would go on with autostart
				return "", fmt.Errorf("autostart of [%s] has more than one line: %w", section, ErrUnsupported)
			}
			open = false
		}
		if name, ok := iniHeader(line); ok {
			if inside = name == section; inside {
				found++
				out.WriteString(line)
				out.WriteString(m.added("autostart=false"))
				open = true
				continue
			}
		}
		if key, _, ok := iniSetting(line); ok && inside && key == "autostart" {
			out.WriteString(m.off(line))
			open = true
			continue
		}
		out.WriteString(line)
	}
	if found != 1 || !strings.Contains(text, "\n") {
		return "", fmt.Errorf("there are %d sections [%s]: %w", found, section, ErrUnsupported)
	}
	return out.String(), nil
}

// readSupervisord reads supervisord's settings and the files that they include.
func readSupervisord(path string) (supervisordConfig, error) {
	var c supervisordConfig
	files := []string{path}
	for i := 0; i < len(files) && i < maxEntries; i++ {
		f, err := readState(files[i], 0)
		if err != nil {
			return c, err
		}
		if f.Absent {
			return c, fmt.Errorf("find %s: %w", files[i], ErrGone)
		}
		for _, s := range parseINI(string(f.Data)) {
			c.sections = append(c.sections, iniSection{f.Path, f.UID, s})
			if s.name == "include" && i == 0 {
				files = append(files, included(path, s.values["files"])...)
			}
		}
	}
	here := func(s string) string { return strings.ReplaceAll(s, "%(here)s", filepath.Dir(path)) }
	for _, s := range c.sections {
		if s.name == "unix_http_server" {
			c.socket, c.user, c.password = here(s.values["file"]), s.values["username"], s.values["password"]
		}
	}
	if strings.HasPrefix(c.password, "{SHA}") {
		return c, fmt.Errorf("%s keeps the password of supervisord's socket to itself: %w", path, ErrUnsupported)
	}
	if !filepath.IsAbs(c.socket) {
		return c, fmt.Errorf("supervisord starts it again, and cannot be asked: %s sets no socket to ask it through: %w", path, ErrUnsupported)
	}
	return c, nil
}

func included(path, patterns string) []string {
	var files []string
	for pattern := range strings.FieldsSeq(patterns) {
		pattern = strings.ReplaceAll(pattern, "%(here)s", filepath.Dir(path))
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(path), pattern)
		}
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		slices.Sort(found)
		files = append(files, found...)
	}
	return files
}

// section returns the section that a process of supervisord is started by, and
// whether all of its group are.
func (c supervisordConfig) section(p supervisordProcess) (s iniSection, whole bool, err error) {
	name, whole := p.group, true
	for _, s := range c.sections {
		if s.name == "group:"+p.group {
			name, whole = p.name, false
		}
	}
	var found []iniSection
	for _, s := range c.sections {
		if s.name == "program:"+name {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		return iniSection{}, false, fmt.Errorf("supervisord starts it again as %s:%s, and has %d settings of that name: %w", p.group, p.name, len(found), ErrUnsupported)
	}
	return found[0], whole, nil
}
