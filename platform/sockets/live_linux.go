package sockets

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Groups finds control groups by the ID that sockets carry.
type Groups struct {
	cgroups cgroups
	root    string // where the hierarchy is mounted
}

// OpenGroups returns a Groups, which finds nothing where there is no hierarchy
// of version 2.
func OpenGroups() Groups {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Groups{cgroups: cgroups{mount: -1}}
	}
	return Groups{openCgroups(mounts), cgroup2Mount(mounts)}
}

// Close frees what is kept open.
func (g Groups) Close() { g.cgroups.close() }

// Path returns the path of a control group, relative to the root of the
// hierarchy; "" if it is gone or cannot be found.
func (g Groups) Path(id uint64) string {
	if g.cgroups.mount < 0 || id == 0 {
		return ""
	}
	handle := unix.NewFileHandle(handleKernfs, binary.NativeEndian.AppendUint64(nil, id))
	dir, err := unix.OpenByHandleAt(g.cgroups.mount, handle, unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return ""
	}
	defer unix.Close(dir)
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", dir))
	if err != nil {
		return ""
	}
	inside, ok := strings.CutPrefix(path, strings.TrimSuffix(g.root, "/")+"/")
	if !ok {
		return ""
	}
	return strings.TrimSuffix(inside, " (deleted)")
}
