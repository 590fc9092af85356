package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/firebreak-sec/firebreak/platform"
)

const (
	fileMode   = 0o600
	newPattern = "journal-*.new"
	// largestFile bounds the file, in bytes, and with it the time that opening
	// takes.
	largestFile = 64 << 20
	// largestHistory bounds the lines of the history, in bytes, whatever the limits
	// say: a full file would take no intent any more. On the disk they take twice
	// that at worst (a line just longer than half a page); the rest is for what else
	// is in the file, and for what bbolt keeps free in it.
	largestHistory = 16 << 20
	// looseFile is from where on a mostly unused file is written anew.
	looseFile = 1 << 20
)

// Journal is the open journal of one agent. Its methods may be called from any
// goroutine. It has no goroutine of its own, and syncs the disk only when
// something was changed.
type Journal struct {
	path   string
	limits Limits
	aside  string

	mu     sync.Mutex
	file   *os.File
	db     *bbolt.DB
	lines  int   // of the history
	bytes  int   // of these lines
	broken error // set once bbolt has stumbled: it must not be called again
}

// Open opens the journal at path for this agent alone, or makes one. The whole
// file is proved first. A damaged one is kept under another name (Aside), and
// what can still be read of it is taken over; a newer agent's is ErrNewer and is
// not touched; one that is open elsewhere is ErrInUse, without waiting.
func Open(path string, l Limits) (*Journal, error) {
	j := &Journal{path: path, limits: l}
	for range 3 {
		err := j.take()
		if err != nil {
			return nil, fmt.Errorf("open journal: %w", err)
		}
		if j.db != nil {
			return j, nil
		}
	}
	return nil, fmt.Errorf("open journal: %w: it does not stay as it was written", ErrDamaged)
}

// OpenReadOnly opens the journal at path to read it while no agent runs (else
// ErrInUse). It changes nothing: a damaged journal is ErrDamaged.
func OpenReadOnly(path string) (*Journal, error) {
	f, err := hold(path, false)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := &Journal{path: path}
	s, err := examine(f)
	switch {
	case err != nil:
	case s.newer:
		err = ErrNewer
	case s.fault != nil:
		err = fmt.Errorf("%w: %w", ErrDamaged, s.fault)
	case s.schema < schema:
		err = errors.New("the journal was written by an older agent, and no agent has run since")
	default:
		err = j.open(f, true)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return j, nil
}

// take opens the journal if it is sound. If it is not, take puts a sound one in
// its place and leaves j closed, so that this one is proved like any other.
func (j *Journal) take() (err error) {
	f, err := hold(j.path, true)
	if err != nil {
		return err
	}
	defer func() {
		if j.db == nil {
			f.Close()
		}
	}()
	s, err := examine(f)
	switch {
	case err != nil:
		return err
	case s.newer:
		return ErrNewer
	case s.fault != nil:
		return j.rescue(f, s)
	case s.schema < schema:
		return j.renew(f, s.schema)
	case s.loose && j.renew(f, schema) == nil:
		return nil
	}
	sweep(j.path)
	j.lines, j.bytes = s.lines, s.bytes
	return j.open(f, false)
}

func examine(f *os.File) (survey, error) {
	info, err := f.Stat()
	if err != nil {
		return survey{}, err
	}
	return inspect(f, info.Size(), false), nil
}

// rescue keeps a damaged journal under another name and puts what can be read
// of it in its place.
func (j *Journal) rescue(f *os.File, s survey) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	saved, newer := salvage(f, info.Size(), s.pages)
	if newer {
		return ErrNewer
	}
	aside, err := setAside(j.path, saved, time.Now())
	debug.FreeOSMemory()
	if err != nil {
		return cannotWrite(err)
	}
	j.aside = aside
	return nil
}

// renew writes the journal anew, with every record brought up to the schema of
// this program and without what is unused.
func (j *Journal) renew(f *os.File, from byte) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	s := inspect(f, info.Size(), true)
	if s.fault != nil {
		return s.fault
	}
	records, err := migrate(s.records, from, migrations)
	if err != nil {
		return err
	}
	s.records = records
	if err := replace(j.path, s.stock); err != nil {
		return cannotWrite(err)
	}
	return nil
}

// open hands a file that was proved to bbolt, which locks and closes it.
func (j *Journal) open(f *os.File, readOnly bool) error {
	o := options()
	o.ReadOnly = readOnly
	o.OpenFile = func(string, int, os.FileMode) (*os.File, error) { return f, nil }
	j.file = f
	return j.guard(func() error {
		db, err := bbolt.Open(j.path, fileMode, o)
		if err != nil {
			return err
		}
		j.db = db
		return nil
	})
}

// hold opens the file at path and locks it. It is the file that path names when
// hold returns, not one that was set aside meanwhile.
func hold(path string, alone bool) (*os.File, error) {
	flags := os.O_RDONLY
	if alone {
		flags = os.O_RDWR
	}
	for range 5 {
		f, err := os.OpenFile(path, flags, 0)
		switch {
		case alone && errors.Is(err, fs.ErrNotExist):
			if err := create(path); err != nil {
				return nil, cannotWrite(err)
			}
			continue
		case alone && err != nil:
			return nil, cannotWrite(err)
		case err != nil:
			return nil, err
		}
		err = platform.LockFile(f, alone)
		if err == nil && names(path, f) {
			return f, nil
		}
		f.Close()
		if errors.Is(err, platform.ErrLocked) {
			return nil, ErrInUse
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, ErrInUse
}

// names tells whether path is the name of f.
func names(path string, f *os.File) bool {
	there, err := os.Stat(path)
	if err != nil {
		return false
	}
	own, err := f.Stat()
	return err == nil && os.SameFile(there, own)
}

// Aside returns the path of a damaged journal that was found and set aside when
// this one was opened, or "".
func (j *Journal) Aside() string { return j.aside }

// Close closes the journal. Closing it twice is no error.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.db == nil {
		return nil
	}
	db := j.db
	j.db = nil
	if j.broken != nil {
		// bbolt may have stumbled with its locks held, and would wait for them
		// for ever. Its mapping of the file stays, and would keep the file
		// locked too.
		return errors.Join(platform.UnlockFile(j.file), j.file.Close())
	}
	return db.Close()
}

// guard calls fn, alone, and turns what bbolt does on a file that was damaged
// under it (a panic, or a fault on a page that is no longer there) into an error.
// After that bbolt may still hold its locks, so it is never called again.
func (j *Journal) guard(fn func() error) (err error) {
	if j.broken != nil {
		return j.broken
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			j.broken = fmt.Errorf("%w: %v", ErrDamaged, p)
			err = j.broken
		}
	}()
	return fn()
}
