// Package sockets reads the listening sockets of a Linux network namespace
// from the kernel, and finds the processes that hold them.
//
// Reading costs the same on a busy host as on an idle one: the kernel is asked
// for listening sockets only (NETLINK_SOCK_DIAG with a state filter), so it
// never walks the table of connections. Finding holders is the dear part, since
// the kernel keeps no way back from a socket to a process; so it is done once
// for each socket, first in the control group the socket was made in.
//
// Nothing here is safe for use by two goroutines at once.
package sockets

import (
	"net/netip"
)

// The protocols a Socket can have, as in IP headers.
const (
	TCP = 6
	UDP = 17
)

// Socket is a TCP socket that listens or a UDP socket that is not connected.
type Socket struct {
	Protocol uint8 // TCP or UDP
	// V6Only is true for an IPv6 socket that takes no IPv4.
	V6Only bool
	Port   uint16
	UID    uint32 // whose socket it is
	// Interface is the index of the interface that the socket is bound to, or 0.
	Interface uint32
	// Addr is the bind address, without a zone; an IPv4 address that an IPv6
	// socket is bound to is given as IPv4.
	Addr   netip.Addr
	Inode  uint64 // as in "socket:[INODE]" under /proc/PID/fd; 0 for a socket without a file
	Cookie uint64 // never used twice in one boot
	// Cgroup is the ID of the version 2 control group of the process that made
	// the socket, or 0 on kernels before 5.8. Whoever holds the socket now may
	// be elsewhere: a service gets its socket from the service manager.
	Cgroup uint64
	// NetNS is the inode number of the network namespace, for whoever reads more
	// than one: a Reader leaves it 0.
	NetNS uint32
}
