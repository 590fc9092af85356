package platform

import (
	"fmt"
	"strings"
	"time"
)

// Part names one part of a snapshot.
type Part string

// The parts of a snapshot.
const (
	PartOS           Part = "os"           // release, kernel, boot
	PartListeners    Part = "listeners"    // TCP listeners and UDP service sockets
	PartOwners       Part = "owners"       // who holds each listener; a gap may hit some of them only
	PartRestrictions Part = "restrictions" // what the agent has in force, read back
	PartSessions     Part = "sessions"     // who is logged in, and from where
	PartNetwork      Part = "network"      // what isolation depends on: links, mounts, logins
	PartUpdates      Part = "updates"      // what the package data of the host says is missing
	PartRunning      Part = "running"      // what runs that is older than what is installed
)

// Parts is a set of parts.
type Parts []Part

// AllParts asks for everything there is.
var AllParts = Parts{PartOS, PartListeners, PartOwners, PartRestrictions, PartSessions, PartNetwork, PartUpdates, PartRunning}

// Has tells whether p is wanted.
func (ps Parts) Has(p Part) bool {
	for _, q := range ps {
		if q == p {
			return true
		}
	}
	return false
}

// Snapshot is what was read from the host at one instant. It is plain data: it
// can be saved, compared and replayed in a test.
type Snapshot struct {
	Taken     time.Time    `json:"taken"`
	Boot      Boot         `json:"boot"`
	OS        OS           `json:"os"`
	Listeners []Listener   `json:"listeners"`
	InForce   Restrictions `json:"in_force"` // read back from the OS, not remembered
	Sessions  []Session    `json:"sessions"`
	Network   Network      `json:"network"`
	Updates   Updates      `json:"updates"`
	Running   RunningCode  `json:"running"`
	// Agent is the process that looks: its own sockets are never a threat.
	Agent ProcessID `json:"agent"`
	Gaps  []Gap     `json:"gaps"`
}

// Gap is a part that could not be read, or not wholly. What a gap covers is
// unknown, never absent.
type Gap struct {
	Part Part `json:"part"`
	// Reason is one sentence a person can act on: "owners of 6 ports are not
	// visible to this user: repeat with sudo".
	Reason string `json:"reason"`
	// Partial gaps leave the part usable: the listeners are all there, but the
	// owners of some are not known.
	Partial bool `json:"partial"`
}

// Missing returns an error that names the reason if a part is not there at all.
func (s Snapshot) Missing(p Part) error {
	for _, g := range s.Gaps {
		if g.Part == p && !g.Partial {
			return fmt.Errorf("%s: %s", p, strings.TrimSuffix(g.Reason, "."))
		}
	}
	return nil
}

// Boot is one run of the kernel.
type Boot struct {
	ID   string    `json:"id"` // fresh for every boot; "" if unknown
	Time time.Time `json:"time"`
	// Uptime is the time since boot including sleep, when the snapshot was taken.
	Uptime time.Duration `json:"uptime"`
}

// Session is a login of a person.
type Session struct {
	User     string `json:"user"`
	Terminal string `json:"terminal"` // "pts/0", or "" for a desktop without one
	Remote   string `json:"remote"`   // the address it comes from, or "" for a local one
}
