package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent/evidence"
	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/platform"
)

func newEvidence(e *env) *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "evidence ID",
		Short: "What was kept before acting on a threat; -o copies the newest",
		Args:  cobra.ExactArgs(1),
		RunE:  func(_ *cobra.Command, args []string) error { return e.evidence(args[0], to) },
	}
	c.Flags().StringVarP(&to, "output", "o", "", "copy the newest bundle to this file (a .tar.gz)")
	return c
}

// evidence lists the bundles of a threat straight from their folder, so that it
// also works when no agent does.
func (e *env) evidence(id, to string) error {
	id = localapi.ThreatID(id)
	out := localapi.Evidence{Schema: localapi.Schema, Threat: id, Bundles: []localapi.Bundle{}}
	all, err := evidence.List(e.evidenceDir())
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("read evidence: %w", platform.ErrNotPermitted)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	for _, b := range all {
		if b.Threat != id {
			continue
		}
		at, path := b.At.UTC(), filepath.Join(e.evidenceDir(), b.Name)
		out.Bundles = append(out.Bundles, localapi.Bundle{
			Name: b.Name, Path: path, Bytes: b.Size, Written: &at, Intact: evidence.Verify(path) == nil,
		})
	}
	if len(out.Bundles) == 0 {
		return &localapi.Error{Code: localapi.NotFound, Message: "no evidence was kept for " + id}
	}
	if to != "" {
		if err := copyEvidence(out.Bundles[len(out.Bundles)-1].Path, to); err != nil {
			return err
		}
	}
	return e.show(out, func(p *page) { evidenceScreen(p, out, to, e.now()) })
}

// copyEvidence copies a bundle into a new file that only its owner may read: it
// holds command lines.
func copyEvidence(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("read evidence: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("copy evidence: %w", err)
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("copy evidence: %w", err)
	}
	return nil
}

func evidenceScreen(p *page, ev localapi.Evidence, to string, now time.Time) {
	p.verdict(plain, count(len(ev.Bundles), "bundle")+" of evidence for "+ev.Threat, "")
	for _, b := range ev.Bundles {
		state := "intact"
		if !b.Intact {
			state = "ALTERED or damaged since"
		}
		p.text(fmt.Sprintf("%s  %d kB, written %s, %s", b.Path, (b.Bytes+1023)/1024, clock(b.Written, now), state))
	}
	if to != "" {
		p.row("Copied", "the newest to "+to, 0)
	}
	p.row("Careful", "command lines in it may hold secrets: hand it to investigators only", 0)
}
