package platform

import (
	"context"
	"errors"
)

// ErrChanged says that somebody changed a unit after the agent closed it, so
// that it is no longer the agent's to put back.
var ErrChanged = errors.New("changed by somebody since it was closed")

// Unit is the state of one service as the service manager knows it: all that
// the agent may change and must be able to put back.
type Unit struct {
	Name   string `json:"name"`
	Active string `json:"active"` // ActiveState: active, inactive, failed, ...
	Sub    string `json:"sub"`    // SubState: running, listening, dead, ...
	File   string `json:"file"`   // UnitFileState: enabled, disabled, static, masked, ...
	// Links are the symbolic links that enable, alias or mask the unit, exactly
	// as they stand on disk.
	Links []Link `json:"links"`
	// TriggeredBy are the socket, path and timer units that can start it.
	TriggeredBy []string `json:"triggered_by"`
	// Triggers are the units that this one can start.
	Triggers    []string `json:"triggers"`
	Description string   `json:"description"`
	Fragment    string   `json:"fragment"` // the unit file
	DropIns     []string `json:"drop_ins"` // files that change it
	MainPID     int      `json:"main_pid"`
	// Text is the unit file itself, for a transient unit only: its file goes away
	// when it stops.
	Text string `json:"text"`
	// RequiredBy are active units that stop when this one does.
	RequiredBy []string `json:"required_by"`
}

// Link is one symbolic link.
type Link struct {
	Path   string `json:"path"`
	Target string `json:"target"`
}

// Services asks the service manager for units and brings them to a wanted
// state.
type Services interface {
	// Inspect returns the named units and every unit that can start one of
	// them, each once, triggers before what they start. A unit that does not
	// exist is left out.
	Inspect(ctx context.Context, names ...string) ([]Unit, error)
	// Close stops the units, disables and masks them, in that order of safety:
	// the mask first, so that nothing starts them again meanwhile. Done twice it
	// changes nothing.
	Close(ctx context.Context, units []Unit) error
	// Restore puts the units back exactly as they are described: masks and
	// links first, then activity. Done twice it changes nothing. A unit that
	// somebody changed since it was closed is left alone and is an error that
	// says so.
	Restore(ctx context.Context, units []Unit) error
}
