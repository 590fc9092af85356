package platform

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxHashed bounds the size of a file that is hashed, in bytes. Executables are
// far smaller; a sparse file could be as large as somebody likes.
const maxHashed = 4 << 30

// evidenceFiles reads files of this host.
type evidenceFiles struct{}

func newFiles() Files { return evidenceFiles{} }

func (evidenceFiles) Facts(ctx context.Context, pid int, path string) (FileFacts, error) {
	f, path, err := openFacts(pid, path)
	if err != nil {
		return FileFacts{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return FileFacts{}, fmt.Errorf("look at %s: %w", path, err)
	}
	hash := sha256.New()
	n, err := io.Copy(hash, io.LimitReader(ctxReader{ctx, f}, maxHashed+1))
	if err != nil {
		return FileFacts{}, fmt.Errorf("hash %s: %w", path, err)
	}
	if n > maxHashed {
		return FileFacts{}, fmt.Errorf("hash %s: larger than %d bytes", path, int64(maxHashed))
	}
	facts := FileFacts{
		Path: path, SHA256: hex.EncodeToString(hash.Sum(nil)), Size: n,
		Mode: info.Mode().String(), ModTime: info.ModTime().UTC().Format(time.RFC3339),
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		facts.UID, facts.GID = stat.Uid, stat.Gid
	}
	return facts, nil
}

func (evidenceFiles) Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	f, err := openRegular(path, unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(ctxReader{ctx, f}, limit))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}

// openFacts opens what a process runs, whatever stands at its path by now, or
// else the file at path. It returns the path to show.
func openFacts(pid int, path string) (*os.File, string, error) {
	if pid <= 0 {
		f, err := openRegular(path, unix.O_NOFOLLOW)
		return f, path, err
	}
	link := "/proc/" + strconv.Itoa(pid) + "/exe"
	shown, err := os.Readlink(link)
	if err != nil {
		return nil, "", fmt.Errorf("find executable of process %d: %w", pid, readable(err))
	}
	f, err := openRegular(link, 0) // the kernel resolves it to the file itself, not by name
	return f, shown, err
}

// openRegular opens a regular file. What is no regular file is not even opened
// for reading: that alone can have an effect (a tape rewinds) or block (a FIFO).
func openRegular(path string, flags int) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, readable(err))
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("open %s: it is no regular file", path)
	}
	f, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(fd), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, readable(err))
	}
	return f, nil
}

// readable turns the system's errors into those of this package.
func readable(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return ErrNotPermitted
	case errors.Is(err, unix.ESRCH):
		return ErrGone
	}
	return err
}

// ctxReader ends with ctx, so that a slow file system cannot hold the agent up
// for longer than one read.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
