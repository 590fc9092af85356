package bpf

import (
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// offsetOf finds a member in a structure, members of members that have no name
// included, and returns where it begins. Of a name like "new|old" either counts.
func offsetOf(in btf.Type, path []string) (uint32, bool) {
	var members []btf.Member
	switch t := btf.UnderlyingType(in).(type) {
	case *btf.Struct:
		members = t.Members
	case *btf.Union:
		members = t.Members
	}
	if len(path) == 0 {
		return 0, true
	}
	for _, m := range members {
		rest := path
		switch {
		case slices.Contains(strings.Split(path[0], "|"), m.Name):
			rest = path[1:]
		case m.Name != "":
			continue
		}
		if below, ok := offsetOf(m.Type, rest); ok {
			return m.Offset.Bytes() + below, true
		}
	}
	return 0, false
}
