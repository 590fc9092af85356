package localapi

import (
	"context"
	"net"
	"sync"

	"github.com/firebreak-sec/firebreak/platform"
)

// maxPerUser is how many connections one user may hold, so that nobody can keep
// the helpdesk from asking. Root is not counted.
const maxPerUser = 16

// guard is a listener that knows who calls, and hangs up on who cannot be told
// or calls too often.
type guard struct {
	net.Listener
	mu   sync.Mutex
	open map[uint32]int // by uid
}

// knownConn is a connection whose other end is known.
type knownConn struct {
	net.Conn
	caller platform.Caller
	gone   func()
	once   sync.Once
}

func (c *knownConn) Close() error {
	c.once.Do(c.gone)
	return c.Conn.Close()
}

// Accept returns the next connection that may stay.
func (g *guard) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		caller, err := platform.CallerOf(c)
		if err != nil || !g.enter(caller) {
			_ = c.Close()
			continue
		}
		return &knownConn{Conn: c, caller: caller, gone: func() { g.leave(caller) }}, nil
	}
}

func (g *guard) enter(c platform.Caller) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !c.Root() && g.open[c.UID] >= maxPerUser {
		return false
	}
	g.open[c.UID]++
	return true
}

func (g *guard) leave(c platform.Caller) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[c.UID]--; g.open[c.UID] == 0 {
		delete(g.open, c.UID)
	}
}

type callerKey struct{}

func withCaller(ctx context.Context, c net.Conn) context.Context {
	known, ok := c.(*knownConn)
	if !ok {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, known.caller)
}

func callerIn(ctx context.Context) (platform.Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(platform.Caller)
	return c, ok
}
