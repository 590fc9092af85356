package sockets

import (
	"encoding/binary"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// proc reads /proc with as few system calls as it takes and without
// allocating. Package os would allocate for every name, and a search touches
// every open file of the host.
type proc struct {
	dir     int // /proc, kept open
	path    []byte
	link    [64]byte
	entries [16 << 10]byte
}

// process is one entry of a list of candidates for holding a socket.
type process struct {
	pid int32
	// inode tells two processes apart that had the same pid one after the
	// other: the directory /proc/PID of the second is another one. 0 if the
	// list does not have it.
	inode    uint64
	searched bool // its descriptors were looked through
	hidden   bool // but we may not see them
}

func openProc(path string) (*proc, error) {
	dir, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &proc{dir: dir, path: make([]byte, 0, 64)}, nil
}

func (p *proc) close() error { return unix.Close(p.dir) }

// processes appends every process there is to into, by rising pid.
func (p *proc) processes(into []process) ([]process, error) {
	if _, err := unix.Seek(p.dir, 0, unix.SEEK_SET); err != nil {
		return into, err
	}
	for {
		n, err := unix.Getdents(p.dir, p.entries[:])
		if err != nil || n == 0 {
			slices.SortFunc(into, byPID)
			return into, err
		}
		for rest := p.entries[:n]; len(rest) > 0; {
			var name []byte
			var inode uint64
			name, inode, rest = nextEntry(rest)
			if pid, ok := number(name); ok {
				into = append(into, process{pid: int32(pid), inode: inode})
			}
		}
	}
}

func byPID(a, b process) int { return int(a.pid) - int(b.pid) }

// descriptors calls visit for every socket that the process holds open, with
// its inode and its file descriptor.
func (p *proc) descriptors(pid int32, visit func(inode uint64, fd int32)) error {
	p.path = strconv.AppendInt(p.path[:0], int64(pid), 10)
	p.path = append(p.path, "/fd\x00"...)
	dir, err := openat(p.dir, p.path)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	for {
		n, err := unix.Getdents(dir, p.entries[:])
		if err != nil || n == 0 {
			return err
		}
		for rest := p.entries[:n]; len(rest) > 0; {
			var name []byte
			name, _, rest = nextEntry(rest)
			fd, ok := number(name)
			if !ok {
				continue
			}
			p.path = append(append(p.path[:0], name...), 0)
			inode, err := p.socketAt(dir)
			switch {
			case err == unix.EACCES || err == unix.EPERM:
				return err // no other descriptor of this process will do better
			case err == nil && inode != 0:
				visit(inode, int32(fd))
			}
		}
	}
}

// holds tells whether the process has that socket open under that number.
func (p *proc) holds(pid, fd int32, inode uint64) bool {
	p.path = strconv.AppendInt(p.path[:0], int64(pid), 10)
	p.path = append(p.path, "/fd/"...)
	p.path = strconv.AppendInt(p.path, int64(fd), 10)
	p.path = append(p.path, 0)
	found, err := p.socketAt(p.dir)
	return err == nil && found == inode
}

// isManager tells whether the process is a service manager: it opens sockets on
// behalf of services and keeps them open beside them.
func (p *proc) isManager(pid int32) bool {
	if pid == 1 {
		return true
	}
	p.path = strconv.AppendInt(p.path[:0], int64(pid), 10)
	p.path = append(p.path, "/comm\x00"...)
	fd, err := openat(p.dir, p.path)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, p.link[:])
	return err == nil && string(p.link[:n]) == "systemd\n"
}

// socketAt reads the symbolic link p.path below dir, and returns the inode of
// the socket it names, or 0 if it names something else.
func (p *proc) socketAt(dir int) (uint64, error) {
	n, _, errno := unix.Syscall6(unix.SYS_READLINKAT, uintptr(dir), uintptr(unsafe.Pointer(&p.path[0])),
		uintptr(unsafe.Pointer(&p.link[0])), uintptr(len(p.link)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return socketInode(p.link[:n]), nil
}

// socketInode reads "socket:[123]"; 0 is something else.
func socketInode(link []byte) uint64 {
	const prefix = "socket:["
	if len(link) <= len(prefix) || string(link[:len(prefix)]) != prefix || link[len(link)-1] != ']' {
		return 0
	}
	inode, _ := number(link[len(prefix) : len(link)-1])
	return inode
}

// nextEntry splits the first struct linux_dirent64 off b. What is malformed
// ends the list.
func nextEntry(b []byte) (name []byte, inode uint64, rest []byte) {
	const nameAt = 19
	if len(b) < nameAt {
		return nil, 0, nil
	}
	size := int(binary.NativeEndian.Uint16(b[16:]))
	if size < nameAt || size > len(b) {
		return nil, 0, nil
	}
	name = b[nameAt:size]
	if end := slices.Index(name, 0); end >= 0 {
		name = name[:end]
	}
	return name, binary.NativeEndian.Uint64(b), b[size:]
}

// number reads a decimal number without sign.
func number(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

// openat opens path, which ends in a zero byte, for reading.
func openat(dir int, path []byte) (int, error) {
	fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&path[0])),
		unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
