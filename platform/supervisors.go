package platform

import "context"

// Program is what a supervisor beside the service manager keeps running, as that
// supervisor knows it: a container of podman, a program of supervisord, a line of
// a crontab. It holds all that the agent may change there and must be able to put
// back.
type Program struct {
	Kind string `json:"kind"` // of its supervisor: podman, docker, supervisord, runit, s6, xinetd, inetd, cron, user-unit
	Name string `json:"name"` // as the supervisor calls it
	User string `json:"user"` // whose it is; "" is the system's
	// Title is for people: "container web (nginx:1.25)".
	Title string `json:"title"`
	// Where is what the supervisor is told through: a socket, a folder or a file.
	Where string `json:"where"`
	// State is what has to be put back, in the supervisor's own words: "restart
	// policy", "running".
	State map[string]string `json:"state"`
	// Files are those that closing changes, as they were before.
	Files []FileState `json:"files"`
	PIDs  []int       `json:"pids"` // lowest first; none if it does not run
	// Kept says that it would be started again: at once, or after a reboot.
	Kept bool `json:"kept"`
}

// FileState is one file as it was, byte for byte.
type FileState struct {
	Path   string `json:"path"`
	Absent bool   `json:"absent"` // there was none
	Mode   uint32 `json:"mode"`   // st_mode: kind and permissions
	UID    uint32 `json:"uid"`
	GID    uint32 `json:"gid"`
	Data   []byte `json:"data"`   // of a regular file
	Target string `json:"target"` // of a symbolic link
	// Closed is the SHA-256 of what closing made of it, lower-case hex; "" if
	// closing takes the file away. A file that is neither as it was nor this was
	// changed by somebody else since.
	Closed string `json:"closed"`
}

// Supervisors asks the supervisors beside the service manager for programs and
// brings them to a wanted state.
type Supervisors interface {
	// Find returns the programs that a listener belongs to, and that would open
	// it again if its processes were ended; none if nothing is known to. An error
	// means that a supervisor that answers for it could not be asked.
	Find(ctx context.Context, l Listener) ([]Program, error)
	// Inspect reads programs anew. One that is no longer there is left out.
	Inspect(ctx context.Context, programs []Program) ([]Program, error)
	// Close stops the programs where they are supervised, so that they start
	// neither by themselves nor after a reboot. Done twice it changes nothing.
	Close(ctx context.Context, programs []Program) error
	// Restore puts the programs back exactly as they are described. Done twice it
	// changes nothing. One that somebody changed since it was closed is left
	// alone, and is an ErrChanged that says so.
	Restore(ctx context.Context, programs []Program) error
}
