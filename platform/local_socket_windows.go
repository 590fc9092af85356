package platform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"sync"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"
)

// pipeAccess is what a client needs of the pipe: to read, to write, and to wait. It
// lacks FILE_CREATE_PIPE_INSTANCE, which generic writing would bring: with that,
// anybody could answer in the agent's place.
const pipeAccess = 0x0012019b

// pipeRights let the system and administrators do everything with the pipe, and
// who is logged in use it. Callers from afar are refused by go-winio
// (PIPE_REJECT_REMOTE_CLIENTS).
const pipeRights = "D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;0x0012019b;;;AU)"

func listenLocal(path string) (net.Listener, error) {
	l, err := winio.ListenPipe(path, &winio.PipeConfig{SecurityDescriptor: pipeRights})
	if errors.Is(err, fs.ErrPermission) {
		// Only the first to make a pipe may: somebody has made one of this name.
		return nil, fmt.Errorf("listen on %s: %w", path, ErrAnswers)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if !onWine() {
		return l, nil
	}
	// go-winio keeps an instance that Windows never connects to, and Wine connects
	// to first: nobody would ever answer there.
	first, err := winio.DialPipe(path, nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), l.Close())
	}
	return &primed{Listener: l, first: first}, nil
}

// primed is a listener with the connection that Wine makes to nobody.
type primed struct {
	net.Listener
	first net.Conn
	once  sync.Once
}

func (p *primed) Close() error {
	p.once.Do(func() { _ = p.first.Close() })
	return p.Listener.Close()
}

// onWine tells whether this is Wine, which has an export that says so.
func onWine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

// dialLocal connects to the pipe, and makes sure that an administrator's program
// answers there: anybody may make a pipe of that name while no agent runs.
func dialLocal(ctx context.Context, path string) (net.Conn, error) {
	c, err := winio.DialPipeAccessImpLevel(ctx, path, pipeAccess, winio.PipeImpLevelIdentification)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("connect to %s: %w", path, ErrGone)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("connect to %s: %w", path, ErrNotPermitted)
	case err != nil:
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	server, err := peerOf(c, windows.GetNamedPipeServerProcessId)
	switch {
	case errors.Is(err, ErrNotPermitted):
		return c, nil // who may not look at it is no more than it
	case err != nil:
		return nil, errors.Join(fmt.Errorf("ask who answers at %s: %w", path, err), c.Close())
	case !server.Administrator:
		return nil, errors.Join(fmt.Errorf("connect to %s: %s answers there, who is no administrator: %w", path, server, ErrNotPermitted), c.Close())
	}
	return c, nil
}

func callerOf(c net.Conn) (Caller, error) {
	caller, err := peerOf(c, windows.GetNamedPipeClientProcessId)
	if err != nil {
		return Caller{}, fmt.Errorf("ask who calls: %w", err)
	}
	return caller, nil
}

// peerOf says who is at the other end of a pipe, by the token of the process there.
func peerOf(c net.Conn, ask func(windows.Handle, *uint32) error) (Caller, error) {
	file, ok := c.(interface{ Fd() uintptr })
	if !ok {
		return Caller{}, fmt.Errorf("%T is not a named pipe", c)
	}
	var pid uint32
	if err := ask(windows.Handle(file.Fd()), &pid); err != nil {
		return Caller{}, fmt.Errorf("ask pipe for process: %w", err)
	}
	h, err := openProcess(int(pid), windows.PROCESS_QUERY_LIMITED_INFORMATION)
	if err != nil {
		return Caller{}, err
	}
	defer windows.CloseHandle(h)
	caller, err := tokenOf(h)
	caller.PID = int(pid)
	return caller, err
}

// tokenOf reads who a process is: what counts is the token that it uses, not what
// its user could become by asking (UAC).
func tokenOf(process windows.Handle) (Caller, error) {
	var token windows.Token
	if err := windows.OpenProcessToken(process, windows.TOKEN_QUERY|windows.TOKEN_DUPLICATE, &token); errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return Caller{}, fmt.Errorf("open token: %w", ErrNotPermitted)
	} else if err != nil {
		return Caller{}, fmt.Errorf("open token: %w", err)
	}
	defer token.Close()
	user, err := token.GetTokenUser()
	if err != nil {
		return Caller{}, fmt.Errorf("read token: %w", err)
	}
	c := Caller{SID: user.User.Sid.String()}
	if n := user.User.Sid.SubAuthorityCount(); n > 0 {
		c.UID = user.User.Sid.SubAuthority(uint32(n - 1))
	}
	if name, domain, _, err := user.User.Sid.LookupAccount(""); err == nil {
		c.User = domain + `\` + name
	}
	if c.Administrator, err = isAdministrator(token); err != nil {
		return Caller{}, err
	}
	groups, err := token.GetTokenGroups()
	if err != nil {
		return Caller{}, fmt.Errorf("read groups of token: %w", err)
	}
	for _, g := range groups.AllGroups() {
		if g.Attributes&windows.SE_GROUP_ENABLED == 0 || g.Attributes&windows.SE_GROUP_USE_FOR_DENY_ONLY != 0 {
			continue
		}
		if name, _, _, err := g.Sid.LookupAccount(""); err == nil {
			c.Groups = append(c.Groups, name)
		} else {
			c.Groups = append(c.Groups, g.Sid.String())
		}
	}
	return c, nil
}

// isAdministrator tells whether a token is an administrator's, or the system's,
// with the rights in use.
func isAdministrator(token windows.Token) (bool, error) {
	var copied windows.Token
	err := windows.DuplicateTokenEx(token, windows.TOKEN_QUERY, nil, windows.SecurityIdentification, windows.TokenImpersonation, &copied)
	if err != nil {
		return false, fmt.Errorf("copy token: %w", err)
	}
	defer copied.Close()
	for _, kind := range []windows.WELL_KNOWN_SID_TYPE{windows.WinBuiltinAdministratorsSid, windows.WinLocalSystemSid} {
		sid, err := windows.CreateWellKnownSid(kind)
		if err != nil {
			return false, fmt.Errorf("name administrators: %w", err)
		}
		if is, err := copied.IsMember(sid); err != nil || is {
			return is, err
		}
	}
	return false, nil
}

// remoteSession is "": sessions of Remote Desktop are not looked at yet.
func remoteSession(int) string { return "" }
