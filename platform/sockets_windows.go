package platform

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// What x/sys lacks of iphlpapi.dll. Both are in every Windows since XP SP2.
var (
	iphlpapi            = windows.NewLazySystemDLL("iphlpapi.dll")
	getExtendedTCPTable = iphlpapi.NewProc("GetExtendedTcpTable")
	getExtendedUDPTable = iphlpapi.NewProc("GetExtendedUdpTable")
)

// Classes of tables: TCP_TABLE_OWNER_PID_LISTENER and UDP_TABLE_OWNER_PID.
const (
	tcpListeners = 3
	udpSockets   = 1
)

// socketTable asks for one table of sockets. It grows between the question for its
// size and the one for itself: then it is asked again.
func socketTable(proc *windows.LazyProc, family, class uint32) ([]byte, error) {
	if err := proc.Find(); err != nil {
		return nil, fmt.Errorf("find %s: %w", proc.Name, err)
	}
	size := uint32(16 << 10)
	for range 8 {
		table := make([]byte, size)
		code, _, _ := proc.Call(uintptr(unsafe.Pointer(&table[0])), uintptr(unsafe.Pointer(&size)), 0, uintptr(family), uintptr(class), 0)
		switch syscall.Errno(code) {
		case 0:
			return table, nil
		case windows.ERROR_INSUFFICIENT_BUFFER:
			size += 4 << 10
		default:
			return nil, fmt.Errorf("ask for sockets: %s: %w", proc.Name, syscall.Errno(code))
		}
	}
	return nil, fmt.Errorf("ask for sockets: %s: the table grows faster than it is read", proc.Name)
}

// readListeners returns all TCP listeners, and the UDP sockets that are taken for
// services, with the pids that hold them.
func readListeners() ([]Listener, error) {
	var all []Listener
	for _, table := range []struct {
		proc     *windows.LazyProc
		protocol Protocol
		family   uint32
		class    uint32
		form     tableForm
	}{
		{getExtendedTCPTable, TCP, windows.AF_INET, tcpListeners, tcp4Row},
		{getExtendedTCPTable, TCP, windows.AF_INET6, tcpListeners, tcp6Row},
		{getExtendedUDPTable, UDP, windows.AF_INET, udpSockets, udp4Row},
		{getExtendedUDPTable, UDP, windows.AF_INET6, udpSockets, udp6Row},
	} {
		data, err := socketTable(table.proc, table.family, table.class)
		if err != nil {
			return nil, err
		}
		rows, err := table.form.readTable(data)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if table.protocol == UDP && !servesUDP(r.local.Port()) {
				continue
			}
			all = append(all, Listener{
				Protocol: table.protocol, Address: r.local.Addr(), Port: r.local.Port(),
				Owner: Owner{PID: r.pid},
			})
		}
	}
	return all, nil
}
