package rpm

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// repository is one that the host is to use.
type repository struct {
	id             string
	priority, cost int
	exclude        []string
	only           []string // patterns of what it may offer; nil is everything
	hotfixes       bool     // streams of modules do not matter in it
	cache          string   // the folder of its metadata, within the folder of all
}

// settings is what the host's configuration of dnf says.
type settings struct {
	repositories []repository
	exclude      []string
	only         []string
	obsoletes    bool
	caches       []string // the folders below which there are repositories' metadata
	locks        []lock
	streams      map[string]string // of modules, those that are switched on
	problems     []string
}

// readSettings reads the configuration of dnf. files is told of all that was read.
func readSettings(files *sources, all []installed) settings {
	s := settings{obsoletes: true, caches: []string{"var/cache/dnf", "var/cache/libdnf5"}}
	main := section{values: map[string]string{}}
	for _, c := range s.sections(files, "etc/dnf/dnf.conf") {
		if c.name == "main" {
			main = c
		}
	}
	s.exclude = main.list("exclude", "excludepkgs")
	s.only = main.list("includepkgs")
	s.obsoletes = main.yes("obsoletes", true)
	if dir := main.first("cachedir"); dir != "" {
		s.caches = []string{dir}
	}
	vars := s.variables(files, main, all)
	dirs := main.list("reposdir")
	if len(dirs) == 0 {
		dirs = []string{"etc/yum.repos.d", "etc/yum/repos.d", "etc/distro.repos.d", "usr/share/dnf5/repos.d"}
	}
	for _, dir := range dirs {
		for _, name := range files.list(dir) {
			if !strings.HasSuffix(name, ".repo") {
				continue
			}
			for _, c := range s.sections(files, filepath.Join(dir, name)) {
				if c.name != "main" && c.yes("enabled", main.yes("enabled", true)) {
					s.repositories = append(s.repositories, newRepository(c, vars))
				}
			}
		}
	}
	s.readLocks(files)
	s.readStreams(files)
	return s
}

// readStreams reads which streams of modules are switched on; "" is a module that is
// switched off.
func (s *settings) readStreams(files *sources) {
	s.streams = map[string]string{}
	const dir = "etc/dnf/modules.d"
	for _, name := range files.list(dir) {
		for _, c := range s.sections(files, filepath.Join(dir, name)) {
			switch c.values["state"] {
			case "enabled":
				s.streams[c.name] = c.values["stream"]
			case "disabled":
				s.streams[c.name] = ""
			}
		}
	}
}

func (s *settings) sections(files *sources, path string) []section {
	f, err := files.open(path)
	if err != nil {
		if !os.IsNotExist(err) {
			s.problems = append(s.problems, err.Error())
		}
		return nil
	}
	defer f.Close()
	all, err := parseConfig(f)
	if err != nil {
		s.problems = append(s.problems, fmt.Sprintf("%s cannot be read: %v", path, err))
	}
	return all
}

// variables are what the configuration may name: those that dnf finds out, and those
// that have a file.
func (s *settings) variables(files *sources, main section, all []installed) map[string]string {
	vars := map[string]string{"basearch": baseArch(all), "arch": baseArch(all)}
	for _, p := range all {
		if p.releasever != "" {
			vars["releasever"] = p.releasever
		}
	}
	major, minor, _ := strings.Cut(vars["releasever"], ".")
	vars["releasever_major"], vars["releasever_minor"] = major, minor
	dirs := main.list("varsdir")
	if len(dirs) == 0 {
		dirs = []string{"etc/yum/vars", "etc/dnf/vars"}
	}
	for _, dir := range dirs {
		for _, name := range files.list(dir) {
			b, err := files.read(filepath.Join(dir, name))
			if err != nil {
				s.problems = append(s.problems, err.Error())
				continue
			}
			line, _, _ := strings.Cut(string(b), "\n")
			vars[name] = strings.TrimSpace(line)
		}
	}
	return vars
}

func newRepository(c section, vars map[string]string) repository {
	for k, v := range c.values {
		c.values[k] = expand(v, vars)
	}
	r := repository{
		id:       expand(c.name, vars),
		priority: number(c.values["priority"], 99),
		cost:     number(c.values["cost"], 1000),
		exclude:  c.list("exclude", "excludepkgs"),
		only:     c.list("includepkgs"),
		hotfixes: c.yes("module_hotfixes", false),
	}
	// dnf names the folder by where the repository comes from, so that metadata of
	// another release is not taken for this one's.
	from := c.first("metalink", "mirrorlist")
	if urls := c.list("baseurl"); from == "" && len(urls) > 0 {
		from = urls[0]
	}
	sum := sha256.Sum256([]byte(cmp.Or(from, r.id)))
	r.cache = fmt.Sprintf("%s-%x", r.id, sum[:8])
	return r
}

func number(s string, unsaid int) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return unsaid
}

// lock is a line of the list of locked versions.
type lock struct {
	pattern string
	not     bool // the versions that match are the ones not to be had
}

func (s *settings) readLocks(files *sources) {
	path, on := "etc/dnf/plugins/versionlock.list", false
	for _, c := range s.sections(files, "etc/dnf/plugins/versionlock.conf") {
		on = on || c.yes("enabled", false)
		path = cmp.Or(c.values["locklist"], path)
	}
	if on {
		b, err := files.read(path)
		if err != nil && !os.IsNotExist(err) {
			s.problems = append(s.problems, err.Error())
		}
		s.locks = parseLocks(string(b))
	}
	if b, err := files.read("etc/dnf/versionlock.toml"); err == nil && strings.Contains(string(b), "[[packages]]") {
		s.problems = append(s.problems, "versions are locked in /etc/dnf/versionlock.toml, which cannot be read yet")
	}
}

func parseLocks(text string) []lock {
	var all []lock
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		pattern, not := strings.CutPrefix(line, "!")
		all = append(all, lock{pattern: pattern, not: not})
	}
	return all
}

// locked says that the locks keep a version from being installed: another version
// of its name is locked, or it is one that is not to be had.
func locked(locks []lock, c candidate) bool {
	named, matches := false, false
	for _, l := range locks {
		if l.not {
			if c.matches(l.pattern) {
				return true
			}
			continue
		}
		matches = matches || c.matches(l.pattern)
		named = named || slices.ContainsFunc(lockedNames(l.pattern), func(n string) bool { return glob(n, c.name) })
	}
	return named && !matches
}

// lockedNames are the names that a pattern of a version may be about: names have
// dashes and dots in them as well.
func lockedNames(pattern string) []string {
	names := []string{pattern}
	if i := strings.LastIndexByte(pattern, '.'); i > 0 {
		names = append(names, pattern[:i])
	}
	for range 2 {
		i := strings.LastIndexByte(pattern, '-')
		if i <= 0 {
			break
		}
		pattern = pattern[:i]
		names = append(names, pattern)
	}
	return names
}
