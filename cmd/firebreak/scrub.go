package main

import (
	"net/netip"
	"regexp"
	"slices"

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
	// addressPattern finds what may be an address; only what parses as one is
	// taken out, so that times and versions stay.
	addressPattern = regexp.MustCompile(`[0-9A-Fa-f.:]{3,}(?:%[\w.-]+)?`)
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
	slices.Sort(names)
	list := ""
	for i, name := range slices.Compact(names) {
		if i > 0 {
			list += "|"
		}
		list += name
	}
	return scrubber{names: regexp.MustCompile(`\b(?:` + list + `)\b`)}
}

func (s scrubber) scrub(data []byte) []byte {
	data = personPattern.ReplaceAll(data, []byte("[person] (uid $1)"))
	data = ownerPattern.ReplaceAll(data, []byte("${1}[person]"))
	data = homePattern.ReplaceAll(data, []byte("${1}[person]"))
	data = addressPattern.ReplaceAllFunc(data, func(found []byte) []byte {
		addr, err := netip.ParseAddr(string(found))
		if err != nil || addr.IsLoopback() || addr.IsUnspecified() {
			return found
		}
		return []byte("[address]")
	})
	if s.names != nil {
		data = s.names.ReplaceAll(data, []byte("[name]"))
	}
	return data
}
