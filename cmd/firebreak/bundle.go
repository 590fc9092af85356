package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/configs"
)

// bundleHistory is how many of the newest entries of the history go into an
// archive for support.
const bundleHistory = 500

// bundleFile is one file of an archive for support.
type bundleFile struct {
	name string
	what string // one line: what is in it
	data []byte
}

// bundle writes an archive that can be handed to strangers: every file went
// through the scrubber.
func (e *env) bundle(ctx context.Context, path string, d localapi.Doctor) error {
	files := e.bundleFiles(ctx, d)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	if err := errors.Join(e.pack(f, files), f.Close()); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	out := localapi.BundleReply{Schema: localapi.Schema, File: path, Contents: []string{}}
	for _, one := range files {
		out.Contents = append(out.Contents, one.name+": "+one.what)
	}
	return e.show(out, func(p *page) {
		p.verdict(plain, "An archive for support is in "+path, "")
		for _, line := range out.Contents {
			p.indented("  ", "", 0, line, 0)
		}
		p.row("Left out", scrubRule, 0)
		p.row("Next", "look through it, then send it", 0)
	})
}

// bundleFiles collects what there is; what cannot be had is said in its place.
func (e *env) bundleFiles(ctx context.Context, d localapi.Doctor) []bundleFile {
	files := []bundleFile{
		asJSON("doctor.json", "what works on this computer", d, nil),
		asJSON("version.json", "this program", thisVersion(), nil),
	}
	status, err := e.agent().Status(ctx)
	files = append(files, asJSON("status.json", "the agent's status, redacted", status.Redact(), err))
	history, err := e.newest(ctx)
	files = append(files, asJSON("history.json", fmt.Sprintf("the newest %d entries of the history", bundleHistory), history, err))
	policy, err := configs.ReadPolicyFile(e.policyFile())
	if err != nil {
		policy = []byte("# " + err.Error() + "\n")
	}
	files = append(files, bundleFile{"policy.yaml", "the policy file, with its contact", policy})
	s := newScrubber(d.Host, status)
	var contents strings.Builder
	for i := range files {
		files[i].data = s.scrub(files[i].data)
		fmt.Fprintf(&contents, "%s: %s\n", files[i].name, files[i].what)
	}
	readme := "An archive for support, made by firebreak doctor --bundle.\n\n" + contents.String() + "\nLeft out: " + scrubRule + "\n"
	return append([]bundleFile{{"README.txt", "what is in this archive and what was left out", []byte(readme)}}, files...)
}

func asJSON(name, what string, v any, err error) bundleFile {
	if err != nil {
		v = map[string]string{"not available": err.Error()}
	}
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		data = []byte(err.Error())
	}
	return bundleFile{name, what, append(data, '\n')}
}

// newest returns the newest entries of the history, without who asked.
func (e *env) newest(ctx context.Context) ([]localapi.Entry, error) {
	var all []localapi.Entry
	for after := uint64(0); ; {
		page, err := e.agent().History(ctx, after, 0)
		if err != nil || len(page.Entries) == 0 {
			return all, err
		}
		for _, entry := range page.Entries {
			after = entry.Seq
			entry.By = nil
			all = append(all, entry)
		}
		all = all[max(0, len(all)-bundleHistory):]
	}
}

func (e *env) pack(w io.Writer, files []bundleFile) error {
	zip := gzip.NewWriter(w)
	tape := tar.NewWriter(zip)
	for _, f := range files {
		head := tar.Header{Name: "firebreak/" + f.name, Mode: 0o600, Size: int64(len(f.data)), ModTime: e.now()}
		if err := tape.WriteHeader(&head); err != nil {
			return err
		}
		if _, err := tape.Write(f.data); err != nil {
			return err
		}
	}
	return errors.Join(tape.Close(), zip.Close())
}
