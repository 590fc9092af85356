// Package evidence keeps what an investigator needs, before the act destroys it:
// the processes behind a threat with their command lines and executables' hashes,
// their units, their sockets and all others, who was logged in, and the system.
//
// A bundle is a gzipped tar file for root alone. The environment of processes is
// not in it, because that is where secrets are kept; command lines are, as they
// stand, and may hold secrets too. Nothing that a process points to is run, and
// only regular files are read. The hashes in a bundle's manifest tell a bundle
// that was damaged, or altered without care; who may write the folder can also
// write a new manifest.
package evidence

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

// Limits bound what is kept; zero is no bound. The oldest bundles go first.
type Limits struct {
	Within time.Duration // how long collecting may take; what is not there by then is a gap
	Bytes  int64         // of all bundles together
	Count  int           // of bundles
	Age    time.Duration
	// Keep tells of which threats nothing goes, because they are still open. It
	// is called in the goroutine of Collect; nil is none.
	Keep func(threat string) bool
}

// Manifest is the first file in a bundle, manifest.json: what is in it, and what
// is not.
type Manifest struct {
	Schema  int       `json:"schema"` // 1
	Threat  string    `json:"threat"` // its ID
	Summary string    `json:"summary"`
	Taken   time.Time `json:"taken"` // of the snapshot
	Written time.Time `json:"written"`
	Items   []Item    `json:"items"` // by name
	Gaps    []Gap     `json:"gaps"`
}

// Item is one file in a bundle.
type Item struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"` // lower-case hex
	Size   int64  `json:"size"`   // in bytes
	What   string `json:"what"`   // one phrase
	Note   string `json:"note"`   // what is special about it: "cut off after 262144 bytes"; or ""
}

// Gap is something that could not be kept, and why.
type Gap struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
}

const schema = 1

// threatID is what a threat's ID must look like to be part of a file name.
var threatID = regexp.MustCompile(`^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$`)

// Collect writes a bundle about a threat into dir and returns its file name. What
// cannot be read, or not in time, is a gap in the manifest and no error: an error
// means that there is no bundle. Old bundles beyond the limits are removed.
func Collect(ctx context.Context, host *platform.Host, t threat.Threat, snap platform.Snapshot, now time.Time, dir string, l Limits) (name string, err error) {
	if !threatID.MatchString(t.ID) {
		return "", fmt.Errorf("keep evidence: %q is no ID of a threat", t.ID)
	}
	if l.Within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.Within)
		defer cancel()
	}
	b := bundle{manifest: Manifest{Schema: schema, Threat: t.ID, Summary: t.Summary, Taken: snap.Taken, Written: now.UTC()}}
	b.seen(t, snap)
	b.gather(ctx, host, t.Subject)
	name, err = b.write(dir, now)
	if err != nil {
		return "", fmt.Errorf("keep evidence: %w", err)
	}
	if err := retain(dir, name, now, l); err != nil {
		return name, fmt.Errorf("remove old evidence: %w", err)
	}
	return name, nil
}

// seen keeps what is known without another look.
func (b *bundle) seen(t threat.Threat, snap platform.Snapshot) {
	b.keep("threat.json", "the threat as the agent knew it", t)
	b.keep("listeners.json", "every open port of the host", snap.Listeners)
	b.keep("system.json", "the operating system, this boot, and what was in force", system{snap.OS, snap.Boot, snap.InForce, snap.Agent})
	b.keep("sessions.json", "who was logged in", snap.Sessions)
	if p := t.Subject.Port; p != nil {
		b.keep("sockets.json", "the sockets of the threat", p.Sockets)
	}
	for _, g := range snap.Gaps {
		b.miss(string(g.Part), g.Reason)
	}
}

type system struct {
	OS      platform.OS           `json:"os"`
	Boot    platform.Boot         `json:"boot"`
	InForce platform.Restrictions `json:"in_force"`
	Agent   platform.ProcessID    `json:"agent"`
}

// keep adds v as JSON.
func (b *bundle) keep(name, what string, v any) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		b.miss(name, err.Error())
		return
	}
	b.add(file{name: name, what: what, data: append(data, '\n')})
}
