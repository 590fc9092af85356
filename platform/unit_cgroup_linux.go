package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// errNoGroups says that sockets cannot be told by control group here.
var errNoGroups = errors.New("no control groups of version 2 are mounted")

// groupRoot is where the hierarchy of control groups (v2) is mounted: alone, or
// beside those of version 1 on a hybrid host.
func groupRoot(mounts string) (string, error) {
	for line := range strings.Lines(mounts) {
		// 36 35 98:0 ROOT POINT options - TYPE source options
		before, after, _ := strings.Cut(line, " - ")
		f := strings.Fields(before)
		if len(f) > 4 && f[3] == "/" && strings.HasPrefix(after, "cgroup2 ") {
			return f[4], nil
		}
	}
	return "", errNoGroups
}

// findGroupRoot reads the mounts of this process.
func findGroupRoot() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("find control groups: %w", err)
	}
	return groupRoot(string(mounts))
}

// groupsNow returns the control groups of those of the units that run.
func groupsNow(units []string) (map[string]group, error) {
	if len(units) == 0 {
		return nil, nil
	}
	root, err := findGroupRoot()
	if err != nil {
		return nil, err
	}
	return unitGroups(root, units)
}

// unitGroups returns the control groups of those of the units that run. Levels
// count from the root of the hierarchy as this process sees it, which is how the
// kernel counts them in rules. Only slices are searched: what is below a service
// or a session may belong to somebody who could give it any name.
func unitGroups(root string, units []string) (map[string]group, error) {
	wanted := map[string]bool{}
	for _, u := range units {
		wanted[u] = true
	}
	found := map[string]group{}
	var search func(dir string, level uint32) error
	search = func(dir string, level uint32) error {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) { // it ended meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			name := unescapeCgroup(e.Name())
			path := filepath.Join(dir, e.Name())
			if e.IsDir() && wanted[name] {
				if id, ok := groupID(path); ok {
					found[name] = group{level, id}
				}
			}
			if e.IsDir() && strings.HasSuffix(name, ".slice") {
				if err := search(path, level+1); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := search(root, 1); err != nil {
		return nil, fmt.Errorf("find control groups of units: %w", err)
	}
	return found, nil
}

// groupID is the number of the control group: that of its directory's inode.
func groupID(dir string) (uint64, bool) {
	var s unix.Stat_t
	if err := unix.Stat(dir, &s); err != nil {
		return 0, false
	}
	return s.Ino, true
}

// groupExists tells whether a control group with that number is there.
func groupExists(id uint64) bool {
	root, err := findGroupRoot()
	if err != nil {
		return false
	}
	found := false
	// Groups come and go meanwhile: an error is one that went.
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		if this, ok := groupID(path); ok && this == id {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return found
}
