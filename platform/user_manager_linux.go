package platform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// userManager is the service manager of one user, which runs as that user: all
// that it answers, and every file it reads, may be the user's invention. It is
// spoken to, and its files are changed, with the rights of the user and no more.
type userManager struct{ uid uint32 }

// maxManagerAnswer is how many bytes a user's service manager may send for one
// task.
const maxManagerAnswer = 16 << 20

// managerOf returns the service manager that a process is part of, as its control
// group tells. It returns ErrGone for a process that is part of none, or is
// another one by now.
func managerOf(id ProcessID) (userManager, error) {
	facts, err := newProcessBook().facts(id.PID)
	if err != nil {
		return userManager{}, err
	}
	if id.Start != 0 && facts.Start != id.Start {
		return userManager{}, fmt.Errorf("look at process %d: %w", id.PID, ErrGone)
	}
	cgroup, err := os.ReadFile("/proc/" + strconv.Itoa(id.PID) + "/cgroup")
	if err != nil {
		return userManager{}, fmt.Errorf("look at process %d: %w", id.PID, ErrGone)
	}
	uid, ok := managerUser(string(cgroup))
	if !ok {
		return userManager{}, fmt.Errorf("find the service manager of process %d: %w", id.PID, ErrGone)
	}
	return userManager{uid}, nil
}

// managerUser reads from a control group which user's service manager it is
// below.
func managerUser(cgroup string) (uint32, bool) {
	for part := range strings.SplitSeq(groupPath(cgroup), "/") {
		text, ok := strings.CutPrefix(part, "user@")
		if !ok {
			continue
		}
		uid, err := strconv.ParseUint(strings.TrimSuffix(text, ".service"), 10, 32)
		return uint32(uid), err == nil
	}
	return 0, false
}

func (m userManager) socket() string { return fmt.Sprintf("/run/user/%d/systemd/private", m.uid) }

// connect opens a connection for one task. It returns ErrGone if the user's
// service manager does not run: then none of its services does.
func (m userManager) connect(ctx context.Context) (*dbus.Conn, error) {
	conn, err := dbus.NewConnection(func() (*godbus.Conn, error) { return m.dial(ctx) })
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("ask service manager of user %d: %w", m.uid, ErrGone)
	case err != nil:
		return nil, fmt.Errorf("ask service manager of user %d: %w", m.uid, err)
	}
	return conn, nil
}

func (m userManager) dial(ctx context.Context) (*godbus.Conn, error) {
	line, err := dialAs(ctx, m.uid, m.socket())
	if err != nil {
		return nil, err
	}
	if err := ranBy(line, m.uid); err != nil {
		line.Close()
		return nil, err
	}
	bus, err := godbus.NewConn(&limited{line, maxManagerAnswer}, godbus.WithContext(ctx))
	if err != nil {
		line.Close()
		return nil, err
	}
	if err := bus.Auth([]godbus.Auth{godbus.AuthExternal(strconv.FormatUint(uint64(m.uid), 10))}); err != nil {
		bus.Close()
		return nil, err
	}
	return bus, nil
}

// ranBy fails if another user listens at the other end: the path could lead to
// the system's own service manager, which has units of the same names.
func ranBy(line net.Conn, uid uint32) error {
	unixLine, ok := line.(*net.UnixConn)
	if !ok {
		return errors.New("not a local socket")
	}
	raw, err := unixLine.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var asked error
	if err := raw.Control(func(fd uintptr) { peer, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if asked != nil {
		return asked
	}
	if peer.Uid != uid {
		return fmt.Errorf("user %d answers there: %w", peer.Uid, ErrNotPermitted)
	}
	return nil
}

// do runs f with the rights of the user. A home that hangs, on a server that is
// away, holds up f and not the caller.
func (m userManager) do(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go onLostThread(func() {
		if int(m.uid) != os.Geteuid() {
			if err := becomeUser(m.uid); err != nil {
				done <- err
				return
			}
		}
		done <- f()
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("change files of user %d: %w", m.uid, ctx.Err())
	}
}

// processes returns the processes that are part of a unit of the user's, lowest
// first, as the kernel knows them.
func (m userManager) processes(unit string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		dir := "/proc/" + e.Name()
		cgroup, err := os.ReadFile(dir + "/cgroup")
		if err != nil || placeIn(string(cgroup)).userUnit != unit {
			continue
		}
		uid, ok := managerUser(string(cgroup))
		if stat, err := os.ReadFile(dir + "/stat"); ok && uid == m.uid && err == nil && !hasEnded(stat) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// controlDir returns the folder of the user's files that win over all other unit
// files, as the user's service manager says.
func controlDir(conn *dbus.Conn) (string, error) {
	text, err := conn.GetManagerProperty("UnitPath")
	if err != nil {
		return "", fmt.Errorf("ask where units are: %w", err)
	}
	// ["/home/lena/.config/systemd/user.control", "/run/user/1000/systemd/...", ...]
	for part := range strings.SplitSeq(strings.Trim(text, "@as[] "), ", ") {
		dir, err := strconv.Unquote(part)
		if err == nil && filepath.IsAbs(dir) && filepath.Base(dir) == "user.control" && !strings.HasPrefix(dir, "/run/") {
			return dir, nil
		}
	}
	return "", fmt.Errorf("find the folder user.control: %w", ErrUnsupported)
}
