package platform

import (
	"context"
	"time"
)

// Flag is a durable note on the host that something is left for a person to do.
type Flag struct {
	Name   string    `json:"name"`   // "os-upgrade"
	Threat string    `json:"threat"` // its threat's ID, so that a flag can be traced
	Text   string    `json:"text"`   // what to do, one sentence
	To     string    `json:"to"`     // what to upgrade to
	By     time.Time `json:"by"`     // until when; zero: no date
	Set    time.Time `json:"set"`
	Told   []string  `json:"told"` // users who were told on their terminals
}

// Flags keeps flags on disk, in the state folder.
type Flags interface {
	// Flag returns the flag of that name, or nil if it is not set.
	Flag(ctx context.Context, name string) (*Flag, error)
	// SetFlag writes the flag durably; it replaces one of the same name.
	SetFlag(ctx context.Context, f Flag) error
	// ClearFlag removes the flag; one that is not set is no error.
	ClearFlag(ctx context.Context, name string) error
}
