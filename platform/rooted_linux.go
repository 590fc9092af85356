package platform

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
)

// rooted is a file system as its own programs would see it: an absolute symbolic
// link in it leads to a place in it, and ".." never out of it, so that a mounted
// image cannot make the agent read the host's files for its own.
type rooted struct{ dir *os.Root }

// openRooted opens the file system at root; "" is the host's.
func openRooted(root string) (rooted, error) {
	if root == "" {
		root = "/"
	}
	dir, err := os.OpenRoot(root)
	return rooted{dir}, err
}

func (r rooted) Close() error { return r.dir.Close() }

// maxLinks is how many symbolic links a path may go through, as in the kernel.
const maxLinks = 40

// stat says what name leads to, and by which path os.Root reaches it. It asks
// os.Root first, which follows every link but one that is absolute or climbs above
// the root; those are followed by hand.
func (r rooted) stat(name string) (where string, info fs.FileInfo, err error) {
	info, err = r.dir.Stat(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return name, info, err
	}
	if where, err = r.resolve(name); err != nil {
		return "", nil, err
	}
	info, err = r.dir.Lstat(where)
	return where, info, err
}

// resolve returns the path of what name leads to, without symbolic links and
// relative to the root.
func (r rooted) resolve(name string) (string, error) {
	done, todo := ".", strings.Split(path.Clean("/" + name)[1:], "/")
	for links := 0; len(todo) > 0; {
		next := path.Join(done, todo[0])
		todo = todo[1:]
		info, err := r.dir.Lstat(next)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("open %s: %w", name, syscall.ELOOP)
		}
		target, err := r.dir.Readlink(next)
		if err != nil {
			return "", err
		}
		if !path.IsAbs(target) {
			target = "/" + path.Join(done, target)
		}
		todo = append(strings.Split(path.Clean(target)[1:], "/"), todo...)
		done = "."
	}
	return done, nil
}

// read returns a regular file of at most limit bytes, and when it was modified.
func (r rooted) read(name string, limit int64) ([]byte, time.Time, error) {
	where, info, err := r.stat(name)
	if err != nil {
		return nil, time.Time{}, err
	}
	if !info.Mode().IsRegular() {
		return nil, time.Time{}, fmt.Errorf("read %s: not a regular file", name)
	}
	f, err := r.dir.OpenFile(where, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, time.Time{}, fmt.Errorf("read %s: larger than %d KiB", name, limit>>10)
	}
	return data, info.ModTime(), nil
}

// head returns the first bytes of a regular file, at most limit.
func (r rooted) head(name string, limit int64) ([]byte, error) {
	where, info, err := r.stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", name)
	}
	f, err := r.dir.OpenFile(where, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// maxEntries bounds how much of a folder is looked at.
const maxEntries = 4096

// match returns the names of what lies at a pattern of path.Match, sorted by
// folder. What cannot be read matches nothing.
func (r rooted) match(pattern string) []string {
	found := []string{"."}
	for _, part := range strings.Split(strings.Trim(pattern, "/"), "/") {
		var deeper []string
		for _, dir := range found {
			if !strings.ContainsAny(part, "*?[") {
				deeper = append(deeper, path.Join(dir, part))
				continue
			}
			for _, entry := range r.list(dir) {
				if ok, _ := path.Match(part, entry); ok {
					deeper = append(deeper, path.Join(dir, entry))
				}
			}
		}
		found = deeper
	}
	return found
}

func (r rooted) list(dir string) []string {
	where, info, err := r.stat(dir)
	if err != nil || !info.IsDir() {
		return nil
	}
	f, err := r.dir.Open(where)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, err := f.Readdirnames(maxEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	return names
}

// newest returns the latest time at which something at one of the patterns was
// modified; zero if there is nothing.
func (r rooted) newest(patterns []string) time.Time {
	var latest time.Time
	for _, pattern := range patterns {
		for _, name := range r.match(pattern) {
			if _, info, err := r.stat(name); err == nil && info.ModTime().After(latest) {
				latest = info.ModTime()
			}
		}
	}
	return latest
}
