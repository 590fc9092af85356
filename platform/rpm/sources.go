package rpm

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// sources are the files of one answer, and how they were when they were read.
type sources struct {
	root string
	at   time.Time // when the first of them was read
	seen map[string]mark
}

// recent is how long after a change of a file another one may go unnoticed, because
// the time in the file system is that coarse.
const recent = 50 * time.Millisecond

func (s *sources) path(path string) string { return filepath.Join("/", s.root, path) }

// note keeps how a file is now, before it is read.
func (s *sources) note(path string) { s.seen[path] = look(path) }

func (s *sources) open(path string) (*os.File, error) {
	path = s.path(path)
	s.note(path)
	return os.Open(path)
}

// read reads a small file.
func (s *sources) read(path string) ([]byte, error) {
	f, err := s.open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 1<<20))
}

// list are the names in a folder, in order; none if there is no such folder.
func (s *sources) list(dir string) []string {
	dir = s.path(dir)
	s.note(dir)
	entries, _ := os.ReadDir(dir)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

// same says that all files are as they were when they were read.
func (s *sources) same() bool {
	for path, was := range s.seen {
		if look(path) != was {
			return false
		}
	}
	return true
}

// settled says that no file had only just changed when it was read: a second change
// at once would leave no trace.
func (s *sources) settled() bool {
	for _, was := range s.seen {
		if was.changed > s.at.Add(-recent).UnixNano() && was.changed <= s.at.UnixNano() {
			return false
		}
	}
	return true
}

// mark is what tells one content of a file from another.
type mark struct {
	size, changed int64
	missing       bool
}

func look(path string) mark {
	info, err := os.Stat(path)
	if err != nil {
		return mark{missing: true}
	}
	return mark{size: info.Size(), changed: info.ModTime().UnixNano()}
}
