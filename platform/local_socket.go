package platform

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
)

// Caller is the process at the other end of a local socket, as the kernel
// vouches for it.
type Caller struct {
	PID    int
	UID    uint32
	GID    uint32
	User   string   // login name of UID; "" if it has none
	Groups []string // names of all groups it is in; the number where there is no name
	// Login is who logged in, where that is somebody else than User: the person
	// behind sudo. "" if it is the same or not known.
	Login string
	// SID is who calls on Windows, where UID is only the last part of it, and
	// Administrator whether that is one, with all rights in use. "" elsewhere.
	SID           string
	Administrator bool
}

// Root tells whether the caller may do anything on this host anyway.
func (c Caller) Root() bool {
	if c.SID != "" {
		return c.Administrator
	}
	return c.UID == 0
}

// In tells whether the caller is in the group of that name.
func (c Caller) In(group string) bool { return slices.Contains(c.Groups, group) }

// String names the caller for the history: "jd (uid 1000)".
func (c Caller) String() string {
	name := c.User
	if name == "" {
		name = "somebody"
	}
	if c.SID != "" {
		return fmt.Sprintf("%s (%s)", name, c.SID)
	}
	if c.Login != "" {
		return fmt.Sprintf("%s as %s (uid %d)", c.Login, name, c.UID)
	}
	return fmt.Sprintf("%s (uid %d)", name, c.UID)
}

// ErrAnswers says that another agent already answers on the local socket.
var ErrAnswers = errors.New("another agent answers there")

// ListenLocal listens on the local socket at path, on Windows a named pipe, for
// everybody on this host: who may do what is decided by CallerOf. A socket that a
// crash left behind is replaced; one on which somebody answers is ErrAnswers, and a path that is
// anything but a socket is left alone.
func ListenLocal(path string) (net.Listener, error) { return listenLocal(path) }

// DialLocal connects to the local socket at path. Nobody listening there is
// ErrGone.
func DialLocal(ctx context.Context, path string) (net.Conn, error) { return dialLocal(ctx, path) }

// CallerOf says who is at the other end of a connection that ListenLocal
// accepted.
func CallerOf(c net.Conn) (Caller, error) { return callerOf(c) }

// RemoteSession returns the address from which the login session of the process
// comes, or "" for a session at the computer itself. It looks through the
// parents too, because sudo and su do not pass the address on.
func RemoteSession(pid int) string { return remoteSession(pid) }
