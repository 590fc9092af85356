package platform

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// networkDisk is what a block device is on, if it is not in this computer.
type networkDisk struct {
	kind   string // "iscsi"
	server netip.Addr
	port   uint16
	file   string // of a loop device: the file that it shows; else ""
}

// disks finds out what block devices are on, from sysfs; each is looked at once.
type disks struct {
	sys, proc string // "/sys", "/proc"
	known     map[string][]networkDisk
}

func newDisks(sys, proc string) *disks {
	return &disks{sys: sys, proc: proc, known: map[string][]networkDisk{}}
}

// under returns what the file system of a mount is on. File systems that span
// disks (btrfs) have a device number of no disk, and name one as their source.
func (d *disks) under(m mount) []networkDisk {
	device := m.device
	if strings.HasPrefix(device, "0:") {
		if !strings.HasPrefix(m.source, "/dev/") {
			return nil
		}
		if device = deviceOf(m.source); device == "" {
			return nil
		}
	}
	return d.find(device, 8)
}

// deviceOf returns the number of the block device at a path, or "".
func deviceOf(name string) string {
	var s syscall.Stat_t
	if syscall.Stat(name, &s) != nil || s.Mode&syscall.S_IFMT != syscall.S_IFBLK {
		return ""
	}
	return strconv.FormatUint(uint64(unix.Major(s.Rdev)), 10) + ":" + strconv.FormatUint(uint64(unix.Minor(s.Rdev)), 10)
}

// find looks at a device, and at those below it down to depth: a logical volume
// is on disks, and an encrypted one on that.
func (d *disks) find(device string, depth int) []networkDisk {
	if found, ok := d.known[device]; ok || depth == 0 {
		return found
	}
	d.known[device] = nil // should it be below itself
	place, err := filepath.EvalSymlinks(filepath.Join(d.sys, "dev/block", device))
	if err != nil {
		return nil
	}
	found := d.look(place)
	slaves, _ := filepath.Glob(filepath.Join(place, "slaves", "*", "dev"))
	for _, slave := range slaves {
		found = append(found, d.find(d.text(slave), depth-1)...)
	}
	d.known[device] = found
	return found
}

// look judges one disk, or the disk of a partition, by its place in sysfs.
func (d *disks) look(place string) []networkDisk {
	disk := place
	if _, err := os.Stat(filepath.Join(place, "partition")); err == nil {
		disk = filepath.Dir(place)
	}
	name := filepath.Base(disk)
	switch {
	case strings.HasPrefix(name, "loop"):
		if file := d.text(filepath.Join(disk, "loop/backing_file")); file != "" {
			return []networkDisk{{kind: "loop", file: strings.TrimSuffix(file, " (deleted)")}}
		}
		return nil
	case strings.HasPrefix(name, "nbd"):
		pid := d.text(filepath.Join(disk, "pid"))
		if pid == "" {
			return nil // set up by nobody: every host has some
		}
		server, port := parseNBD(d.text(filepath.Join(d.proc, pid, "cmdline")))
		return []networkDisk{{kind: "nbd", server: server, port: port}}
	case strings.HasPrefix(name, "rbd"): // on the many servers of a ceph cluster
		return []networkDisk{{kind: "rbd"}}
	case strings.HasPrefix(name, "drbd"):
		return []networkDisk{{kind: "drbd"}}
	case strings.HasPrefix(name, "etherd"):
		return []networkDisk{{kind: "aoe"}}
	case strings.HasPrefix(name, "nvme"):
		return d.lookAtNVMe(disk)
	case strings.Contains(place, "/ctlr_"):
		return []networkDisk{{kind: "fcoe"}}
	}
	if session := partNamed(place, "session"); session != "" {
		return d.lookAtISCSI(session)
	}
	return nil
}

// lookAtISCSI asks for the connections of the session that a disk is reached by.
func (d *disks) lookAtISCSI(session string) []networkDisk {
	number := strings.TrimPrefix(session, "session")
	connections, _ := filepath.Glob(filepath.Join(d.sys, "class/iscsi_connection", "connection"+number+":*"))
	var found []networkDisk
	for _, c := range connections {
		server := addressIn(d.text(filepath.Join(c, "persistent_address")))
		if !server.IsValid() {
			server = addressIn(d.text(filepath.Join(c, "address")))
		}
		found = append(found, networkDisk{kind: "iscsi", server: server, port: portIn(d.text(filepath.Join(c, "persistent_port")))})
	}
	if found == nil {
		found = []networkDisk{{kind: "iscsi"}}
	}
	return found
}

// lookAtNVMe tells disks behind NVMe over Fabrics from those in a slot. A disk
// with several ways to it hangs on a subsystem that has a link to each of them.
func (d *disks) lookAtNVMe(disk string) []networkDisk {
	controllers, _ := filepath.Glob(filepath.Join(filepath.Dir(disk), "nvme*"))
	controllers = append(controllers, filepath.Dir(disk))
	var found []networkDisk
	for _, c := range controllers {
		switch transport := d.text(filepath.Join(c, "transport")); transport {
		case "tcp", "rdma":
			address := map[string]string{}
			for _, f := range strings.Split(d.text(filepath.Join(c, "address")), ",") {
				name, value, _ := strings.Cut(f, "=")
				address[name] = value
			}
			found = append(found, networkDisk{kind: "nvme-" + transport, server: addressIn(address["traddr"]), port: portIn(address["trsvcid"])})
		}
	}
	return found
}

// parseNBD finds the server in the command line of nbd-client, whose words end
// with a zero byte each. A device that another program set up has none.
func parseNBD(cmdline string) (netip.Addr, uint16) {
	words := strings.Split(cmdline, "\x00")
	for i, word := range words {
		if server := addressIn(word); server.IsValid() {
			port := uint16(10809) // what IANA gave it
			if i+1 < len(words) && portIn(words[i+1]) != 0 {
				port = portIn(words[i+1])
			}
			return server, port
		}
	}
	return netip.Addr{}, 0
}

// partNamed returns the first part of a path that is the word and a number.
func partNamed(place, word string) string {
	for _, part := range strings.Split(place, "/") {
		if number, ok := strings.CutPrefix(part, word); ok {
			if _, err := strconv.ParseUint(number, 10, 32); err == nil {
				return part
			}
		}
	}
	return ""
}

// text returns what a small file holds; "" if it cannot be read.
func (d *disks) text(name string) string {
	data, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
