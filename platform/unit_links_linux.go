package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// unitDirs are the folders in which links that enable, alias or mask a unit
// stand, the one that wins first (systemd.unit(5), "Unit File Load Path"). The
// folders of packages are not among them: nobody enables anything there.
var unitDirs = []string{
	"/etc/systemd/system.control",
	"/run/systemd/system.control",
	"/etc/systemd/system",
	"/etc/systemd/system.attached",
	"/run/systemd/system",
	"/run/systemd/system.attached",
}

const (
	// maskDir is where systemctl mask puts its link, and where systemctl unmask
	// looks for it.
	maskDir = "/etc/systemd/system"
	// strongMaskDir wins over every other folder. It is where a unit is masked
	// whose own file stands in maskDir: systemctl mask says "File exists" to
	// that, and systemctl unmask does not find a mask that stands here.
	strongMaskDir = "/etc/systemd/system.control"
	transientDir  = "/run/systemd/transient"
	maskTarget    = "/dev/null"
)

// strongerDirs are the folders that win over maskDir.
var strongerDirs = []string{strongMaskDir, "/run/systemd/system.control", transientDir, "/run/systemd/generator.early"}

// unitTree is the file system in which units are linked; root is "" on the host
// itself.
type unitTree struct{ root string }

// links returns the links that enable, alias or mask the unit, by path. names
// are the unit's own name first, and then its aliases.
func (t unitTree) links(names ...string) ([]Link, error) {
	var all []Link
	for _, dir := range unitDirs {
		entries, err := t.list(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			switch {
			case e.Type() == fs.ModeSymlink:
				all, err = t.collect(all, path, func(l Link) bool { return aliasesOrMasks(l, names) })
			case e.IsDir() && pullsIn(e.Name()):
				all, err = t.wanted(all, path, names)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(all, func(a, b Link) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// wanted adds the links to the unit in one folder such as multi-user.target.wants.
func (t unitTree) wanted(all []Link, dir string, names []string) ([]Link, error) {
	entries, err := t.list(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Type() != fs.ModeSymlink {
			continue
		}
		all, err = t.collect(all, filepath.Join(dir, e.Name()), func(l Link) bool {
			return slices.Contains(names, filepath.Base(l.Path)) || filepath.Base(l.Target) == names[0]
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// collect adds the link at path if it is wanted. One that went away meanwhile
// is none.
func (t unitTree) collect(all []Link, path string, want func(Link) bool) ([]Link, error) {
	target, err := os.Readlink(t.root + path)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read link of unit: %w", err)
	}
	if l := (Link{Path: path, Target: target}); want(l) {
		all = append(all, l)
	}
	return all, nil
}

func (t unitTree) list(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(t.root + dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list unit folder: %w", err)
	}
	return entries, nil
}

// aliasesOrMasks tells whether a link that stands beside unit files is a mask
// or another name of the unit. A link of the unit's own name to a file
// elsewhere is neither: it is the unit file (systemctl link).
func aliasesOrMasks(l Link, names []string) bool {
	if l.Target == maskTarget {
		return slices.Contains(names, filepath.Base(l.Path))
	}
	return filepath.Base(l.Path) != names[0] && filepath.Base(l.Target) == names[0]
}

func pullsIn(dir string) bool {
	switch filepath.Ext(dir) {
	case ".wants", ".requires", ".upholds":
		return true
	}
	return false
}

// mask returns the link that masks the unit, wherever its own file stands.
func (t unitTree) mask(u Unit) (Link, error) {
	usual := Link{Path: filepath.Join(maskDir, u.Name), Target: maskTarget}
	strong := Link{Path: filepath.Join(strongMaskDir, u.Name), Target: maskTarget}
	if !slices.Contains(strongerDirs, filepath.Dir(u.Fragment)) && t.free(usual) {
		return usual, nil
	}
	if !t.free(strong) {
		return Link{}, fmt.Errorf("mask %s: its own file stands in %s, where nothing wins over it: %w", u.Name, strongMaskDir, ErrUnsupported)
	}
	return strong, nil
}

// free tells whether nothing stands where the link goes, or the link itself.
func (t unitTree) free(l Link) bool {
	_, err := os.Lstat(t.root + l.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	target, err := os.Readlink(t.root + l.Path)
	return err == nil && target == l.Target
}

// put makes the link, durably. Where something else stands, somebody put it
// there, and it stays.
func (t unitTree) put(l Link) error {
	dir := filepath.Dir(t.root + l.Path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make unit folder: %w", err)
	}
	err := os.Symlink(l.Target, t.root+l.Path)
	if errors.Is(err, fs.ErrExist) {
		if t.free(l) {
			return nil
		}
		return fmt.Errorf("link %s: something else stands there: %w", l.Path, ErrChanged)
	}
	if err != nil {
		return fmt.Errorf("link unit: %w", err)
	}
	return SyncDir(dir)
}

// drop removes the link, durably, unless it points elsewhere by now.
func (t unitTree) drop(l Link) error {
	if target, err := os.Readlink(t.root + l.Path); err != nil || target != l.Target {
		return nil
	}
	if err := os.Remove(t.root + l.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unlink unit: %w", err)
	}
	dir := filepath.Dir(t.root + l.Path)
	if strings.HasSuffix(dir, strongMaskDir) && os.Remove(dir) == nil {
		dir = filepath.Dir(dir)
	}
	return SyncDir(dir)
}

// asClosed compares a unit with what it was before it was closed. It returns
// the agent's own masks and the links that are missing, or an error if the
// difference is not what a Close or a Restore, whole or cut short, leaves
// behind: while the mask is there, links may be missing; without it, none.
func asClosed(before, now Unit) (masks, missing []Link, err error) {
	for _, l := range now.Links {
		switch {
		case slices.Contains(before.Links, l):
		case isOurMask(before, l):
			masks = append(masks, l)
		default:
			return nil, nil, fmt.Errorf("%s: %s was not there before: %w", before.Name, l.Path, ErrChanged)
		}
	}
	for _, l := range before.Links {
		if !slices.Contains(now.Links, l) {
			missing = append(missing, l)
		}
	}
	if len(missing) > 0 && len(masks) == 0 {
		return nil, nil, fmt.Errorf("%s: it was unmasked: %w", before.Name, ErrChanged)
	}
	return masks, missing, nil
}

// isOurMask tells whether a link that was not there before is one that Close
// could have put there.
func isOurMask(u Unit, l Link) bool {
	return l.Target == maskTarget && filepath.Base(l.Path) == u.Name && slices.Contains([]string{maskDir, strongMaskDir}, filepath.Dir(l.Path))
}

// masked tells whether the unit was masked for good before the agent came.
func masked(u Unit) bool {
	return slices.ContainsFunc(u.Links, func(l Link) bool { return isOurMask(u, l) })
}

// running tells whether an ActiveState means that the unit runs or soon will.
func running(active string) bool {
	switch active {
	case "active", "activating", "reloading", "refreshing":
		return true
	}
	return false
}

// transient tells whether the unit's file goes away when the unit stops.
func transient(u Unit) bool { return filepath.Dir(u.Fragment) == transientDir }
