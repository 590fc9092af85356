package platform

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
)

// tableRow is one row of the tables that GetExtendedTcpTable and
// GetExtendedUdpTable return.
type tableRow struct {
	local netip.AddrPort
	pid   int
}

// tableForm says where in a row what is wanted stands, in bytes. The forms are those
// of the SDK's tcpmib.h and udpmib.h: MIB_TCPROW_OWNER_PID, MIB_TCP6ROW_OWNER_PID,
// MIB_UDPROW_OWNER_PID and MIB_UDP6ROW_OWNER_PID.
type tableForm struct {
	size, addr, length, scope, port, pid int // scope -1: none
}

var (
	tcp4Row = tableForm{size: 24, addr: 4, length: 4, scope: -1, port: 8, pid: 20}
	tcp6Row = tableForm{size: 56, addr: 0, length: 16, scope: 16, port: 20, pid: 52}
	udp4Row = tableForm{size: 12, addr: 0, length: 4, scope: -1, port: 4, pid: 8}
	udp6Row = tableForm{size: 28, addr: 0, length: 16, scope: 16, port: 20, pid: 24}
)

// readTable reads a table: the number of rows, and the rows. A port stands in
// network order in the first two bytes of its four.
func (f tableForm) readTable(data []byte) ([]tableRow, error) {
	if len(data) < 4 {
		return nil, fmt.Errorf("read table of sockets: it has only %d bytes", len(data))
	}
	n := int64(binary.LittleEndian.Uint32(data))
	rows := data[4:]
	if n*int64(f.size) > int64(len(rows)) {
		return nil, fmt.Errorf("read table of sockets: it says %d rows and has room for %d", n, len(rows)/f.size)
	}
	all := make([]tableRow, 0, n)
	for ; n > 0; n-- {
		row := rows[:f.size]
		rows = rows[f.size:]
		addr, _ := netip.AddrFromSlice(row[f.addr : f.addr+f.length])
		if f.scope >= 0 && (addr.IsLinkLocalUnicast() || addr.IsLinkLocalMulticast()) {
			if scope := binary.LittleEndian.Uint32(row[f.scope:]); scope != 0 {
				addr = addr.WithZone(strconv.FormatUint(uint64(scope), 10))
			}
		}
		all = append(all, tableRow{
			local: netip.AddrPortFrom(addr, binary.BigEndian.Uint16(row[f.port:])),
			pid:   int(binary.LittleEndian.Uint32(row[f.pid:])),
		})
	}
	return all, nil
}

// firstDynamicPort is where Windows begins to take ports for sockets that do not
// ask for one (since Vista; netsh can change it). A UDP socket above it may only
// ask somebody.
const firstDynamicPort = 49152

// servesUDP tells whether a UDP socket is taken for a service: nothing tells on
// Windows whether it asked for its port.
func servesUDP(port uint16) bool { return port != 0 && port < firstDynamicPort }

// systemPID is the process in which the kernel's own sockets are: file sharing,
// and http.sys, which serves the web for others.
const systemPID = 4

// kernelService names the service on whose behalf the kernel serves a port: "" if
// pid is not the kernel's, or it is not known.
func kernelService(pid int, p Protocol, port uint16) string {
	switch {
	case pid != systemPID:
	case p == TCP && (port == 445 || port == 139), p == UDP && (port == 137 || port == 138):
		return "LanmanServer"
	case p == TCP:
		return "HTTP"
	}
	return ""
}
