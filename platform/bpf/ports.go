package bpf

import "net/netip"

// PortChange says what became of a port.
type PortChange uint8

// What can become of a port. Binding is told of UDP alone, where a program asked
// for the port by its number: one that takes what the kernel hands out is not told
// of.
const (
	Listens  PortChange = 1 + iota // a TCP socket begins to listen
	Ceased                         // it ceased to
	Bound                          // a UDP socket is about to be bound
	Released                       // a UDP socket of which it was told was closed
)

// PortEvent is one change of a port. The kernel tells of it just before it comes
// about: whoever looks at once may still see it as it was.
type PortEvent struct {
	Change  PortChange
	TCP     bool // else UDP
	Port    uint16
	Cookie  uint64     // the kernel's name for the socket; 0 if this kernel does not tell
	PID     int        // of the process, if it is in the pid namespace of the reader; else 0
	UID     uint32     // of the process, as the kernel numbers users
	NetNS   uint32     // inode of the network namespace; 0 if this kernel does not tell
	Address netip.Addr // the bind address; the zero Addr if it was not told
}
