package configs

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// KeepKind says how an entry of isolation.keep names who stays reachable.
type KeepKind string

// The kinds of keep.
const (
	KeepHub     KeepKind = "hub"     // the hub this host is enrolled with
	KeepDNS     KeepKind = "dns"     // the name servers this host uses
	KeepDHCP    KeepKind = "dhcp"    // renewing this host's address
	KeepNetwork KeepKind = "network" // Network, an address or a CIDR
	KeepName    KeepKind = "name"    // Name, to be resolved before isolating
	KeepUser    KeepKind = "user"    // Name, whose programs may connect to anybody
	KeepUnit    KeepKind = "unit"    // Name, a service that may connect to anybody
)

// Keep is one entry of isolation.keep: who stays reachable while isolated. Port
// is the peer's if this host connects, and this host's if the peer does.
type Keep struct {
	Kind     KeepKind
	Network  netip.Prefix // KeepNetwork; a single address is a prefix of full length
	Name     string       // KeepName, KeepUser, KeepUnit
	Port     uint16       // 0 is any, of an address or a CIDR only
	Protocol string       // tcp | udp
	Inbound  bool         // the peer connects to this host; else this host to the peer
}

// keepExample is shown with every entry that cannot be read.
const keepExample = "write hub, dns, dhcp, user:NAME, unit:NAME.service or ADDRESS:PORT, such as 10.0.0.5:443, [2001:db8::5]:443, 10.0.0.0/8:22 in or mdm.example.org:443"

// ParseKeep reads one entry of isolation.keep:
//
//	hub | dns | dhcp | user:NAME | unit:NAME.service | ADDR|CIDR|NAME[:PORT][/udp][ in|out]
//
// What a user or a unit names may connect to anybody. An IPv6 address stands in brackets; it is tcp and out unless the entry says
// otherwise. A name needs a port; an address or a CIDR without one keeps every
// port. Names are not looked up here.
func ParseKeep(text string) (Keep, error) {
	switch kind := KeepKind(text); kind {
	case KeepHub, KeepDNS, KeepDHCP:
		return Keep{Kind: kind}, nil
	}
	if k, ok, err := keepProgram(text); err != nil {
		return Keep{}, fmt.Errorf("keep %s: %w", quote(text), err)
	} else if ok {
		return k, nil
	}
	k := Keep{Protocol: "tcp"}
	rest, direction, hasDirection := strings.Cut(text, " ")
	switch {
	case !hasDirection, direction == "out":
	case direction == "in":
		k.Inbound = true
	default:
		return Keep{}, fmt.Errorf("keep %s: after the space comes in or out", quote(text))
	}
	if without, ok := strings.CutSuffix(rest, "/udp"); ok {
		rest, k.Protocol = without, "udp"
	} else {
		rest = strings.TrimSuffix(rest, "/tcp")
	}
	host, port, hasPort := cutPort(rest)
	if hasPort {
		number, err := parsePort(port)
		if err != nil {
			return Keep{}, fmt.Errorf("keep %s: %w", quote(text), err)
		}
		k.Port = number
	}
	if err := k.setHost(host); err != nil {
		return Keep{}, fmt.Errorf("keep %s: %w", quote(text), err)
	}
	return k, nil
}

var (
	userName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}\$?$`)
	unitName = regexp.MustCompile(`^[A-Za-z0-9_.@:\\-]{1,247}\.service$`)
)

// keepProgram reads user:NAME and unit:NAME.service; anything else is not ok.
func keepProgram(text string) (k Keep, ok bool, err error) {
	kind, name, _ := strings.Cut(text, ":")
	switch kind {
	case "user":
		return Keep{Kind: KeepUser, Name: name}, true, checkUser(name)
	case "unit":
		return Keep{Kind: KeepUnit, Name: name}, true, checkUnit(name)
	}
	word := nearest(kind, []string{"user", "unit"})
	if _, notPort := parsePort(name); word != "" && notPort != nil && isHostName(name) {
		return Keep{}, false, fmt.Errorf("did you mean %q?", word+":"+name)
	}
	return Keep{}, false, nil
}

func checkUser(name string) error {
	_, notNumber := strconv.ParseUint(name, 10, 64)
	switch {
	case name == "root":
		return errors.New("every service of the system could connect to anybody: name a user who runs nothing else")
	case notNumber == nil:
		return fmt.Errorf("%s is a number: write the name of the user; a computer called user is written in full, user.example.org:443", name)
	case !userName.MatchString(name):
		return fmt.Errorf("%s is not the name of a user: write user:NAME, such as user:rustdesk", quote(name))
	}
	return nil
}

func checkUnit(name string) error {
	switch {
	case unitName.MatchString(name):
		return nil
	case unitName.MatchString(name + ".service"):
		return fmt.Errorf("only services can be kept: unit:%s.service", strings.TrimSuffix(strings.TrimSuffix(name, ".socket"), ".slice"))
	}
	return fmt.Errorf("%s is not the name of a service: write unit:NAME.service, such as unit:rustdesk.service", quote(name))
}

// cutPort splits at the last colon that is not inside brackets.
func cutPort(text string) (host, port string, ok bool) {
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 || colon < strings.LastIndexByte(text, ']') {
		return text, "", false
	}
	return text[:colon], text[colon+1:], true
}

func (k *Keep) setHost(host string) error {
	bare, bracketed := unbracket(host)
	prefix, isAddress := parseNetwork(bare)
	switch {
	case isAddress && prefix.Addr().Is6() && !bracketed:
		return fmt.Errorf("an IPv6 address stands in brackets: [%s]", host)
	case isAddress && prefix.Addr().Is6() == bracketed:
		return k.setNetwork(prefix)
	}
	if word := nearest(host, []string{"hub", "dns", "dhcp"}); word != "" && k.Port == 0 {
		return fmt.Errorf("did you mean %q?", word)
	}
	if !isHostName(host) {
		return fmt.Errorf("%s is no address and no name: %s", quote(host), keepExample)
	}
	if k.Port == 0 {
		return fmt.Errorf("a name needs a port: %s:443", host)
	}
	if low := strings.ToLower(strings.TrimSuffix(host, ".")); low == "user" || low == "unit" {
		return fmt.Errorf("a computer called %s is written in full, such as %s.example.org:443", low, low)
	}
	k.Kind, k.Name = KeepName, strings.ToLower(strings.TrimSuffix(host, "."))
	return nil
}

// unbracket takes the brackets off [2001:db8::]/32 and [2001:db8::/32]: both are
// in use.
func unbracket(host string) (bare string, bracketed bool) {
	inside, opened := strings.CutPrefix(host, "[")
	address, bits, closed := strings.Cut(inside, "]")
	if !opened || !closed {
		return host, false
	}
	return address + bits, true
}

// parseNetwork reads an address or a CIDR. An address with a zone is neither: a
// zone means nothing to a firewall that speaks of networks.
func parseNetwork(text string) (netip.Prefix, bool) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix, true
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(addr, addr.BitLen()), true
}

func (k *Keep) setNetwork(prefix netip.Prefix) error {
	addr := prefix.Addr()
	switch {
	case prefix != prefix.Masked():
		return fmt.Errorf("%s has bits after its prefix: did you mean %s?", prefix, prefix.Masked())
	case addr.Is4In6():
		return fmt.Errorf("write %s as an IPv4 address", addr)
	case addr.IsLoopback():
		return fmt.Errorf("%s is this computer itself, which is always reachable: leave it out", addr)
	case addr.IsMulticast(), addr.IsUnspecified() && prefix.IsSingleIP():
		return fmt.Errorf("%s is not the address of a computer", addr)
	case prefix.Bits() == 0 && k.Port == 0:
		return fmt.Errorf("%s on every port would isolate from nobody: name a port or a smaller network", prefix)
	}
	k.Kind, k.Network = KeepNetwork, prefix
	return nil
}

var (
	hostLabels = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$`)
	numberLast = regexp.MustCompile(`(^|\.)(0[xX])?[0-9]+\.?$`)
)

// isHostName tells whether text may be looked up. A name whose last label is a
// number is a mistyped address: some resolvers take 10.1 for 10.0.0.1.
func isHostName(text string) bool {
	return len(text) <= 253 && hostLabels.MatchString(text) && !numberLast.MatchString(text)
}

// String writes the entry as ParseKeep reads it.
func (k Keep) String() string {
	var host string
	switch k.Kind {
	case KeepHub, KeepDNS, KeepDHCP:
		return string(k.Kind)
	case KeepUser, KeepUnit:
		return string(k.Kind) + ":" + k.Name
	case KeepName:
		host = k.Name
	default:
		host = k.Network.String()
		if k.Network.IsSingleIP() {
			host = k.Network.Addr().String()
		}
		if k.Network.Addr().Is6() {
			host = "[" + host + "]"
		}
	}
	if k.Port != 0 {
		host += fmt.Sprintf(":%d", k.Port)
	}
	if k.Protocol == "udp" {
		host += "/udp"
	}
	if k.Inbound {
		host += " in"
	}
	return host
}
