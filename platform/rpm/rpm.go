// Package rpm reads what is installed, and what of it is out of date, on hosts whose
// packages are rpm's: Fedora, RHEL, Rocky, Alma. It reads the database of rpm and the
// metadata that dnf has fetched, as files: nothing is run, nothing is locked, and no
// privilege is needed.
package rpm

import (
	"context"
	"path/filepath"
	"time"
)

// State is what is known about the packages of a host.
type State struct {
	Installed int // packages
	// ListsAsOf is when the host last fetched, or last compared with the server,
	// what is offered: the oldest of the repositories in use. It is the time of the
	// file with the packages, which dnf sets to that of the host itself. Zero if
	// there is none.
	ListsAsOf time.Time
	// Pending is every installed package for which there is a newer version, by name
	// and architecture.
	Pending []Update
	// Problems are why something is not known, a sentence each. With any of them,
	// what is not in Pending may still be out of date.
	Problems []string
}

// Update is an installed package that has a newer version.
type Update struct {
	Name, Arch, Source string
	Installed          string
	// Candidate is what dnf would install now; the installed version if it would
	// install none.
	Candidate string
	// Obsoleter is the package that takes its place; "" if it keeps its name.
	Obsoleter string
	Archive   string // the repository of the candidate, by its id
	// Security says that the installed version is older than some version in an
	// advisory about security; Fixed is the newest such.
	Security bool
	Fixed    string
	Advisory []string  // of advisories that are not installed, and CVE ids
	Severity string    // the highest: low | medium | high | critical, or ""
	Issued   time.Time // of the oldest such advisory
	Why      Hold
}

// Hold is why dnf does not install a newer version.
type Hold string

// The reasons.
const (
	NotHeld Hold = ""
	Held    Hold = "held"   // by a person: a lock of the version, or an exclusion
	Pinned  Hold = "pinned" // it is in a repository of lower priority
	Unmet   Hold = "unmet"  // no repository of this host has it
)

// Reader reads the packages of one file system. It remembers its answer until a
// file changes, and is not safe for use by two goroutines at once.
type Reader struct {
	root string
	read *sources // what the answer was read from, nil if there is none
	kept State
}

// New returns a reader of the host below root, "" being this one.
func New(root string) *Reader { return &Reader{root: root} }

// Read says what is installed, and what of it is out of date. It fails with
// ErrNoDatabase where rpm has nothing installed; what else cannot be read is a
// problem in the answer.
func (r *Reader) Read(ctx context.Context) (State, error) {
	if r.read != nil && r.read.same() && r.read.settled() {
		return r.kept, nil
	}
	r.read = nil
	path, err := findDatabase(filepath.Join("/", r.root))
	if err != nil {
		return State{}, err
	}
	for range 3 { // a package may be installed during the look
		files := &sources{root: r.root, at: time.Now(), seen: map[string]mark{}}
		for _, end := range []string{"", "-wal", "-journal"} {
			files.note(path + end)
		}
		var s State
		if s, err = readAll(ctx, path, files); err != nil {
			return State{}, err
		}
		if files.same() {
			r.read, r.kept = files, s
			return s, nil
		}
	}
	return State{Problems: []string{"the files of packages change all the time, so that what they say does not go together"}}, nil
}

// readAll reads everything once.
func readAll(ctx context.Context, database string, files *sources) (State, error) {
	var s State
	all, err := readInstalled(ctx, database)
	if err != nil {
		return State{Problems: []string{err.Error()}}, ctx.Err()
	}
	s.Installed = len(all)
	set := readSettings(files, all)
	s.Problems = set.problems
	if len(set.repositories) == 0 {
		s.Problems = append(s.Problems, "no repository is switched on, so that nothing says what is missing")
	}
	o := newOffer(all)
	for i := range set.repositories {
		asOf, err := o.readRepository(ctx, files, set.caches, &set.repositories[i])
		if ctx.Err() != nil {
			return State{}, ctx.Err()
		}
		if err != nil {
			s.Problems = append(s.Problems, err.Error())
			continue
		}
		if s.ListsAsOf.IsZero() || asOf.Before(s.ListsAsOf) {
			s.ListsAsOf = asOf
		}
	}
	s.Pending = decide(all, set, o)
	return s, nil
}
