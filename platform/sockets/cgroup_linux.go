package sockets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// cgroups opens control groups by their ID, without a walk through the tree.
type cgroups struct {
	mount int // the root of the version 2 hierarchy, or -1
}

// handleKernfs is the type of a file handle that is a kernfs ID
// (FILEID_KERNFS in linux/exportfs.h): the ID of the control group itself.
const handleKernfs = 0xfe

// rootCgroup is the ID of the root of the hierarchy. Whoever is there is in no
// service, so it is no guide to anybody.
const rootCgroup = 1

var errNoGuide = errors.New("no control group to search")

func openCgroups(mountinfo []byte) cgroups {
	path := cgroup2Mount(mountinfo)
	if path == "" {
		return cgroups{mount: -1}
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return cgroups{mount: -1}
	}
	return cgroups{mount: fd}
}

func (c cgroups) close() {
	if c.mount >= 0 {
		unix.Close(c.mount)
	}
}

// open opens the file that lists the processes of a control group; read from
// its start again, it tells who is there now. The error says that this control
// group is no guide: gone, without privilege, or an old kernel.
func (c cgroups) open(id uint64) (int, error) {
	if c.mount < 0 || id == 0 || id == rootCgroup {
		return -1, errNoGuide
	}
	handle := unix.NewFileHandle(handleKernfs, binary.NativeEndian.AppendUint64(nil, id))
	dir, err := unix.OpenByHandleAt(c.mount, handle, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	return unix.Openat(dir, "cgroup.procs", unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// members appends the processes of a control group to into, by rising pid.
func members(list int, buffer []byte, into []process) ([]process, error) {
	var line int // length of an unfinished line at the start of buffer
	for offset := int64(0); ; {
		n, err := unix.Pread(list, buffer[line:], offset)
		if err != nil {
			return into, err
		}
		if n == 0 {
			slices.SortFunc(into, byPID)
			return into, nil
		}
		offset += int64(n)
		rest := buffer[:line+n]
		for {
			end := bytes.IndexByte(rest, '\n')
			if end < 0 {
				break
			}
			// 0 is a process that is in the group but not in our pid namespace.
			if pid, ok := number(rest[:end]); ok && pid > 0 {
				into = append(into, process{pid: int32(pid)})
			}
			rest = rest[end+1:]
		}
		line = copy(buffer, rest)
		if line == len(buffer) {
			return into, errMalformed
		}
	}
}

// cgroup2Mount finds the first mount of the version 2 hierarchy in the text of
// /proc/self/mountinfo: /sys/fs/cgroup, or .../unified on a hybrid host.
func cgroup2Mount(mountinfo []byte) string {
	for line := range bytes.Lines(mountinfo) {
		before, after, ok := bytes.Cut(line, []byte(" - "))
		if !ok || !bytes.HasPrefix(after, []byte("cgroup2 ")) {
			continue
		}
		if fields := bytes.Fields(before); len(fields) >= 5 {
			return unescape(string(fields[4]))
		}
	}
	return ""
}

// unescape undoes the \040 for a blank, and the like, in mountinfo.
func unescape(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out = append(out, byte(c))
				i += 3
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}
