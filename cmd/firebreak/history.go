package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-sec/firebreak/agent/localapi"
)

// followWait is how long one question of --follow waits for news.
const followWait = 25 * time.Second

func newHistory(e *env) *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use:   "history [ID]",
		Short: "What happened and who did it; --follow as it happens",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			h := historian{env: e}
			if len(args) == 1 {
				h.only = localapi.ThreatID(args[0])
			}
			return h.tell(c.Context(), follow)
		},
		ValidArgsFunction: threatID(e),
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on and show what comes")
	return c
}

// historian prints the history in order: with --json one object a line.
type historian struct {
	*env
	only string // a threat's ID, or "" for everything
	day  string // the day under which lines stand now
	told int
}

func (h *historian) tell(ctx context.Context, follow bool) error {
	after, wait := uint64(0), time.Duration(0)
	for {
		page, err := h.agent().History(ctx, after, wait)
		switch {
		case errors.Is(err, context.Canceled):
			return nil
		case err != nil:
			return err
		}
		for _, entry := range page.Entries {
			after = entry.Seq
			if err := h.print(entry); err != nil {
				return err
			}
		}
		switch {
		case len(page.Entries) > 0:
		case follow:
			wait = followWait
		default:
			return h.end()
		}
	}
}

func (h *historian) print(entry localapi.Entry) error {
	if h.only != "" && text(entry.Threat) != h.only {
		return nil
	}
	h.told++
	if h.json {
		return h.printJSON(entry, "")
	}
	p := h.page()
	at := entryTime(entry).In(h.now().Location())
	if day := at.Format("Mon 2-Jan-2006"); day != h.day {
		h.day = day
		p.text(day)
	}
	historyLine(p, entry, at)
	return p.print(h.out)
}

func (h *historian) end() error {
	if h.told > 0 || h.json {
		return nil
	}
	p := h.page()
	p.text("Nothing has happened yet.")
	return p.print(h.out)
}

func entryTime(entry localapi.Entry) time.Time {
	if entry.At == nil {
		return time.Time{}
	}
	return *entry.At
}

// historyLine is when, which threat, what, and who if it was a person.
func historyLine(p *page, entry localapi.Entry, at time.Time) {
	lead := fmt.Sprintf("%s  %-7s", at.Format("15:04:05"), text(entry.Threat))
	sentence := text(entry.Text)
	if who := text(entry.By); who != "" && who != "agent" && who != "policy" && !strings.Contains(sentence, who) {
		sentence += by(entry.By)
	}
	p.indented("", lead, width(lead)+1, sentence, 0)
}
