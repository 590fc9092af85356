package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// narrator prints the story, in lines of at most 80 columns, each with the time
// since it began and who it is about.
type narrator struct {
	out   io.Writer
	start time.Time

	mu     sync.Mutex // several people speak
	threat string     // the threat the story is about
}

const columns = 80

// text prints a paragraph.
func (n *narrator) text(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wrap("", "", text)
	fmt.Fprintln(n.out)
}

func (n *narrator) gap() {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintln(n.out)
}

func (n *narrator) chapter(title string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintf(n.out, "%s\n\n", title)
}

// line prints what somebody does or sees.
func (n *narrator) line(who, what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	lead := fmt.Sprintf("%5.1f s  %-9s ", time.Since(n.start).Seconds(), who)
	n.wrap(lead, strings.Repeat(" ", len(lead)), what)
}

// screen prints what a command of the agent printed, between two rules.
func (n *narrator) screen(command, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	head := "---- " + command + " "
	fmt.Fprintln(n.out, head+strings.Repeat("-", max(0, columns-len(head))))
	fmt.Fprintln(n.out, strings.TrimSpace(text))
	fmt.Fprintln(n.out, strings.Repeat("-", columns))
}

func (n *narrator) wrap(first, next, text string) {
	line := first
	empty := true
	for _, word := range strings.Fields(text) {
		if !empty && len(line)+1+len(word) > columns {
			fmt.Fprintln(n.out, line)
			line, empty = next, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	fmt.Fprintln(n.out, line)
}

// history prints the entries of `firebreak history --follow --json` that are
// about the threat of port 6379.
func (n *narrator) history(in io.Reader) error {
	for entries := json.NewDecoder(in); ; {
		var e struct {
			Kind   string `json:"kind"`
			Threat string `json:"threat"`
			Action string `json:"action"`
			Text   string `json:"text"`
		}
		if err := entries.Decode(&e); err != nil {
			return err
		}
		if n.threat == "" && e.Kind == "found" && strings.Contains(e.Text, "6379") {
			n.threat = e.Threat
		}
		if n.threat == "" || e.Threat != n.threat {
			continue
		}
		if !strings.Contains(e.Text, e.Action) {
			e.Text = e.Action + ": " + e.Text
		}
		n.line("firebreak", e.Text)
	}
}

// watch says from outside what a port answers, each time that changes.
func (o Outside) watch(ctx context.Context, n *narrator, port uint16) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for last := ""; ctx.Err() == nil; <-tick.C {
		if now := o.see(stranger4, port); now != last {
			n.line("stranger", fmt.Sprintf("port %d: %s", port, now))
			last = now
		}
	}
}

// settle gives the last news a moment to arrive.
func (o Outside) settle(ctx context.Context, n *narrator) {
	after := time.NewTimer(500 * time.Millisecond)
	defer after.Stop()
	select {
	case <-ctx.Done():
	case <-after.C:
	}
}
