package platform

import (
	"bufio"
	"bytes"
	"net/netip"
	"strings"
)

// Resolvers returns the name servers this host is set up to ask, loopback ones
// left out: they are always reachable. None: no name servers, or not known.
func Resolvers() []netip.Addr { return resolvers() }

// parseResolvConf returns the name servers of a resolv.conf(5).
func parseResolvConf(data []byte) []netip.Addr {
	var out []netip.Addr
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil && !addr.IsLoopback() {
			out = append(out, addr.Unmap())
		}
	}
	return out
}
