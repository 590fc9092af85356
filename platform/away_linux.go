package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace other than the agent's own.
type namespace struct {
	id   string // "net:[4026532177]"
	path string // of a file that stands for it
	pid  int    // of a process in it; 0 if there is none
}

// confined tells whether this program is in another network namespace than the
// first process: then it isolates that part of the machine only, and the others
// are not its business. Where the first process hides its own even from root, the
// second tells, which on a machine of its own is a thread of the kernel.
func confined() (bool, error) {
	own, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return false, fmt.Errorf("read own network namespace: %w", err)
	}
	first, err := os.Readlink("/proc/1/ns/net")
	if errors.Is(err, fs.ErrPermission) {
		first, err = os.Readlink("/proc/2/ns/net")
	}
	if err != nil {
		return false, fmt.Errorf("read network namespace of the first process: %w", err)
	}
	return own != first, nil
}

// otherNamespaces lists the network namespaces of all processes that are to be
// seen, and those that are kept by a mount alone. denied tells that there are
// processes of others, whose namespaces only root sees.
func otherNamespaces(mounts []mount) (all []namespace, denied bool, err error) {
	own, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return nil, false, fmt.Errorf("read own network namespace: %w", err)
	}
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, false, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, false, err
	}
	seen := map[string]bool{own: true}
	var id [64]byte
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		n, err := unix.Readlinkat(int(proc.Fd()), name+"/ns/net", id[:])
		if err != nil {
			// The first process is in the host's own, however well it hides.
			denied = denied || pid != 1 && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM))
			continue
		}
		if !seen[string(id[:n])] {
			seen[string(id[:n])] = true
			all = append(all, namespace{id: string(id[:n]), path: "/proc/" + name + "/ns/net", pid: pid})
		}
	}
	for _, m := range mounts {
		if m.kind != "nsfs" || !strings.HasPrefix(m.root, "net:[") || m.root == own {
			continue
		}
		// A mount lasts longer than the process by which a namespace was found.
		if i := slices.IndexFunc(all, func(n namespace) bool { return n.id == m.root }); i >= 0 {
			all[i].path = m.path
		} else {
			all = append(all, namespace{id: m.root, path: m.path})
		}
	}
	return all, denied, nil
}

// away lists the interfaces in other network namespaces that wanted is true for,
// with where they are.
func away(others []namespace, mounts []mount, wanted func(linkState) bool) ([]string, error) {
	if len(others) == 0 {
		return nil, nil
	}
	var found []string
	var first error
	err := inNamespaces(others, func(n namespace, err error) {
		var all []linkState
		if err == nil {
			all, err = linksHere()
		}
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESRCH) && first == nil { // those are gone
			first = err
		}
		for _, l := range all {
			if wanted(l) {
				found = append(found, fmt.Sprintf("%s (%s)", printable(l.Name), n.name(mounts)))
			}
		}
	})
	slices.Sort(found)
	return found, errors.Join(err, first)
}

func linksHere() ([]linkState, error) {
	r, err := dialRoute()
	if err != nil {
		return nil, err
	}
	defer r.close()
	return r.links()
}

// inNamespaces calls visit in each of the namespaces, or with the reason why it
// could not be entered. The thread that goes there comes back, or ends.
func inNamespaces(all []namespace, visit func(namespace, error)) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("open own network namespace: %w", err)
			return
		}
		defer unix.Close(own)
		for _, n := range all {
			visit(n, enter(n))
		}
		if err := unix.Setns(own, unix.CLONE_NEWNET); err == nil {
			runtime.UnlockOSThread()
		}
		done <- nil
	}()
	return <-done
}

func enter(n namespace) error {
	fd, err := unix.Open(n.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	return nil
}

// name says which namespace it is, in the words of who made it: by its container
// or service, by the name it was given ("ip netns add"), else by a process.
func (n namespace) name(mounts []mount) string {
	p := place{}
	if n.pid != 0 {
		if data, err := os.ReadFile("/proc/" + strconv.Itoa(n.pid) + "/cgroup"); err == nil {
			p = placeIn(string(data))
		}
	}
	if p.container != "" {
		return "in container " + printable(p.container)
	}
	for _, m := range mounts {
		if m.kind == "nsfs" && m.root == n.id {
			return "in network namespace " + printable(path.Base(m.path))
		}
	}
	if p.unit != "" {
		return "in " + printable(p.unit)
	}
	return "with process " + strconv.Itoa(n.pid)
}
