//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Cgroup is one group of processes, in each hierarchy that systemd knows of: on
// a machine with a hybrid tree these are two.
type Cgroup struct {
	Dirs []string
}

// Cgroup makes a cgroup of the site.
func (s *Site) Cgroup(name string) (Cgroup, error) {
	roots, err := cgroupRoots()
	if err != nil {
		return Cgroup{}, err
	}
	var c Cgroup
	for _, root := range roots {
		dir := filepath.Join(root, "firebreak-lab", s.ID, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return Cgroup{}, fmt.Errorf("make cgroup: %w", err)
		}
		c.Dirs = append(c.Dirs, dir)
	}
	return c, nil
}

// Command returns the arguments that start a program inside the cgroup: a
// process that is moved after its start may have had children before.
func (c Cgroup) Command(args ...string) []string {
	script := `for dir in ` + strings.Join(c.Dirs, " ") + `; do echo $$ >$dir/cgroup.procs || exit 1; done; exec "$@"`
	return append([]string{"sh", "-c", script, "sh"}, args...)
}

// cgroupRoots are the places where cgroup v2 and systemd's own v1 hierarchy are
// mounted.
func cgroupRoots() ([]string, error) {
	points, err := mountPoints()
	if err != nil {
		return nil, err
	}
	var roots []string
	for _, p := range points {
		v1 := p.fstype == "cgroup" && slices.Contains(strings.Split(p.options, ","), "name=systemd")
		if p.fstype == "cgroup2" || v1 {
			roots = append(roots, p.dir)
		}
	}
	roots = slices.DeleteFunc(roots, func(dir string) bool { return strings.HasPrefix(dir, sites) })
	if len(roots) == 0 {
		return nil, errors.New("find cgroups: no cgroup2 file system is mounted")
	}
	return roots, nil
}

// cgroupDirs are the site's cgroups that are there, one in each hierarchy.
func (s *Site) cgroupDirs() ([]string, error) {
	roots, err := cgroupRoots()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, root := range roots {
		dir := filepath.Join(root, "firebreak-lab", s.ID)
		if _, err := os.Stat(dir); err == nil {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// removeCgroups removes the site's cgroups, the innermost first, and then the
// lab's own if no other site uses it.
func (s *Site) removeCgroups() error {
	dirs, err := s.cgroupDirs()
	if err != nil {
		return err
	}
	for _, top := range dirs {
		var all []string
		err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				all = append(all, name)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("list cgroups: %w", err)
		}
		slices.Reverse(all)
		for _, dir := range all {
			if err := os.Remove(dir); err != nil {
				return fmt.Errorf("remove cgroup: %w", err)
			}
		}
		_ = os.Remove(filepath.Dir(top)) // stays while another site is in it
	}
	return nil
}
