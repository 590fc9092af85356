package apt

import (
	"bytes"
	"context"
	"strings"
)

// statusFile is dpkg's own record of what is installed.
const statusFile = "/var/lib/dpkg/status"

// pkg is one version of a package: an installed one, or one that is offered.
type pkg struct {
	name    string
	arch    string // as it says: may be "all"
	version string
	// source and sourceVersion are what it was built from.
	source, sourceVersion string
	depends               string // Pre-Depends and Depends
	conflicts             string // Conflicts and Breaks
	provides              string
	multiArch             string
	phased                int  // percent of hosts that get it; 100 for all
	held                  bool // by a person
	lists                 []*list
	parsed                *relations // nil as long as nobody asked
}

// key is what apt holds for the same package: one that is for all architectures is
// one of the host's own.
type key struct{ name, arch string }

// installed is what dpkg has on a host.
type installed struct {
	native   string // architecture
	foreign  []string
	packages []*pkg
	names    map[string]bool
	problems []string
}

func (h *installed) key(p *pkg) key {
	if p.arch == "all" {
		return key{p.name, h.native}
	}
	return key{p.name, p.arch}
}

// readInstalled reads the database of dpkg.
func readInstalled(read *files) (*installed, error) {
	in, err := read.open(statusFile)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	h := &installed{names: map[string]bool{}}
	damaged := 0
	err = stanzas(context.Background(), in, func(s stanza) {
		p, state := parseStatus(s)
		switch {
		case p.name == "" || state == "":
			damaged++
		case state == "not-installed" || state == "config-files":
		case p.version == "" || p.arch == "":
			damaged++
		default:
			h.packages = append(h.packages, p)
			h.names[p.name] = true
		}
	})
	if err != nil {
		return nil, err
	}
	if damaged > 0 {
		h.problems = append(h.problems, "the database of dpkg has entries that cannot be read")
	}
	if names, _ := read.list("/var/lib/dpkg/updates"); len(names) > 0 && digit(names[0][0]) {
		h.problems = append(h.problems, "dpkg is at work or was broken off, so that its database is not up to date")
	}
	h.readArchitectures(read)
	return h, nil
}

// readArchitectures finds the architectures that packages may have: that of dpkg
// itself, and those that were added.
func (h *installed) readArchitectures(read *files) {
	for _, p := range h.packages {
		if p.name == "dpkg" || h.native == "" && p.name == "libc6" {
			h.native = p.arch
		}
	}
	b, _ := read.read("/var/lib/dpkg/arch")
	for _, a := range strings.Fields(string(b)) {
		if h.native == "" {
			h.native = a
		}
		if a != h.native {
			h.foreign = append(h.foreign, a)
		}
	}
	for _, p := range h.packages {
		if h.native == "" && p.arch != "all" {
			h.native = p.arch
		}
	}
}

// parseStatus reads one entry of the database: the package, and how far it is
// installed. What is wanted of it is only asked for a hold.
func parseStatus(s stanza) (*pkg, string) {
	p, state := parsePackage(s), ""
	s.fields(func(name, value []byte) {
		if named(name, "status") {
			if words := bytes.Fields(value); len(words) == 3 {
				p.held = string(words[0]) == "hold"
				state = string(words[2])
			}
		}
	})
	return p, state
}

// parsePackage reads what dpkg and the lists of apt say alike.
func parsePackage(s stanza) *pkg {
	p := &pkg{phased: 100}
	join := func(to *string, value []byte) {
		if *to != "" {
			*to += ", "
		}
		*to += string(value)
	}
	s.fields(func(name, value []byte) {
		switch {
		case named(name, "package"):
			p.name = string(value)
		case named(name, "architecture"):
			p.arch = string(value)
		case named(name, "version"):
			p.version = string(value)
		case named(name, "source"):
			p.source = string(value)
		case named(name, "depends"), named(name, "pre-depends"):
			join(&p.depends, value)
		case named(name, "conflicts"), named(name, "breaks"):
			join(&p.conflicts, value)
		case named(name, "provides"):
			p.provides = string(value)
		case named(name, "multi-arch"):
			p.multiArch = string(value)
		case named(name, "phased-update-percentage"):
			p.phased = percent(value)
		}
	})
	name, version, ok := strings.Cut(p.source, " (")
	p.sourceVersion = strings.TrimSuffix(version, ")")
	p.source = name
	if !ok {
		p.sourceVersion = p.version
	}
	if name == "" {
		p.source = p.name
	}
	return p
}

// percent is a number of at most 100, which is also what a field without sense means.
func percent(b []byte) int {
	n := 0
	for _, c := range b {
		if !digit(c) || n > 100 {
			return 100
		}
		n = n*10 + int(c-'0')
	}
	return min(n, 100)
}
