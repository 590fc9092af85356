package platform

import (
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

// mount is one line of /proc/self/mountinfo.
type mount struct {
	device  string // "8:1"; "0:N" if it is on no disk of its own
	root    string // what of the file system is mounted: "/", "net:[4026532177]"
	path    string
	kind    string
	source  string
	options map[string]string // of the file system itself
}

// parseMounts reads mountinfo (proc_pid_mountinfo(5)). Lines that are no mounts
// are left out.
func parseMounts(text string) []mount {
	var all []mount
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		f, g := strings.Split(before, " "), strings.SplitN(after, " ", 3)
		if !ok || len(f) < 6 || len(g) < 3 {
			continue
		}
		m := mount{
			device: f[2], root: unescapeMount(f[3]), path: unescapeMount(f[4]),
			kind: g[0], source: unescapeMount(g[1]), options: map[string]string{},
		}
		for _, option := range strings.Split(g[2], ",") {
			name, value, _ := strings.Cut(option, "=")
			m.options[name] = unescapeMount(value)
		}
		all = append(all, m)
	}
	return all
}

// unescapeMount undoes the \040 for a space, and the like.
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// networkMounts returns the mounts that need the network: those of network file
// systems, those on disks that disks says are on a server, and what lies upon
// either of them (an overlay, an image file).
func networkMounts(all []mount, disks func(m mount) []networkDisk) []NetworkMount {
	var found []NetworkMount
	add := func(n NetworkMount) bool {
		if slices.Contains(found, n) {
			return false
		}
		found = append(found, n)
		return true
	}
	direct := map[string][]NetworkMount{} // by path; the last mount there counts
	for _, m := range all {
		direct[m.path] = nil
		if kind, ok := networkKind(m); ok {
			server, port := serverOf(m)
			direct[m.path] = []NetworkMount{{Path: m.path, Kind: kind, Server: server, Port: port}}
		}
		for _, d := range disks(m) {
			if d.file != "" {
				continue
			}
			direct[m.path] = append(direct[m.path], NetworkMount{Path: m.path, Kind: d.kind, Server: d.server, Port: d.port})
		}
		for _, n := range direct[m.path] {
			add(n)
		}
	}
	for range 4 { // an overlay on an image file on NFS takes two
		before := len(found)
		for _, m := range all {
			for _, below := range lies(m, disks) {
				for _, n := range direct[mountOf(direct, below)] {
					n.Path = m.path
					if add(n) {
						direct[m.path] = append(direct[m.path], n)
					}
				}
			}
		}
		if len(found) == before {
			break
		}
	}
	return found
}

// lies returns the paths that a mount lies upon: the layers of an overlay, the
// image file behind a loop device.
func lies(m mount, disks func(mount) []networkDisk) []string {
	var paths []string
	if m.kind == "overlay" {
		layers := append(strings.Split(m.options["lowerdir"], ":"), m.options["upperdir"], m.options["lowerdir+"], m.options["datadir+"])
		for _, layer := range layers {
			if path.IsAbs(layer) {
				paths = append(paths, layer)
			}
		}
	}
	for _, d := range disks(m) {
		if d.file != "" {
			paths = append(paths, d.file)
		}
	}
	return paths
}

// mountOf returns where the file system is mounted that a path is on.
func mountOf(mounts map[string][]NetworkMount, name string) string {
	for name = path.Clean(name); ; name = path.Dir(name) {
		if _, ok := mounts[name]; ok || name == "/" || name == "." {
			return name
		}
	}
}

// networkKind tells whether a mount is of a file system on servers. Cluster file
// systems on a shared disk (gfs2, ocfs2) are: they stop when the other hosts
// cannot be asked for a lock.
func networkKind(m mount) (string, bool) {
	kind := strings.TrimPrefix(m.kind, "fuse.")
	switch kind {
	case "nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "ceph", "afs", "coda", "lustre",
		"gfs2", "ocfs2", "beegfs", "gpfs", "orangefs", "pvfs2", "panfs", "glusterfs",
		"sshfs", "davfs", "davfs2", "rclone", "s3fs", "goofys", "gcsfuse", "blobfuse", "blobfuse2",
		"curlftpfs", "juicefs", "seaweedfs", "mfs", "moosefs", "cvmfs2", "ceph-fuse", "cephfs", "smbnetfs":
		return kind, true
	case "9p": // over virtio it is the host of a virtual machine, not the network
		_, tcp := m.options["port"]
		return kind, m.options["trans"] == "tcp" || m.options["trans"] == "rdma" || tcp
	}
	return "", false
}

// serverOf returns the address and port of the server of a network file system.
// Names are not resolved: that could hang on the very network that is to be cut.
// File systems that are spread over many servers (ceph, lustre, glusterfs) name
// the one that was asked first only, with which alone they would hang too; so
// theirs is not known.
func serverOf(m mount) (netip.Addr, uint16) {
	kind := strings.TrimPrefix(m.kind, "fuse.")
	port := portIn(m.options["port"])
	switch kind {
	case "nfs", "nfs4":
		server := addressIn(m.options["addr"])
		if !server.IsValid() {
			server = hostOf(m.source)
		}
		if kind == "nfs" {
			return server, 0 // version 3 needs the port mapper's ports too
		}
		if port == 0 {
			port = 2049 // what the kernel takes
		}
		return server, port
	case "cifs", "smb3", "smbfs":
		if server := addressIn(m.options["addr"]); server.IsValid() {
			return server, port
		}
		return addressIn(strings.Split(strings.TrimLeft(m.source, `/\`)+"/", "/")[0]), port
	case "9p":
		if port == 0 {
			port = 564 // P9_PORT
		}
		return addressIn(m.source), port
	case "sshfs":
		_, host, ok := strings.Cut(m.source, "@")
		if !ok {
			host = m.source
		}
		return hostOf(host), 0
	}
	return netip.Addr{}, 0
}

// hostOf returns the address in "192.0.2.1:/export" or "[2001:db8::1]:/export".
func hostOf(source string) netip.Addr {
	if i := strings.LastIndex(source, ":/"); i >= 0 {
		return addressIn(source[:i])
	}
	host, _, _ := strings.Cut(source, ":")
	return addressIn(host)
}

// addressIn returns the address, or one that is not valid for a name.
func addressIn(s string) netip.Addr {
	a, _ := netip.ParseAddr(strings.Trim(s, "[]"))
	return a.Unmap()
}

func portIn(s string) uint16 {
	n, _ := strconv.ParseUint(s, 10, 16)
	return uint16(n)
}
