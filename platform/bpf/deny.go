// Package bpf holds the programs that run in the kernel. They are put together here,
// without a compiler, and compare the network namespace first: what is not of this
// host passes.
package bpf

import (
	"fmt"
	"strings"
)

// Deny says which binds the kernel refuses, in numbers and names that it can
// compare by itself: it holds after whoever put it in force is gone.
type Deny struct {
	Cookie       uint64       `json:"cookie"`        // of the network namespace it is about
	Root         uint64       `json:"root"`          // the control group at which the paths of units begin
	PIDNamespace uint32       `json:"pid_namespace"` // whose numbers of processes are told
	Ports        []DeniedSpan `json:"ports"`         // none overlaps another
}

// DeniedSpan is a span of ports and who may open them all the same.
type DeniedSpan struct {
	Protocol uint8  `json:"protocol"` // IPPROTO_TCP or IPPROTO_UDP
	First    uint16 `json:"first"`
	Last     uint16 `json:"last"`
	Except   []Pass `json:"except"`
}

// Pass names programs that may bind. All that is given must match.
type Pass struct {
	UID  *uint32 `json:"uid"`
	Exe  *Exe    `json:"exe"`
	Unit string  `json:"unit"` // "" or the name of a service
}

// Exe is an executable by its place in its file system, not by its inode, so that
// the next version of it counts as well.
type Exe struct {
	Device uint32 `json:"device"` // as the kernel has it: major<<20 | minor
	Path   string `json:"path"`   // from the root of the file system
}

// Refused is one program that was kept from opening a port.
type Refused struct {
	Protocol uint8
	Port     uint16
	UID      uint32
	PID      uint32 // 0 if it has none in the namespace of Deny
	Comm     string
	Exe      Exe    // the path is "" if it could not be told
	Times    uint64 // since it was last told of
}

const (
	nameLength = 128 // of a name that the program compares, with its end
	maxNames   = 16  // elements of a path, and levels of control groups
	maxPasses  = 256 // in all: a jump reaches no further than 32,767 instructions
)

// Check tells whether the kernel could compare all that d names, and if not, why.
func (p Pass) Check() error {
	if p.Exe != nil {
		names := strings.Split(strings.TrimPrefix(p.Exe.Path, "/"), "/")
		if len(names) > maxNames {
			return fmt.Errorf("the path %s has more than %d elements", p.Exe.Path, maxNames)
		}
		for _, name := range names {
			if len(name) > nameLength-2 || name == "" {
				return fmt.Errorf("the path %s has an element that is too long or empty", p.Exe.Path)
			}
		}
	}
	if len(p.Unit) > nameLength-3 {
		return fmt.Errorf("the name of unit %s is too long", p.Unit)
	}
	if p.Unit != "" && !strings.HasSuffix(p.Unit, ".service") {
		return fmt.Errorf("%s is no service, so its programs cannot be told apart", p.Unit)
	}
	return nil
}
