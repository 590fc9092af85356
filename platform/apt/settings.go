package apt

import (
	"path"
	"strings"
)

// settings are what a person has told apt.
type settings struct {
	have      *installed
	config    config
	sources   []source
	pins      []pin
	machineID string
	codenames []string        // of the release that this host is, and of what that is made of
	origins   map[string]bool // of the lists of that release
	status    *list           // stands for the database of dpkg, which apt has among its lists
	problems  []string
}

func readSettings(read *files, have *installed) *settings {
	s := &settings{have: have}
	var problems []string
	s.config, s.problems = readConfig(read)
	s.sources, problems = readSources(read)
	s.problems = append(s.problems, problems...)
	s.pins, problems = readPreferences(read)
	s.problems = append(s.problems, problems...)
	if s.machineID = s.config.value("apt::machine-id"); s.machineID == "" {
		b, _ := read.read("/etc/machine-id")
		s.machineID = strings.TrimSpace(string(b))
	}
	b, _ := read.read("/etc/os-release")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.HasSuffix(name, "_CODENAME") {
			s.codenames = append(s.codenames, strings.Trim(value, `"'`))
		}
	}
	return s
}

// folder is where apt keeps the lists it fetched.
func (s *settings) folder() string {
	if p := s.config.value("dir::state::lists"); path.IsAbs(p) {
		return path.Clean(p)
	}
	return "/var/lib/apt/lists"
}
