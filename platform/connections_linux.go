package platform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/live"
	"github.com/firebreak-sec/firebreak/platform/sockets"
)

// connections ends what is connected, through socket diagnosis and connection
// tracking. It keeps nothing open between two calls.
//
// A TCP socket that was ended is gone, and its program has an error. A UDP socket
// is not: its program has the error, and may send again from it, which is a new
// flow. So a UDP socket without a peer may be found and ended by each Cut. Of
// multipath TCP every path is ended; its program hears of it when the kernel gives
// up waiting for another one, after a minute (net.mptcp.close_timeout).
type connections struct {
	// others finds the network namespaces beside the caller's own.
	others func() ([]namespace, []mount, error)
}

func newConnections() Connections { return connections{reachable} }

func (c connections) Live(ctx context.Context, iso Isolation) ([]Connection, error) {
	found, err := c.each(ctx, iso, func(r *region, out *findings) error {
		seen, err := r.look(func(*live.Socket) {})
		for _, s := range seen.ends {
			out.live = append(out.live, r.connection(s))
		}
		out.alone = append(out.alone, held{r, seen.alone})
		return err
	})
	defer found.close()
	if err == nil {
		err = found.findHolders()
	}
	if err != nil {
		return nil, fmt.Errorf("list connections: %w", explainConnections(err))
	}
	for _, h := range found.alone {
		for _, s := range h.alone {
			found.live = append(found.live, h.region.connection(s))
		}
	}
	return found.live, nil
}

func (c connections) Cut(ctx context.Context, iso Isolation) (Cut, error) {
	found, err := c.each(ctx, iso, func(r *region, out *findings) error { return r.cut(ctx, out) })
	defer found.close()
	if err == nil {
		err = found.findHolders()
	}
	for _, h := range found.alone {
		if err == nil {
			err = h.region.endAlone(h.alone, &found)
		}
	}
	slices.Sort(found.lacks)
	cut := Cut{Ended: found.ended, Flows: found.flows, Left: found.live, Lacks: slices.Compact(found.lacks)}
	if err != nil {
		return cut, fmt.Errorf("end connections: %w", explainConnections(err))
	}
	return cut, nil
}

// findings are what was seen or done in some namespaces.
type findings struct {
	live         []Connection
	alone        []held
	ended, flows int
	lacks        []string
}

// held are UDP sockets without a peer, for which it is still to be found out
// whether somebody holds them.
type held struct {
	region *region
	alone  []*live.Socket
}

func (f *findings) close() {
	for _, h := range f.alone {
		h.region.close()
	}
}

func (f *findings) add(g findings) {
	f.live, f.alone, f.lacks = append(f.live, g.live...), append(f.alone, g.alone...), append(f.lacks, g.lacks...)
	f.ended, f.flows = f.ended+g.ended, f.flows+g.flows
}

// findHolders leaves out the sockets that no process holds: those of the kernel,
// such as WireGuard's. One that is ended loses its port, and nobody would bind
// it again after the release. The kernel's own connections have no such end.
func (f *findings) findHolders() error {
	var list []sockets.Socket
	for _, h := range f.alone {
		for _, s := range h.alone {
			list = append(list, sockets.Socket{Protocol: sockets.UDP, Cookie: s.Cookie, Inode: s.Inode, Cgroup: s.Cgroup})
		}
	}
	if len(list) == 0 {
		return nil
	}
	owners, err := sockets.NewOwners()
	if err != nil {
		return err
	}
	defer owners.Close()
	if err := owners.Update(list); err != nil {
		return err
	}
	var hidden []string
	for i := range f.alone {
		f.alone[i].alone = slices.DeleteFunc(f.alone[i].alone, func(s *live.Socket) bool {
			_, holding := owners.Holders(s.Cookie)
			if holding == sockets.Hidden {
				hidden = append(hidden, strconv.Itoa(int(s.Local.Port())))
			}
			return holding != sockets.Held
		})
	}
	if len(hidden) > 0 {
		f.lacks = append(f.lacks, fmt.Sprintf("udp sockets without a peer were left open, since who holds them cannot be seen: port %s", strings.Join(hidden, ", ")))
	}
	return nil
}

// each does f in the caller's namespace, and meanwhile in all others one by one.
// A namespace that cannot be entered is a lack; an error of the caller's own
// counts. The regions of found.alone stay open.
func (c connections) each(ctx context.Context, iso Isolation, f func(*region, *findings) error) (findings, error) {
	if err := ctx.Err(); err != nil {
		return findings{}, err
	}
	var elsewhere findings
	var wait sync.WaitGroup
	others, mounts, err := c.others()
	if err != nil {
		elsewhere.lacks = append(elsewhere.lacks, "connections of containers are not ended: "+err.Error())
	}
	if len(others) > 0 {
		wait.Go(func() {
			err := inNamespaces(others, func(n namespace, err error) {
				if (err != nil && isGone(err)) || (err == nil && !isIn(n)) {
					return
				}
				name := n.name(mounts)
				if err == nil {
					err = within(ctx, iso, name, true, f, &elsewhere)
				}
				if err != nil {
					elsewhere.lacks = append(elsewhere.lacks, fmt.Sprintf("connections %s are not ended: %v", name, err))
				}
			})
			if err != nil {
				elsewhere.lacks = append(elsewhere.lacks, "connections of containers are not ended: "+err.Error())
			}
		})
	}
	var found findings
	err = within(ctx, iso, "", false, f, &found)
	wait.Wait()
	found.add(elsewhere)
	return found, err
}

// isIn tells whether the calling thread is in the namespace: the process that
// led there may have ended, and another one have its number.
func isIn(n namespace) bool {
	id, err := os.Readlink("/proc/thread-self/ns/net")
	return err == nil && id == n.id
}

// isGone tells whether a namespace could not be entered because it ended.
func isGone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) }

// within does f in the namespace of the calling thread.
func within(ctx context.Context, iso Isolation, name string, away bool, f func(*region, *findings) error, out *findings) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := openRegion(iso, name, away)
	if err != nil {
		return err
	}
	err = f(r, out)
	out.lacks = append(out.lacks, r.lacks...)
	if !slices.ContainsFunc(out.alone, func(h held) bool { return h.region == r }) {
		r.close()
	}
	return err
}

// explainConnections turns what the kernel says into what it means here.
func explainConnections(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: only root can see and end all connections (CAP_NET_ADMIN): %w", ErrNotPermitted, err)
	}
	return err
}
