package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/firebreak-sec/firebreak/platform"
)

// stock is what a journal is built of.
type stock struct {
	records  []record
	number   uint64 // of the last write
	sequence uint64 // of the last line of the history
}

// options are how the agent opens bbolt. The list of free pages is kept in the
// file (one page a commit, not measurable), since making it up at every start
// touches, and so keeps in memory, the whole file: 8 MB more for a journal at the
// usual limits. It is a map, because the array is slow when
// many pages are free. The map starts small and doubles, so a small journal costs
// little memory. There are no statistics and no batches: one writer, no timers.
func options() *bbolt.Options {
	return &bbolt.Options{
		FreelistType: bbolt.FreelistMapType,
		MaxSize:      largestFile,
		NoStatistics: true,
	}
}

// build writes a new journal of s next to path and returns its name. It is
// complete and durable when it returns.
func build(path string, s stock) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), newPattern)
	if err != nil {
		return "", err
	}
	name = f.Name()
	defer func() {
		if err != nil {
			os.Remove(name)
		}
	}()
	o := options()
	o.OpenFile = func(string, int, os.FileMode) (*os.File, error) { return f, nil }
	db, err := bbolt.Open(name, fileMode, o)
	if err != nil {
		return "", err
	}
	err = db.Update(func(tx *bbolt.Tx) error { return fill(tx, s) })
	return name, errors.Join(err, db.Close())
}

func fill(tx *bbolt.Tx, s stock) error {
	for _, row := range kinds {
		b, err := tx.CreateBucketIfNotExists([]byte(row.bucket))
		if err != nil {
			return err
		}
		b.FillPercent = 0.9
	}
	mark := record{schema: schema, kind: kindAgent, key: []byte(keySchema), body: fmt.Appendf(nil, "%d", schema)}
	for _, r := range append(s.records, mark) {
		if err := tx.Bucket(r.kind.bucket()).Put(r.key, r.encode()); err != nil {
			return err
		}
	}
	if err := tx.Bucket(kindAgent.bucket()).SetSequence(s.number); err != nil {
		return err
	}
	return tx.Bucket(kindHistory.bucket()).SetSequence(s.sequence)
}

// create makes an empty journal at path, unless somebody was quicker.
func create(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	name, err := build(path, stock{})
	if err != nil {
		return err
	}
	defer os.Remove(name)
	err = os.Link(name, path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return platform.SyncDir(filepath.Dir(path))
	}
	// A file system without hard links: the one moment in which somebody else
	// could come in between is the very first start.
	return platform.RenameDurably(name, path)
}

// replace puts a journal of s in the place of the one at path, in one step.
func replace(path string, s stock) error {
	name, err := build(path, s)
	if err != nil {
		return err
	}
	if err := platform.RenameDurably(name, path); err != nil {
		os.Remove(name)
		return err
	}
	return nil
}

// sweep removes what a crash in build left behind. Only the agent that holds the
// journal does so.
func sweep(path string) {
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), newPattern))
	if err != nil {
		return
	}
	for _, name := range left {
		os.Remove(name)
	}
}
