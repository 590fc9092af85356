package apt

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// files are the files of one answer, and how they were when they were read.
type files struct {
	root string
	at   time.Time // when the first of them was read
	seen map[string]mark
}

func newFiles(root string) *files {
	return &files{root: root, at: time.Now(), seen: map[string]mark{}}
}

// recent is how long after a change of a file another one may go unnoticed, because
// the time in the file system is that coarse.
const recent = 50 * time.Millisecond

func (f *files) path(path string) string { return filepath.Join("/", f.root, path) }

// note keeps how a file is now, before it is read, and returns that.
func (f *files) note(path string) mark {
	path = f.path(path)
	m := look(path)
	f.seen[path] = m
	return m
}

func (f *files) open(path string) (*os.File, error) {
	f.note(path)
	return os.Open(f.path(path))
}

// maxSmall is the size of the largest configuration that is taken for sound.
const maxSmall = 1 << 20

// read reads a small file.
func (f *files) read(path string) ([]byte, error) {
	in, err := f.open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, maxSmall+1))
	if len(b) > maxSmall {
		return nil, errors.New("is too large")
	}
	return b, err
}

// list are the names in a folder, in order; none if there is no such folder.
func (f *files) list(dir string) ([]string, error) {
	f.note(dir)
	entries, err := os.ReadDir(f.path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, err
}

// same says that all files are as they were when they were read.
func (f *files) same() bool {
	for path, was := range f.seen {
		if look(path) != was {
			return false
		}
	}
	return true
}

// settled says that no file had only just changed when it was read: a second change
// at once would leave no trace.
func (f *files) settled() bool {
	for _, was := range f.seen {
		if was.changed > f.at.Add(-recent).UnixNano() && was.changed <= f.at.UnixNano() {
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
