package platform

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/bpf"
)

// compileBinds says the rules in what the kernel can compare. A rule of which an
// exception cannot be said so is a BindError.
func compileBinds(rules []BindRule) (bpf.Deny, error) {
	var d bpf.Deny
	cookie, err := netnsCookie()
	if err != nil {
		return d, err
	}
	root, err := findGroupRoot()
	if err != nil {
		return d, fmt.Errorf("keep programs from opening ports: %w: %w", ErrUnsupported, err)
	}
	id, ok := groupID(root)
	if !ok {
		return d, fmt.Errorf("keep programs from opening ports: read the number of %s", root)
	}
	var space unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &space); err != nil {
		return d, fmt.Errorf("keep programs from opening ports: %w", err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return d, fmt.Errorf("keep programs from opening ports: %w", err)
	}
	var users userNames
	users.refresh()
	d = bpf.Deny{Cookie: cookie, Root: id, PIDNamespace: uint32(space.Ino)}
	for _, r := range rules {
		span := bpf.DeniedSpan{Protocol: unix.IPPROTO_TCP, First: r.First, Last: r.Last}
		if r.Protocol == UDP {
			span.Protocol = unix.IPPROTO_UDP
		}
		for _, e := range r.Except {
			p, err := compileException(e, parseMounts(string(mounts)), users.names)
			if err != nil {
				return d, &BindError{Rule: r, Why: err}
			}
			span.Except = append(span.Except, p)
		}
		d.Ports = append(d.Ports, span)
	}
	return d, nil
}

func compileException(e BindException, mounts []mount, users map[uint32]string) (bpf.Pass, error) {
	p := bpf.Pass{Unit: e.Unit}
	if e == (BindException{}) {
		return p, fmt.Errorf("an exception names nobody")
	}
	if e.User != "" {
		uid, err := userNumber(e.User, users)
		if err != nil {
			return p, err
		}
		p.UID = &uid
	}
	if e.Exe != "" {
		exe, err := placeInMount(resolved(e.Exe), mounts)
		if err != nil {
			return p, err
		}
		p.Exe = &exe
	}
	return p, p.Check()
}

// userNumber returns the number of a local account, which may be given itself for
// one that has no name here.
func userNumber(name string, users map[uint32]string) (uint32, error) {
	for uid, known := range users {
		if known == name {
			return uid, nil
		}
	}
	if uid, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(uid), nil
	}
	return 0, fmt.Errorf("the account %s is not known on this computer", name)
}

// resolved follows symbolic links, as far as there is something.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil || path == "/" {
		return real
	}
	return filepath.Join(resolved(filepath.Dir(path)), filepath.Base(path))
}

// placeInMount returns where a path is in its file system.
func placeInMount(path string, mounts []mount) (bpf.Exe, error) {
	var at *mount
	for i, m := range mounts {
		// Of several at one place the last one covers the others.
		if _, in := below(path, m.path); in && (at == nil || len(m.path) >= len(at.path)) {
			at = &mounts[i]
		}
	}
	if at == nil {
		return bpf.Exe{}, fmt.Errorf("the file system of %s is not known", path)
	}
	device, err := deviceNumber(at.device)
	if err != nil {
		return bpf.Exe{}, fmt.Errorf("the file system of %s is not known: %w", path, err)
	}
	rest, _ := below(path, at.path)
	return bpf.Exe{Device: device, Path: filepath.Join(at.root, rest)}, nil
}

// below returns the part of a path below a folder.
func below(path, folder string) (string, bool) {
	if folder == "/" {
		return path, strings.HasPrefix(path, "/")
	}
	rest, ok := strings.CutPrefix(path, folder)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// deviceNumber reads "8:1" as the kernel itself writes it in 32 bits.
func deviceNumber(text string) (uint32, error) {
	before, after, _ := strings.Cut(text, ":")
	major, err := strconv.ParseUint(before, 10, 12)
	if err != nil {
		return 0, err
	}
	minor, err := strconv.ParseUint(after, 10, 20)
	return uint32(major)<<20 | uint32(minor), err
}

// pathInMounts is the inverse of placeInMount: what this host calls a place in a
// file system. A name under which there is something comes first. "" if the file
// system is not mounted here.
func pathInMounts(exe bpf.Exe, mounts []mount) string {
	var found []string
	for _, m := range mounts {
		device, err := deviceNumber(m.device)
		rest, in := below(exe.Path, m.root)
		if err == nil && device == exe.Device && in {
			found = append(found, filepath.Join(m.path, rest))
		}
	}
	there := slices.IndexFunc(found, func(path string) bool {
		_, err := os.Lstat(path)
		return err == nil
	})
	switch {
	case there >= 0:
		return found[there]
	case len(found) > 0:
		return found[0]
	}
	return ""
}

// netnsCookie is the kernel's name for the network namespace of this thread.
func netnsCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("ask for the network namespace: %w", err)
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("ask for the network namespace: %w: %w", ErrUnsupported, err)
	}
	return cookie, nil
}
