package platform

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"
)

// mountRest is how long mounts may go on changing before they are looked at:
// what starts a container makes a dozen.
const mountRest = 50 * time.Millisecond

// mountSource waits until what is mounted changes, which the kernel tells to who
// polls its list. That is also how network namespaces with a name are seen ("ip
// netns add", container engines): they are kept by a mount each.
func mountSource(context.Context) (source, error) {
	f, err := os.Open(mountsFile)
	if err != nil {
		return nil, fmt.Errorf("watch mounts: %w", err)
	}
	line, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("watch mounts: %w", err)
	}
	before, err := notableMounts(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return func(ctx context.Context, say func(Part, string)) {
		stop := context.AfterFunc(ctx, func() { f.Close() })
		defer stop()
		for {
			// The list can always be read; what it waits for is the edge.
			waited := false
			err := line.Read(func(uintptr) bool {
				again := waited
				waited = true
				return again
			})
			if err != nil {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(mountRest):
			}
			now, err := notableMounts(f)
			if err != nil {
				return
			}
			for name, what := range now {
				if _, ok := before[name]; !ok {
					say(PartNetwork, what+" appeared")
				}
			}
			for name, what := range before {
				if _, ok := now[name]; !ok {
					say(PartNetwork, what+" is gone")
				}
			}
			before = now
		}
	}, nil
}

// notableMounts returns those mounts that isolating the host may depend on, with
// what to call them, and the network namespaces that are kept by one.
func notableMounts(f *os.File) (map[string]string, error) {
	var text strings.Builder
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	if _, err := io.Copy(&text, f); err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	notable := map[string]string{}
	for _, m := range parseMounts(text.String()) {
		_, network := networkKind(m)
		switch {
		case m.kind == "nsfs" && strings.HasPrefix(m.root, "net:["):
			notable[m.root] = "network namespace " + printable(path.Base(m.path))
		case network, !strings.HasPrefix(m.device, "0:"):
			notable[m.device+" "+m.path] = "mount " + printable(m.path)
		}
	}
	return notable, nil
}
