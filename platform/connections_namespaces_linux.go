package platform

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// reachable finds the network namespaces in which connections end with those of
// the host: each that a process or a thread is in, or that is kept by a mount. A
// namespace that is held by nothing but a socket is not found; what comes from
// there is forwarded, and that the rules cut as a whole.
// A program that is confined has to do with none of them.
func reachable() ([]namespace, []mount, error) {
	part, err := confined()
	if err != nil {
		return nil, nil, fmt.Errorf("find network namespaces: %w", err)
	}
	if part {
		return nil, nil, nil
	}
	own, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return nil, nil, fmt.Errorf("find network namespaces: %w", err)
	}
	text, err := os.ReadFile(mountsFile)
	if err != nil {
		return nil, nil, fmt.Errorf("find network namespaces: %w", err)
	}
	mounts := parseMounts(string(text))
	all, _, err := otherNamespaces(mounts)
	if err != nil {
		return nil, nil, fmt.Errorf("find network namespaces: %w", err)
	}
	known := map[string]bool{own: true}
	for _, n := range all {
		known[n.id] = true
	}
	return append(all, threadNamespaces(known)...), mounts, nil
}

// threadNamespaces finds those in which there is only a thread of a process that
// is elsewhere. Threads of this program are in some for moments, and hold
// nothing there.
func threadNamespaces(known map[string]bool) []namespace {
	processes, err := numbersIn("/proc")
	if err != nil {
		return nil
	}
	var found []namespace
	for _, pid := range processes {
		if pid == os.Getpid() {
			continue
		}
		tasks := filepath.Join("/proc", strconv.Itoa(pid), "task")
		threads, err := numbersIn(tasks)
		if err != nil || len(threads) == 1 {
			continue
		}
		for _, thread := range threads {
			path := filepath.Join(tasks, strconv.Itoa(thread), "ns/net")
			if id, err := os.Readlink(path); err == nil && !known[id] {
				known[id] = true
				found = append(found, namespace{id: id, path: path, pid: pid})
			}
		}
	}
	return found
}

// numbersIn returns the names in a directory of /proc that are numbers.
func numbersIn(dir string) ([]int, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	var out []int
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			out = append(out, n)
		}
	}
	return out, err
}
