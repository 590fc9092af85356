// Package platform is the only code that touches the operating system.
//
// Each noun has one file that says what it is (firewall.go) and one per system
// that says how (firewall_linux.go, firewall_windows.go). Everything above this
// package works on the plain data defined here and runs on any system.
package platform

import (
	"context"
	"errors"
)

// Host is one machine, seen through the few things the agent does to it.
// Local returns the machine the program runs on; platformtest has one that
// lives in memory.
type Host struct {
	Observer    Observer
	Firewall    Firewall
	Connections Connections
	Routes      Routes
	Services    Services
	Supervisors Supervisors
	Processes   Processes
	Binds       Binds
	Notifier    Notifier
	Flags       Flags
	Prober      Prober
	Files       Files
}

// Options are what Local needs to know of the installation.
type Options struct {
	StateDir string // where durable flags are kept, such as /var/lib/firebreak
	Root     string // root of the file system that is judged; "" is this host
}

// Local returns the machine the program runs on. It never fails: what the
// machine lacks (systemd, nftables, privileges) shows as gaps in snapshots and
// as ErrUnsupported or ErrNotPermitted when it is asked for.
func Local(o Options) *Host { return local(o) }

var (
	// ErrUnsupported says that this system cannot do what was asked, ever.
	ErrUnsupported = errors.New("not supported on this system")
	// ErrNotPermitted says that the caller lacks the privilege.
	ErrNotPermitted = errors.New("not permitted")
	// ErrGone says that the process or unit that was named is no longer there.
	ErrGone = errors.New("no longer there")
)

// Observer looks at the host and changes nothing.
type Observer interface {
	// Snapshot reads the wanted parts. A part that could not be read is a Gap
	// in the snapshot, not an error; an error means that nothing was read.
	Snapshot(context.Context, Parts) (Snapshot, error)
	// Events says that something changed, so that the agent looks sooner. It
	// may drop and merge events, and is closed when ctx ends.
	Events(context.Context) <-chan Event
}

// Event is a hint that a part of the host has changed.
type Event struct {
	Part Part
	// Why is for the log: "tcp 445 began to listen".
	Why string
}
