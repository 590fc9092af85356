package platform

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxSupervisorFile is how large a file may be that a supervisor goes by.
const maxSupervisorFile = 1 << 20

// rootFolder opens a folder that nobody but root could have put there, or could
// swap for another one: so are all above it. It is the caller's to close.
func rootFolder(path string) (*os.File, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	defer func() { unix.Close(fd) }()
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		next, err := unix.Openat(fd, part, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open folder %s: %w", path, err)
		}
		unix.Close(fd)
		fd = next
		var s unix.Stat_t
		if err := unix.Fstat(fd, &s); err != nil {
			return nil, fmt.Errorf("look at folder %s: %w", path, err)
		}
		if s.Uid != 0 || writableByOthers(s) && s.Mode&unix.S_ISVTX == 0 {
			return nil, fmt.Errorf("%s lies in a folder that others than root can change: %w", path, ErrUnsupported)
		}
	}
	dir, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open folder %s: %w", path, err)
	}
	return os.NewFile(uintptr(dir), path), nil
}

func writableByOthers(s unix.Stat_t) bool {
	return s.Mode&unix.S_IWOTH != 0 || s.Mode&unix.S_IWGRP != 0 && s.Gid != 0
}

// readState reads a file that a supervisor goes by. What nobody has put there is
// Absent; what others than root and the owner can write is refused.
func readState(path string, owner uint32) (FileState, error) {
	dir, err := rootFolder(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return FileState{Path: path, Absent: true}, nil
	}
	if err != nil {
		return FileState{}, err
	}
	defer dir.Close()
	fd, err := unix.Openat(int(dir.Fd()), filepath.Base(path), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		return FileState{Path: path, Absent: true}, nil
	case errors.Is(err, unix.ELOOP):
		return FileState{}, fmt.Errorf("%s is a symbolic link: %w", path, ErrUnsupported)
	case err != nil:
		return FileState{}, fmt.Errorf("open %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		return FileState{}, fmt.Errorf("look at %s: %w", path, err)
	}
	switch {
	case s.Mode&unix.S_IFMT != unix.S_IFREG || s.Nlink != 1:
		return FileState{}, fmt.Errorf("%s is no plain file with one name: %w", path, ErrUnsupported)
	case s.Uid != 0 && s.Uid != owner || writableByOthers(s):
		return FileState{}, fmt.Errorf("%s can be changed by others than its owner: %w", path, ErrUnsupported)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSupervisorFile+1))
	if err != nil {
		return FileState{}, fmt.Errorf("read %s: %w", path, err)
	}
	if len(data) > maxSupervisorFile {
		return FileState{}, fmt.Errorf("%s is larger than %d KiB: %w", path, maxSupervisorFile>>10, ErrUnsupported)
	}
	return FileState{Path: path, Mode: s.Mode, UID: s.Uid, GID: s.Gid, Data: data}, nil
}

// write puts the file there as described, whole or not at all. The name that it
// has meanwhile begins with a dot, so that no supervisor reads it.
func (f FileState) write() (err error) {
	dir, err := rootFolder(filepath.Dir(f.Path))
	if err != nil {
		return err
	}
	defer dir.Close()
	at, name := int(dir.Fd()), filepath.Base(f.Path)
	draft := ".firebreak-" + name
	if err := unix.Unlinkat(at, draft, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("write %s: %w", f.Path, err)
	}
	fd, err := unix.Openat(at, draft, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", f.Path, err)
	}
	file := os.NewFile(uintptr(fd), f.Path)
	_, err = file.Write(f.Data)
	err = errors.Join(err, file.Chown(int(f.UID), int(f.GID)), unix.Fchmod(fd, f.Mode&0o777), file.Sync(), file.Close())
	if err == nil {
		err = unix.Renameat(at, draft, at, name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", f.Path, errors.Join(err, unix.Unlinkat(at, draft, 0)))
	}
	return dir.Sync()
}

// remove takes the file away.
func (f FileState) remove() error {
	dir, err := rootFolder(filepath.Dir(f.Path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Unlinkat(int(dir.Fd()), filepath.Base(f.Path), 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove %s: %w", f.Path, err)
	}
	return dir.Sync()
}

// make makes a file that was not there. Another one of that name stays.
func (f FileState) make(text string) error {
	now, err := readState(f.Path, 0)
	switch {
	case err != nil:
		return err
	case now.Absent:
		return FileState{Path: f.Path, Mode: 0o644, Data: []byte(text)}.write()
	case hashOf(string(now.Data)) != f.Closed:
		return fmt.Errorf("%s was made by somebody else: %w", f.Path, ErrChanged)
	}
	return nil
}

// unmake takes away what make made.
func (f FileState) unmake() error {
	now, err := readState(f.Path, 0)
	switch {
	case err != nil || now.Absent:
		return err
	case hashOf(string(now.Data)) != f.Closed:
		return fmt.Errorf("%s is not as closing it left it: %w", f.Path, ErrChanged)
	}
	return now.remove()
}

// edit changes the file by closing's edit or by taking it back. The agent's own
// edits for other programs in the same file are no change by somebody else.
func (f FileState) edit(change func(text string) (string, error)) error {
	now, err := readState(f.Path, f.UID)
	if err != nil {
		return err
	}
	if now.Absent || now.Mode != f.Mode || now.UID != f.UID || now.GID != f.GID || withoutMarks(string(now.Data)) != withoutMarks(string(f.Data)) {
		return fmt.Errorf("%s is neither as it was nor as closing it left it: %w", f.Path, ErrChanged)
	}
	text, err := change(string(now.Data))
	if err != nil || text == string(now.Data) {
		return err
	}
	now.Data = []byte(text)
	return now.write()
}
