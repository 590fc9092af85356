// Package apt reads what is installed, and what of it is out of date, on hosts whose
// packages are dpkg's: Debian, Ubuntu and what is made of them. It reads the database
// of dpkg and the lists that apt has fetched, as files: nothing is run, nothing is
// locked, and no privilege is needed.
package apt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// ErrNoDatabase says that dpkg has nothing installed here.
var ErrNoDatabase = errors.New("no database of dpkg")

// State is what is known about the packages of a host.
type State struct {
	Installed int // packages
	// ListsAsOf is when the host last learned what is offered: the oldest of the
	// lists in use. Zero if there is none.
	ListsAsOf time.Time
	// Pending is every installed package for which there is a newer version, by name
	// and architecture.
	Pending []Update
	// Unsupported are the installed packages that get no security updates any more,
	// or only some, as the package debian-security-support of this host says.
	Unsupported []Unsupported
	// Problems are why something is not known, a sentence each. With any of them,
	// what is not in Pending may still be out of date.
	Problems []string
}

// Update is an installed package that has a newer version.
type Update struct {
	Name, Arch, Source string
	Installed          string
	// Candidate is what apt would install now; the installed version if it would
	// install none.
	Candidate string
	Archive   string // of the candidate: "Debian-Security 12 (bookworm-security)"
	// Security says that the installed version is older than some version in an
	// archive of security updates, wherever the candidate comes from; Fixed is the
	// newest such.
	Security bool
	Fixed    string
	Why      Hold
}

// Hold is why apt does not install a newer version.
type Hold string

// The reasons.
const (
	NotHeld Hold = ""
	Held    Hold = "held"   // by a person: apt-mark hold
	Pinned  Hold = "pinned" // by a preference, or by its archive's wish not to be used unasked
	Phased  Hold = "phased" // it is rolled out step by step, and this host is not yet in
	Unmet   Hold = "unmet"  // what it needs cannot be had, or something would have to go
)

// Unsupported is an installed package that is out of security support.
type Unsupported struct {
	Name, Version string
	Limited       bool      // it gets some
	Ended         time.Time // zero if not known
	Note          string    // what the distribution says about it
}

// Reader reads the packages of one file system. It remembers its answer until a
// file changes, and is not safe for use by two goroutines at once.
type Reader struct {
	root string
	read *files // what the answer was read from, nil if there is none
	kept State
}

// New returns a reader of the host below root, "" being this one.
func New(root string) *Reader { return &Reader{root: root} }

// State says what is installed, and what of it is out of date. It fails with
// ErrNoDatabase where dpkg has nothing installed; what else cannot be read is a
// problem in the answer.
func (r *Reader) State(ctx context.Context) (State, error) {
	if r.read != nil && r.read.same() && r.read.settled() {
		return r.answer(), nil
	}
	r.read = nil
	for range 3 { // a package may be installed during the look
		read := newFiles(r.root)
		s, err := readAll(ctx, read)
		if err != nil {
			return State{}, err
		}
		if read.same() {
			r.read, r.kept = read, s
			return r.answer(), nil
		}
	}
	return State{Problems: []string{"the files of packages change all the time, so that what they say does not go together"}}, nil
}

// answer is what was kept, as of today.
func (r *Reader) answer() State {
	s := r.kept
	s.Unsupported = ended(s.Unsupported, time.Now())
	return s
}

// readAll reads everything once.
func readAll(ctx context.Context, read *files) (State, error) {
	have, err := readInstalled(read)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return State{}, ErrNoDatabase
	case err != nil:
		return State{Problems: []string{fmt.Sprintf("what is installed: %v", err)}}, nil
	case len(have.packages) == 0:
		return State{}, ErrNoDatabase
	}
	s := State{Installed: len(have.packages), Problems: have.problems}
	set := readSettings(read, have)
	s.Problems = append(s.Problems, set.problems...)
	lists, problems := findLists(ctx, read, set)
	s.Problems = append(s.Problems, problems...)
	o := newOffer(have)
	for _, l := range lists {
		if err := o.readList(ctx, read, l); err != nil {
			if ctx.Err() != nil {
				return State{}, ctx.Err()
			}
			s.Problems = append(s.Problems, fmt.Sprintf("list %s: %v", l.name, err))
		}
	}
	s.ListsAsOf = asOf(read, set.folder(), lists)
	choices := o.choices(set, lists)
	err = set.resolve(choices, func(names map[string]bool, fresh map[string][]*pkg) error {
		return readFresh(ctx, read, o, lists, names, fresh)
	})
	if ctx.Err() != nil {
		return State{}, ctx.Err()
	}
	if err != nil { // of a list that was a problem before
		s.Problems = append(s.Problems, fmt.Sprintf("whether all updates can be installed: %v", err))
	}
	s.Pending = set.pending(choices, lists)
	s.Unsupported, problems = readUnsupported(read, have)
	s.Problems = append(s.Problems, problems...)
	return s, nil
}
