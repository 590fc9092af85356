package bpf

import (
	"encoding/binary"
	"net/netip"
)

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
