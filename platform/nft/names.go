package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// named is one value and how nft(8) writes it.
type named[T comparable] struct {
	value T
	name  string
}

func nameOf[T comparable](names []named[T], value T) string {
	for _, n := range names {
		if n.value == value {
			return n.name
		}
	}
	return ""
}

// familyName names a family; those this package never writes have tables too.
func familyName(f Family) string {
	names := []named[Family]{{Inet, "inet"}, {2, "ip"}, {3, "arp"}, {Netdev, "netdev"}, {Bridge, "bridge"}, {10, "ip6"}}
	if name := nameOf(names, f); name != "" {
		return name
	}
	return strconv.Itoa(int(f))
}

func verdictNames() []named[Verdict] {
	return []named[Verdict]{{Accept, "accept"}, {Drop, "drop"}}
}

func flagNames(f Flags) string {
	return bitNames(uint32(f), []named[uint32]{
		{uint32(Dormant), "dormant"}, {uint32(Owner), "owner"}, {uint32(Persist), "persist"},
	}, ",")
}

// hookName names a hook; the netdev family counts its own two.
func hookName(f Family, number uint32) string {
	names := []string{"prerouting", "input", "forward", "output", "postrouting"}
	if f == Netdev {
		names = []string{"ingress", "egress"}
	}
	if int(number) < len(names) {
		return names[number]
	}
	return strconv.Itoa(int(number))
}

func typeNames(key []Type) string {
	var names []string
	for _, t := range key {
		names = append(names, t.Name)
	}
	return strings.Join(names, " . ")
}

func operator(o Op) string {
	switch o {
	case Equal:
		return " "
	case NotEqual:
		return " != "
	case AtMost:
		return " <= "
	case AtLeast:
		return " >= "
	}
	return fmt.Sprintf(" [op %d] ", uint32(o))
}

// bitNames names the bits that are set; a bit without a name is shown by number.
func bitNames(bits uint32, names []named[uint32], separator string) string {
	var out []string
	for i := range 32 {
		bit := uint32(1) << i
		if bits&bit == 0 {
			continue
		}
		name := nameOf(names, bit)
		if name == "" {
			name = fmt.Sprintf("0x%x", bit)
		}
		out = append(out, name)
	}
	return strings.Join(out, separator)
}

// showNumber shows bytes of a packet as a number.
func showNumber(b []byte) string {
	if len(b) > 8 {
		return fmt.Sprintf("0x%x", b)
	}
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return strconv.FormatUint(n, 10)
}

func showAddress(b []byte) string {
	if a, ok := netip.AddrFromSlice(b); ok {
		return a.String()
	}
	return fmt.Sprintf("0x%x", b)
}

// word reads a number in the machine's byte order.
func word(b []byte) (uint32, bool) {
	if len(b) != 4 {
		return 0, false
	}
	return binary.NativeEndian.Uint32(b), true
}

// showIndex shows the number of an interface. Loopback is 1 in every namespace;
// other numbers mean nothing to a reader of text.
func showIndex(b []byte) string {
	n, ok := word(b)
	if ok && n == 1 {
		return `"lo"`
	}
	if ok {
		return fmt.Sprintf("0x%08x", n)
	}
	return fmt.Sprintf("0x%x", b)
}

// showWord shows a mark.
func showWord(b []byte) string {
	if n, ok := word(b); ok {
		return fmt.Sprintf("0x%08x", n)
	}
	return fmt.Sprintf("0x%x", b)
}

// showNative shows a number in the machine's byte order.
func showNative(b []byte) string {
	switch len(b) {
	case 4:
		return strconv.FormatUint(uint64(binary.NativeEndian.Uint32(b)), 10)
	case 8:
		return strconv.FormatUint(binary.NativeEndian.Uint64(b), 10)
	}
	return fmt.Sprintf("0x%x", b)
}

func showEtherType(b []byte) string {
	if len(b) != 2 {
		return fmt.Sprintf("0x%x", b)
	}
	n := binary.BigEndian.Uint16(b)
	if name := nameOf([]named[uint16]{{0x0800, "ip"}, {0x86dd, "ip6"}, {0x0806, "arp"}}, n); name != "" {
		return name
	}
	return fmt.Sprintf("0x%04x", n)
}

func showName(b []byte) string {
	return strconv.Quote(strings.TrimRight(string(b), "\x00"))
}

func showByte(b []byte, names ...named[byte]) string {
	if len(b) == 1 {
		if name := nameOf(names, b[0]); name != "" {
			return name
		}
	}
	return showNumber(b)
}

func showNetworkProtocol(b []byte) string {
	return showByte(b, named[byte]{V4, "ipv4"}, named[byte]{V6, "ipv6"})
}

func showTransportProtocol(b []byte) string {
	return showByte(b, named[byte]{ICMP, "icmp"}, named[byte]{TCP, "tcp"},
		named[byte]{UDP, "udp"}, named[byte]{ICMPv6, "ipv6-icmp"})
}

func showDirection(b []byte) string {
	return showByte(b, named[byte]{Original, "original"}, named[byte]{Reply, "reply"})
}

func showTCPFlags(b []byte) string {
	if len(b) != 1 || b[0] == 0 {
		return showNumber(b)
	}
	return bitNames(uint32(b[0]), []named[uint32]{
		{1, "fin"}, {2, "syn"}, {4, "rst"}, {8, "psh"}, {16, "ack"}, {32, "urg"}, {64, "ecn"}, {128, "cwr"},
	}, " | ")
}

func showState(b []byte) string {
	n, ok := word(b)
	if !ok || n == 0 {
		return fmt.Sprintf("0x%x", b)
	}
	return bitNames(n, []named[uint32]{
		{1, "invalid"}, {2, "established"}, {4, "related"}, {8, "new"}, {64, "untracked"},
	}, ",")
}

func showAddressType(b []byte) string {
	n, ok := word(b)
	if !ok {
		return fmt.Sprintf("0x%x", b)
	}
	names := []named[uint32]{{1, "unicast"}, {2, "local"}, {3, "broadcast"}, {4, "anycast"}, {5, "multicast"}}
	if name := nameOf(names, n); name != "" {
		return name
	}
	return strconv.Itoa(int(n))
}

// prefixLength returns how many leading bits are set, or -1 if a bit is set
// after one that is not.
func prefixLength(mask []byte) int {
	n := 0
	ended := false
	for i := range len(mask) * 8 {
		set := mask[i/8]&(0x80>>(i%8)) != 0
		if set && ended {
			return -1
		}
		if set {
			n++
		}
		ended = ended || !set
	}
	return n
}
