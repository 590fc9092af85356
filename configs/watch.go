package configs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// PolicyName is the file name of the policy in the configuration folder.
const PolicyName = "policy.yaml"

// What follows a change comes in bursts: an editor writes, renames and deletes.
// A burst is over when it is quiet for settle, and is never waited for longer
// than patience, so that a busy folder cannot hide a change.
const (
	settle   = 100 * time.Millisecond
	patience = 400 * time.Millisecond
)

// ReadPolicyFile reads the bytes of a policy file. It opens nothing but regular
// files and reads no more than can be a policy. A file that is not there is
// fs.ErrNotExist.
func ReadPolicyFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read policy: %s is not a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	defer file.Close()
	// One byte more than is allowed, for ParsePolicy to see that it is too large.
	data, err := io.ReadAll(io.LimitReader(file, MaxPolicySize+1))
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	return data, nil
}

// Watch signals once for every burst of changes after which dir/policy.yaml is
// not what it was: written, renamed into place, reached through another symbolic
// link, gone, or come back. The folder need not exist yet. Call Watch before
// reading the policy, so that no change falls between the two. The channel is
// closed when ctx ends.
func Watch(ctx context.Context, dir string) (<-chan struct{}, error) {
	path, err := filepath.Abs(filepath.Join(dir, PolicyName))
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	notifier, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	w := &watch{path: path, notifier: notifier, changed: make(chan struct{}, 1)}
	if err := w.follow(); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", dir, err), notifier.Close())
	}
	w.seen = w.fingerprint()
	go w.run(ctx)
	return w.changed, nil
}

// watch follows one policy file through all the folders on which its name
// depends.
type watch struct {
	path     string
	notifier *fsnotify.Watcher
	changed  chan struct{}
	seen     string // fingerprint of what was last signalled
}

func (w *watch) run(ctx context.Context) {
	defer close(w.changed)
	defer w.notifier.Close()
	var quiet, late <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-w.notifier.Events:
			if !open {
				return
			}
			quiet = time.After(settle)
			if late == nil {
				late = time.After(patience)
			}
			continue
		case <-w.notifier.Errors:
			// An overflowed queue has lost events: look, as if one had come.
		case <-quiet:
		case <-late:
		}
		quiet, late = nil, nil
		w.look()
	}
}

// look signals if the file is not what it was. A folder that cannot be watched
// any more is tried again at the next event of the others.
func (w *watch) look() {
	_ = w.follow()
	now := w.fingerprint()
	if now == w.seen {
		return
	}
	w.seen = now
	select {
	case w.changed <- struct{}{}:
	default: // a signal is already waiting to be taken
	}
}

// fingerprint changes whenever reading the policy would give something else.
func (w *watch) fingerprint() string {
	data, err := ReadPolicyFile(w.path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// follow watches exactly the folders that matter now. A folder may change its
// place while it is being added, so it goes on until none does.
func (w *watch) follow() error {
	const rounds = 5
	var folders []string
	for range rounds {
		before := folders
		folders = foldersOf(w.path)
		if slices.Equal(before, folders) {
			break
		}
		for _, folder := range folders {
			if err := w.notifier.Add(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	for _, folder := range w.notifier.WatchList() {
		if !slices.Contains(folders, folder) {
			// It may be gone already, and its watch with it.
			_ = w.notifier.Remove(folder)
		}
	}
	return nil
}

// foldersOf returns the folders whose entries decide what path leads to: those
// that hold a symbolic link on the way, and the one that holds the file, or the
// last that exists of those that would.
func foldersOf(path string) []string {
	const mostLinks = 40
	at := filepath.VolumeName(path) + string(filepath.Separator)
	ahead := elementsOf(path)
	var folders []string
	for links := 0; len(ahead) > 0 && links < mostLinks; {
		element := ahead[0]
		ahead = ahead[1:]
		next := filepath.Join(at, element)
		info, err := os.Lstat(next)
		switch {
		case err != nil:
			return append(folders, at)
		case info.Mode()&fs.ModeSymlink != 0:
			links++
			folders = append(folders, at)
			target, err := os.Readlink(next)
			if err != nil {
				return folders
			}
			if filepath.IsAbs(target) {
				at = filepath.VolumeName(target) + string(filepath.Separator)
			}
			ahead = slices.Concat(elementsOf(target), ahead)
		case len(ahead) == 0:
			folders = append(folders, at)
		default:
			at = next
		}
	}
	return folders
}

func elementsOf(path string) []string {
	path = strings.TrimPrefix(filepath.Clean(path), filepath.VolumeName(path))
	return strings.FieldsFunc(path, func(r rune) bool { return r == filepath.Separator })
}
