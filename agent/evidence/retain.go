package evidence

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Bundle is one bundle in the evidence folder.
type Bundle struct {
	Name   string    // of the file
	Threat string    // its ID
	At     time.Time // when it was written
	Size   int64     // in bytes
}

// List returns the bundles in dir, oldest first. A folder that is not there has
// none, and files with other names are not looked at.
func List(dir string) ([]Bundle, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list evidence: %w", err)
	}
	var found []Bundle
	for _, e := range entries {
		b, ok := parseName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list evidence: %w", err)
		}
		b.Size = info.Size()
		found = append(found, b)
	}
	slices.SortFunc(found, func(a, b Bundle) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return found, nil
}

// parseName reads what fileName wrote.
func parseName(name string) (Bundle, bool) {
	stem, ok := strings.CutSuffix(name, ".tar.gz")
	if !ok {
		return Bundle{}, false
	}
	stem, ok = strings.CutPrefix(stem, "EV-")
	cut := strings.LastIndex(stem, "-")
	if !ok || cut < 0 || !threatID.MatchString(stem[:cut]) {
		return Bundle{}, false
	}
	at, err := time.Parse(nameTime, stem[cut+1:])
	return Bundle{Name: name, Threat: stem[:cut], At: at}, err == nil
}

// retain removes the oldest bundles until the rest is within the limits. It
// never removes the newest one, which is written, nor one that is kept.
func retain(dir, written string, now time.Time, l Limits) error {
	all, err := List(dir)
	if err != nil {
		return err
	}
	count, bytes := len(all), int64(0)
	for _, b := range all {
		bytes += b.Size
	}
	var failed error
	for _, b := range all {
		beyond := l.Count > 0 && count > l.Count || l.Bytes > 0 && bytes > l.Bytes || l.Age > 0 && now.Sub(b.At) > l.Age
		if !beyond || b.Name == written || l.Keep != nil && l.Keep(b.Threat) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, b.Name)); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		count--
		bytes -= b.Size
	}
	return errors.Join(failed, sweep(dir, now))
}

// sweep removes bundles that a crash cut short.
func sweep(dir string, now time.Time) (failed error) {
	left, err := filepath.Glob(filepath.Join(dir, tempPattern))
	if err != nil {
		return err
	}
	for _, name := range left {
		if info, err := os.Lstat(name); err == nil && now.Sub(info.ModTime()) > time.Hour {
			failed = errors.Join(failed, os.Remove(name))
		}
	}
	return failed
}
