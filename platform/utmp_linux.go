package platform

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
)

// Layout of struct utmp as glibc writes it on every 64-bit system: offsets and
// lengths in bytes.
const (
	utmpSize     = 384
	utmpLogin    = 7 // USER_PROCESS in ut_type
	utmpTypeAt   = 0
	utmpPIDAt    = 4
	utmpLineAt   = 8
	utmpUserAt   = 44
	utmpHostAt   = 76
	utmpAddrAt   = 348
	utmpNameSize = 32
	utmpHostSize = 256
)

// login is one entry of utmp: a session, and the process that leads it.
type login struct {
	Session
	pid int
}

// parseUtmp returns the logins in an utmp file. A piece of an entry at the end
// is left out.
func parseUtmp(data []byte) []login {
	var found []login
	for ; len(data) >= utmpSize; data = data[utmpSize:] {
		if binary.NativeEndian.Uint16(data[utmpTypeAt:]) != utmpLogin {
			continue
		}
		l := login{pid: int(int32(binary.NativeEndian.Uint32(data[utmpPIDAt:])))}
		l.User = utmpText(data[utmpUserAt:][:utmpNameSize])
		l.Terminal = utmpText(data[utmpLineAt:][:utmpNameSize])
		l.Remote = utmpRemote(data[utmpAddrAt:][:16], utmpText(data[utmpHostAt:][:utmpHostSize]))
		if strings.HasPrefix(l.Terminal, ":") { // a desktop's display, not a terminal
			l.Terminal = ""
		}
		if l.User != "" {
			found = append(found, l)
		}
	}
	return found
}

// utmpRemote returns where a login comes from: the address if there is one, else
// the name. An IPv4 address is in the first four bytes. Terminal programs write
// things of their own as the host (":0", "tmux(812).%1"), which are local.
func utmpRemote(addr []byte, host string) string {
	if a := netip.AddrFrom16([16]byte(addr)); !a.IsUnspecified() {
		if bytes.Equal(addr[4:], make([]byte, 12)) {
			a = netip.AddrFrom4([4]byte(addr))
		}
		return a.Unmap().String()
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.String()
	}
	if strings.ContainsAny(host, ":()%") {
		return ""
	}
	return host
}

// utmpText reads a text that ends at its first zero byte, if there is one, and
// drops what could not be shown on a terminal.
func utmpText(b []byte) string {
	if end := bytes.IndexByte(b, 0); end >= 0 {
		b = b[:end]
	}
	return printable(string(b))
}
