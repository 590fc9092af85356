package bpf

import (
	"encoding/binary"
	"net/netip"
)

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

// The layout of what the programs tell. The address is in the order of the
// network, all else in the host's.
const (
	portCookie  = 0
	portPID     = 8
	portUID     = 12
	portNetNS   = 16
	portPort    = 20
	portChange  = 22
	portTCP     = 23
	portFamily  = 24
	portAddress = 28
	portSize    = 48
)

// familyV4 and familyV6 are AF_INET and AF_INET6.
const (
	familyV4 = 2
	familyV6 = 10
)

// parsePort reads what a program told; ok is false if it is cut short.
func parsePort(b []byte) (e PortEvent, ok bool) {
	if len(b) < portSize {
		return PortEvent{}, false
	}
	n := binary.NativeEndian
	e = PortEvent{
		Change: PortChange(b[portChange]), TCP: b[portTCP] != 0, Port: n.Uint16(b[portPort:]),
		Cookie: n.Uint64(b[portCookie:]), PID: int(n.Uint32(b[portPID:])),
		UID: n.Uint32(b[portUID:]), NetNS: n.Uint32(b[portNetNS:]),
	}
	switch n.Uint16(b[portFamily:]) {
	case familyV4:
		e.Address = netip.AddrFrom4([4]byte(b[portAddress:]))
	case familyV6:
		e.Address = netip.AddrFrom16([16]byte(b[portAddress:])).Unmap()
	}
	return e, true
}
