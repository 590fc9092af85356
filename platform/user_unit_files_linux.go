package platform

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// isTransient tells whether the file of a unit of a user goes away when it stops.
func isTransient(u Unit) bool { return filepath.Base(filepath.Dir(u.Fragment)) == "transient" }

// plan notes the files that closing changes. It runs with the rights of the user.
func (p *Program) plan(units []Unit, control string) error {
	for _, u := range units {
		if maskedForNow(u) {
			continue
		}
		if isTransient(u) {
			f, err := readTransient(u.Fragment)
			if err != nil {
				return err
			}
			p.Files = append(p.Files, f)
			continue
		}
		mask, err := p.maskFor(u, control)
		if err != nil {
			return err
		}
		p.Files = append(p.Files, FileState{Path: mask, Absent: true, Closed: hashOf(maskTarget)})
	}
	return nil
}

// maskFor returns where a unit is masked: where systemctl --user mask puts its
// link, and unmask looks for it; or where it wins over the unit's own file.
func (p *Program) maskFor(u Unit, control string) (string, error) {
	dir := filepath.Join(filepath.Dir(control), "user")
	if _, err := os.Lstat(filepath.Join(dir, u.Name)); err == nil || strings.HasPrefix(u.Fragment, "/run/") {
		dir = control
	}
	mask := filepath.Join(dir, u.Name)
	if _, err := os.Lstat(mask); err == nil {
		return "", fmt.Errorf("mask %s: its own file stands in %s, where nothing wins over it: %w", u.Name, dir, ErrUnsupported)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			return mask, nil
		}
		if top := p.State[keyMade]; top == "" || strings.HasPrefix(top, dir+"/") {
			p.State[keyMade] = dir
		}
	}
}

// hashOf is what FileState.Closed holds of a link: the hash of its target.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// readTransient reads the file of a unit that goes away when the unit stops.
func readTransient(path string) (FileState, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return FileState{}, fmt.Errorf("read transient unit: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxUnitFile+1))
	if err == nil && len(data) > maxUnitFile {
		err = errors.New("too large")
	}
	var s unix.Stat_t
	if err == nil {
		err = unix.Fstat(int(f.Fd()), &s)
	}
	if err != nil {
		return FileState{}, fmt.Errorf("read transient unit: %w", err)
	}
	return FileState{Path: path, Mode: s.Mode, UID: s.Uid, GID: s.Gid, Data: data}, nil
}

// allMasked tells whether every mask stands. It runs with the rights of the user.
func (p Program) allMasked() bool {
	return !slices.ContainsFunc(p.Files, func(f FileState) bool { return f.Absent && !isMask(f.Path) })
}

func isMask(path string) bool {
	target, err := os.Readlink(path)
	return err == nil && target == maskTarget
}

// changedFile is an ErrChanged if somebody put something else where a mask goes.
// It runs with the rights of the user.
func (p Program) changedFile() error {
	for _, f := range p.Files {
		if _, err := os.Lstat(f.Path); f.Absent && err == nil && !isMask(f.Path) {
			return fmt.Errorf("%s: something else stands at %s by now; unmask it with systemctl --user: %w", p.Name, f.Path, ErrChanged)
		}
	}
	return nil
}

// mask makes the masks. It runs with the rights of the user.
func (p Program) mask() error {
	if err := p.changedFile(); err != nil {
		return err
	}
	for _, f := range p.Files {
		if !f.Absent || isMask(f.Path) {
			continue
		}
		dir := filepath.Dir(f.Path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("mask %s: %w", p.Name, err)
		}
		if err := os.Symlink(maskTarget, f.Path); err != nil {
			return fmt.Errorf("mask %s: %w", p.Name, err)
		}
		if err := SyncDir(dir); err != nil {
			return fmt.Errorf("mask %s: %w", p.Name, err)
		}
	}
	return nil
}

// putBack takes the masks away, and writes the files of transient units again. It
// runs with the rights of the user.
func (p Program) putBack() error {
	if err := p.changedFile(); err != nil {
		return err
	}
	for _, f := range p.Files {
		if !f.Absent {
			if err := p.rewriteTransient(f); err != nil {
				return err
			}
			continue
		}
		if err := os.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: unmask: %w", p.Name, err)
		}
		top := p.State[keyMade]
		for dir := filepath.Dir(f.Path); top != "" && strings.HasPrefix(dir+"/", top+"/") && os.Remove(dir) == nil; {
			dir = filepath.Dir(dir)
		}
	}
	return nil
}

func (p Program) rewriteTransient(was FileState) error {
	if err := os.MkdirAll(filepath.Dir(was.Path), 0o755); err != nil {
		return fmt.Errorf("%s: write transient unit: %w", p.Name, err)
	}
	f, err := os.OpenFile(was.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: write transient unit: %w", p.Name, err)
	}
	_, err = transientEscapes.WriteString(f, string(was.Data))
	if err := errors.Join(err, f.Chmod(os.FileMode(was.Mode&0o777)), f.Close()); err != nil {
		return fmt.Errorf("%s: write transient unit: %w", p.Name, err)
	}
	return nil
}
