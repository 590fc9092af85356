// Package packages tells which package brought a file to this host. It reads
// dpkg's own database; on hosts without dpkg no file has a known package.
package packages

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Index answers for the packages of one file system. It remembers answers
// until the database changes, and is not safe for use by two goroutines at once.
type Index struct {
	dir     string // of dpkg's database
	changed time.Time
	known   map[string]string // by path of a file; "" is a file of no package
}

// New returns an index of the packages installed below root, "" being this host.
func New(root string) *Index {
	return &Index{dir: filepath.Join("/", root, "var/lib/dpkg"), known: map[string]string{}}
}

// Owners returns for each path of a file the package that brought it, as name
// and version, "samba 2:4.17.12"; a path without a package is not in the answer.
// All paths that are not known yet cost one pass through the database, some 10
// ms per 10 MB of it.
func (x *Index) Owners(paths []string) map[string]string {
	x.notice()
	var unknown []string
	for _, p := range paths {
		if _, ok := x.known[p]; !ok && filepath.IsAbs(p) {
			unknown = append(unknown, p)
		}
	}
	if len(unknown) > 0 {
		x.learn(unknown)
	}
	found := map[string]string{}
	for _, p := range paths {
		if x.known[p] != "" {
			found[p] = x.known[p]
		}
	}
	return found
}

// notice forgets everything when a package was installed or removed since.
func (x *Index) notice() {
	var changed time.Time
	if info, err := os.Stat(filepath.Join(x.dir, "status")); err == nil {
		changed = info.ModTime()
	}
	if !changed.Equal(x.changed) {
		x.changed = changed
		clear(x.known)
	}
}

// learn finds the packages of paths. What is not found is remembered as well.
func (x *Index) learn(paths []string) {
	wanted := map[string][]string{} // by how a list may spell it
	for _, p := range paths {
		x.known[p] = ""
		for _, spelled := range spellings(p) {
			wanted[spelled] = append(wanted[spelled], p)
		}
	}
	lists, err := filepath.Glob(filepath.Join(x.dir, "info", "*.list"))
	if err != nil || x.changed.IsZero() {
		return
	}
	owner := map[string]string{} // package, as its list is named, by path
	var buffer []byte
	for _, list := range lists {
		if len(owner) == len(paths) {
			break
		}
		if buffer, err = readInto(buffer, list); err != nil {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(list), ".list")
		eachListed(buffer, wanted, func(path string) { owner[path] = name })
	}
	if len(owner) == 0 {
		return
	}
	status, err := os.ReadFile(filepath.Join(x.dir, "status"))
	if err != nil {
		return
	}
	for path, list := range owner {
		name, arch, _ := strings.Cut(list, ":")
		x.known[path] = name
		if version := versionIn(status, name, arch); version != "" {
			x.known[path] += " " + version
		}
	}
}

// spellings returns path as packages may have it: those from before /usr was
// merged say /sbin/x for what is now /usr/sbin/x.
func spellings(path string) []string {
	if short, ok := strings.CutPrefix(path, "/usr"); ok && inMerged(short) {
		return []string{path, short}
	}
	if inMerged(path) {
		return []string{path, "/usr" + path}
	}
	return []string{path}
}

func inMerged(path string) bool {
	for _, dir := range []string{"/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/"} {
		if strings.HasPrefix(path, dir) {
			return true
		}
	}
	return false
}

// eachListed calls found with what is wanted of every line of a list.
func eachListed(list []byte, wanted map[string][]string, found func(path string)) {
	for len(list) > 0 {
		line := list
		if end := bytes.IndexByte(list, '\n'); end >= 0 {
			line, list = list[:end], list[end+1:]
		} else {
			list = nil
		}
		for _, path := range wanted[string(line)] {
			found(path)
		}
	}
}

// versionIn finds the version of an installed package in the text of dpkg's
// status file; arch "" is any. It returns "" if it is not there.
func versionIn(status []byte, name, arch string) string {
	heading := []byte("Package: " + name + "\n")
	for len(status) > 0 {
		at := bytes.Index(status, heading)
		if at < 0 {
			return ""
		}
		begins := at == 0 || (at >= 2 && status[at-1] == '\n' && status[at-2] == '\n')
		stanza := status[at:]
		if end := bytes.Index(stanza, []byte("\n\n")); end >= 0 {
			stanza = stanza[:end+1]
		}
		status = status[at+len(heading):]
		if !begins || !strings.HasSuffix(fieldIn(stanza, "Status"), " installed") {
			continue
		}
		if arch == "" || fieldIn(stanza, "Architecture") == arch {
			return fieldIn(stanza, "Version")
		}
	}
	return ""
}

// fieldIn returns the first line of a field of a stanza.
func fieldIn(stanza []byte, name string) string {
	_, after, found := bytes.Cut(stanza, []byte("\n"+name+": "))
	if !found {
		return ""
	}
	value, _, _ := bytes.Cut(after, []byte("\n"))
	return strings.TrimSpace(string(value))
}

// readInto reads a file into buffer, which grows as needed.
func readInto(buffer []byte, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return buffer, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return buffer, err
	}
	if size := int(info.Size()); cap(buffer) < size {
		buffer = make([]byte, size+size/2)
	}
	n, err := f.ReadAt(buffer[:min(int(info.Size()), cap(buffer))], 0)
	if n == int(info.Size()) {
		err = nil
	}
	return buffer[:n], err
}
