package platform

import (
	"context"
	"time"
)

// ProcessID names one process for good: a pid alone is used again.
type ProcessID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, from /proc/PID/stat
}

// Process is one process at one instant.
type Process struct {
	ProcessID
	PPID    int       `json:"ppid"`
	Name    string    `json:"name"`
	Exe     string    `json:"exe"`
	Args    []string  `json:"args"`
	Dir     string    `json:"dir"`
	UID     uint32    `json:"uid"`
	User    string    `json:"user"`
	Unit    string    `json:"unit"`
	Cgroup  string    `json:"cgroup"`
	Started time.Time `json:"started"`
}

// Processes looks at processes and ends them.
type Processes interface {
	// Inspect returns the process with that pid now, or ErrGone.
	Inspect(ctx context.Context, pid int) (Process, error)
	// Children returns the pids of the direct children of pid.
	Children(ctx context.Context, pid int) ([]int, error)
	// End asks the process to stop (SIGTERM), waits for grace, and then kills
	// it. It acts through a pidfd, so never on another process that got the
	// same pid. A process that is already gone is no error.
	End(ctx context.Context, id ProcessID, grace time.Duration) error
	// Freeze keeps the process from doing anything, for a moment: until thaw is
	// called, or this program ends. It can be looked at and ended meanwhile. The
	// error is ErrGone if it is not there any more, and ErrUnsupported where no
	// process can be frozen so that it cannot stay so.
	Freeze(ctx context.Context, id ProcessID) (thaw func(), err error)
}
