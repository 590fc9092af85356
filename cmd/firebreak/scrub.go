package main

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/agent/localapi"
)

// scrubRule says what never leaves the computer in an archive for support.
const scrubRule = "names of users and of this computer, home folders, network addresses; command lines and evidence are not in it at all"

// scrubber takes out of text what says whose computer it is.
type scrubber struct {
	names *regexp.Regexp // nil: none
}

// Where a person's name stands in the agent's own sentences and in a policy.
var (
	personPattern = regexp.MustCompile(`[\w.@\\-]+(?: as [\w.-]+)? \(uid (\d+)\)`)
	ownerPattern  = regexp.MustCompile(`((?:owner|user):\s*)("[^"]*"|'[^']*'|[^\s,}]+)`)
	homePattern   = regexp.MustCompile(`(/home/|/Users/|C:\\Users\\)[^\s/"'\\,;:)]+`)
	// The address patterns find what may be an address; only what parses as one
	// is taken out, so that times and versions stay.
	ipv4Pattern = regexp.MustCompile(`\b\d{1,3}(?:\.\d{1,3}){3}\b`)
	ipv6Pattern = regexp.MustCompile(`[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:%\w+)?`)
)

// newScrubber knows the names that the status mentions.
func newScrubber(host string, s localapi.Status) scrubber {
	var names []string
	add := func(name string) {
		if len(name) > 1 && name != "root" && name != "localhost" {
			names = append(names, regexp.QuoteMeta(name))
		}
	}
	add(host)
	add(s.Host)
	for _, f := range s.Flags {
		for _, user := range f.Told {
			add(user)
		}
	}
	for _, t := range s.Threats {
		if t.Subject.Port != nil {
			add(text(t.Subject.Port.User))
		}
	}
	if len(names) == 0 {
		return scrubber{}
	}
	// The longest first, or the user "lena" would hide half of the host "lena-t14".
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	return scrubber{names: regexp.MustCompile(`\b(?:` + strings.Join(names, "|") + `)\b`)}
}

// withoutAddress hides an address that is not the computer's own loopback. What
// follows an address, as in "2001:db8::7: refused", is not part of it.
func withoutAddress(found []byte) []byte {
	text := string(found)
	addr, err := netip.ParseAddr(text)
	rest := ""
	if err != nil && strings.HasSuffix(text, ":") {
		rest = ":"
		addr, err = netip.ParseAddr(strings.TrimSuffix(text, ":"))
	}
	if err != nil || addr.IsLoopback() || addr.IsUnspecified() {
		return found
	}
	return []byte("[address]" + rest)
}

func (s scrubber) scrub(data []byte) []byte {
	data = personPattern.ReplaceAll(data, []byte("[person] (uid $1)"))
	data = ownerPattern.ReplaceAll(data, []byte("${1}[person]"))
	data = homePattern.ReplaceAll(data, []byte("${1}[person]"))
	data = ipv6Pattern.ReplaceAllFunc(data, withoutAddress)
	data = ipv4Pattern.ReplaceAllFunc(data, withoutAddress)
	if s.names != nil {
		data = s.names.ReplaceAll(data, []byte("[name]"))
	}
	return data
}
