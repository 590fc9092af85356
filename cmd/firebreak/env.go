package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/platform"
)

// version is set when a release is linked.
var version = "0.0.0-dev"

// env is what every command is given: the common flags, and the world it talks
// to.
type env struct {
	config string // folder of the policy
	state  string // folder of the journal and the evidence
	socket string
	json   bool

	out, err io.Writer
	in       io.Reader
	outTTY   bool // a person reads out
	errTTY   bool
	inTTY    bool
	color    bool
	now      func() time.Time
}

func newEnv(out, err, in *os.File) *env {
	e := &env{out: out, err: err, in: in, now: time.Now}
	e.outTTY, e.errTTY = term.IsTerminal(int(out.Fd())), term.IsTerminal(int(err.Fd()))
	e.inTTY = term.IsTerminal(int(in.Fd()))
	e.color = e.outTTY && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return e
}

func (e *env) policyFile() string  { return filepath.Join(e.config, "policy.yaml") }
func (e *env) journalFile() string { return filepath.Join(e.state, "journal.db") }
func (e *env) evidenceDir() string { return filepath.Join(e.state, "evidence") }

func (e *env) agent() *localapi.Client { return localapi.NewClient(e.socket) }

func (e *env) host(root string) *platform.Host {
	return platform.Local(platform.Options{StateDir: e.state, Root: root})
}

// page returns a page of text for people.
func (e *env) page() *page { return &page{color: e.color} }

// show prints v as JSON if that was asked for, and else the screen.
func (e *env) show(v any, screen func(*page)) error {
	if e.json {
		return e.printJSON(v, "  ")
	}
	p := e.page()
	screen(p)
	return p.print(e.out)
}

// printJSON writes one JSON value and a newline; indent "" keeps it on one line.
func (e *env) printJSON(v any, indent string) error {
	enc := json.NewEncoder(e.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// report tells the person what went wrong and returns the exit code.
func (e *env) report(err error) int {
	if err == nil {
		return 0
	}
	var quiet exit
	if errors.As(err, &quiet) {
		return int(quiet)
	}
	fault, code := faultOf(err)
	if e.json && e.printJSON(localapi.Failure{Schema: localapi.Schema, Error: fault}, "  ") == nil {
		return code
	}
	message, hint := fault.Message, ""
	if code == exitUsage {
		message, hint, _ = strings.Cut(message, "\n")
	}
	// The exit code says the same; nobody is left to tell if this fails.
	_, _ = fmt.Fprintln(e.err, "firebreak: "+clean(message))
	if hint != "" {
		_, _ = fmt.Fprintln(e.err, clean(hint))
	}
	return code
}
