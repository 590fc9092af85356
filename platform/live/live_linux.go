package live

import "net/netip"

// Batch is how many changes are sent in one call; they fit in the kernel's default
// send buffer.
const Batch = 400

const idSize = 48 // struct inet_diag_sockid

// Socket is a TCP or UDP socket.
type Socket struct {
	Protocol uint8
	State    uint8
	// Local and Remote have no zone, and are IPv4 where an IPv6 socket speaks
	// IPv4. Remote is unspecified for a socket without a peer.
	Local, Remote netip.AddrPort
	UID           uint32 // 0 for what no process has any more
	Inode         uint64
	Cookie        uint64 // never used twice in one boot
	Cgroup        uint64 // the ID of the control group of its maker; 0 before Linux 5.8

	family uint8
	id     [idSize]byte // struct inet_diag_sockid, as the kernel gave it
}

// Flow is an entry of connection tracking. Ports are 0 for what has none.
type Flow struct {
	Protocol        uint8
	Original, Reply Tuple
	Mark            uint32

	family   uint8
	identity []byte // the attributes that name the entry, as the kernel gave them
}
