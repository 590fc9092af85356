package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func listenLocal(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make folder of socket: %w", err)
	}
	if err := clearStale(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, errors.Join(fmt.Errorf("open socket to everybody: %w", err), l.Close())
	}
	return l, nil
}

// clearStale removes a socket on which nobody answers.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("listen on %s: it is there and is not a socket", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		return errors.Join(fmt.Errorf("listen on %s: %w", path, ErrAnswers), c.Close())
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("ask who listens on %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	return nil
}

func dialLocal(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("connect to %s: %w", path, ErrGone)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("connect to %s: %w", path, ErrNotPermitted)
	case err != nil:
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	return c, nil
}

func callerOf(c net.Conn) (Caller, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return Caller{}, fmt.Errorf("ask who calls: %T is not a local socket", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return Caller{}, fmt.Errorf("ask who calls: %w", err)
	}
	var cred *unix.Ucred
	var groups []uint32
	var credErr, groupErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		groups, groupErr = peerGroups(int(fd))
	})
	if err := errors.Join(err, credErr, groupErr); err != nil {
		return Caller{}, fmt.Errorf("ask who calls: %w", err)
	}
	caller := Caller{PID: int(cred.Pid), UID: cred.Uid, GID: cred.Gid}
	caller.User = userName(cred.Uid)
	caller.Login = loginName(int(cred.Pid), cred.Uid)
	if !slices.Contains(groups, cred.Gid) {
		groups = append(groups, cred.Gid)
	}
	for _, g := range groups {
		caller.Groups = append(caller.Groups, groupName(g))
	}
	return caller, nil
}

// maxGroups is the kernel's NGROUPS_MAX.
const maxGroups = 65536

// peerGroups reads SO_PEERGROUPS: the supplementary groups that the peer had
// when it connected. The kernel wants a buffer that is large enough, so a small
// one is tried first.
func peerGroups(fd int) ([]uint32, error) {
	for _, size := range []int{64, maxGroups} {
		groups := make([]uint32, size)
		length := uint32(size * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&length)), 0)
		if errno == unix.ERANGE {
			continue
		}
		if errno != 0 {
			return nil, fmt.Errorf("read groups of caller: %w", errno)
		}
		return groups[:length/4], nil
	}
	return nil, fmt.Errorf("read groups of caller: more than %d", maxGroups)
}

func userName(uid uint32) string {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return ""
	}
	return u.Username
}

func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	g, err := user.LookupGroupId(id)
	if err != nil {
		return id
	}
	return g.Name
}

// loginName reads the audit login uid, which sudo and su do not change.
func loginName(pid int, uid uint32) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/loginuid", pid))
	if err != nil {
		return ""
	}
	login, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 32)
	const unset = 1<<32 - 1
	if err != nil || login == unset || uint32(login) == uid {
		return ""
	}
	return userName(uint32(login))
}

// maxParents bounds the walk to the session's first process.
const maxParents = 32

func remoteSession(pid int) string {
	for range maxParents {
		if pid <= 1 {
			return ""
		}
		if addr := remoteOf(pid); addr != "" {
			return addr
		}
		pid = parentOf(pid)
	}
	return ""
}

// remoteOf reads the client's address out of SSH_CONNECTION, "CLIENT PORT
// SERVER PORT", as sshd sets it (sshd(8)).
func remoteOf(pid int) string {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return ""
	}
	return sshClient(environ)
}

func sshClient(environ []byte) string {
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		value, ok := bytes.CutPrefix(entry, []byte("SSH_CONNECTION="))
		if !ok {
			continue
		}
		client, _, _ := strings.Cut(string(value), " ")
		if addr, err := netip.ParseAddr(client); err == nil {
			return addr.String()
		}
	}
	return ""
}

// parentOf returns the parent's pid, or 0. The process name in the second field
// of stat may itself hold spaces and parentheses, so fields count from the last
// parenthesis.
func parentOf(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	return parentIn(stat)
}

func parentIn(stat []byte) int {
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return 0
	}
	fields := bytes.Fields(stat[i+1:])
	if len(fields) < 2 {
		return 0
	}
	ppid, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return 0
	}
	return ppid
}
