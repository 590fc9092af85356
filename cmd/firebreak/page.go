package main

import (
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A screen is at most this large, so that it can be read out from any terminal.
const (
	screenWidth = 80
	screenLines = 24
)

// labelWidth is the column at which text begins after its label.
const labelWidth = 9

// page is a screen of plain text under construction. All text that enters it is
// cleaned: a process name must not be able to move the cursor.
type page struct {
	color bool
	tight bool // every row has one line: what is left when nothing else fits
	lines []string
}

// style is how the verdict looks on a terminal with colours.
type style string

// The styles, as SGR parameters of ECMA-48.
const (
	plain style = ""
	good  style = "1;32"
	bad   style = "1;31"
	doubt style = "1;33"
)

// verdict is the first line: the answer, with where and when at its right if
// they fit there, else below.
func (p *page) verdict(s style, answer, aside string) {
	answer, aside = clip(clean(answer), screenWidth), clip(clean(aside), screenWidth)
	shown := answer
	if p.color && s != plain {
		shown = "\x1b[" + string(s) + "m" + answer + "\x1b[0m"
	}
	gap := screenWidth - width(answer) - width(aside)
	switch {
	case aside == "":
		p.lines = append(p.lines, shown)
	case gap >= 2:
		p.lines = append(p.lines, shown+strings.Repeat(" ", gap)+aside)
	default:
		p.lines = append(p.lines, shown, aside)
	}
}

// text is a paragraph without a label.
func (p *page) text(s string) { p.lines = append(p.lines, wrap(clean(s), screenWidth)...) }

// row is a label and its text, at most limit lines long (0: as long as it is).
func (p *page) row(label, s string, limit int) { p.indented("", label, labelWidth, s, limit) }

// indented is a row whose label is indented and as wide as said.
func (p *page) indented(indent, label string, labelWidth int, s string, limit int) {
	lead := indent + pad(clean(label), labelWidth)
	lines := wrap(clean(s), screenWidth-width(lead))
	if p.tight {
		limit = 1
	}
	if limit > 0 && len(lines) > limit {
		lines = append(lines[:limit-1:limit-1], clip(lines[limit-1]+" …", screenWidth-width(lead)))
	}
	for i, line := range lines {
		if i > 0 {
			lead = strings.Repeat(" ", width(lead))
		}
		p.lines = append(p.lines, strings.TrimRight(lead+line, " "))
	}
}

func (p *page) print(w io.Writer) error {
	_, err := io.WriteString(w, strings.Join(p.lines, "\n")+"\n")
	return err
}

// fit draws a screen with as many items as fit on it, at most most. If not even
// one fits, rows are cut to one line each.
func (p *page) fit(most int, draw func(p *page, items int)) {
	try := page{color: p.color}
	for n := most; n >= min(most, 1); n-- {
		try.lines = nil
		if draw(&try, n); len(try.lines) <= screenLines {
			break
		}
	}
	if len(try.lines) > screenLines {
		try = page{color: p.color, tight: true}
		draw(&try, min(most, 1))
	}
	p.lines = append(p.lines, try.lines...)
}

// clean makes text harmless to a terminal: one line, no control or invisible
// characters.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}

func width(s string) int { return utf8.RuneCountInString(s) }

func pad(s string, n int) string {
	if w := width(s); w < n {
		return s + strings.Repeat(" ", n-w)
	}
	if s == "" {
		return s
	}
	return s + " "
}

// clip cuts text to n characters; the last is then an ellipsis.
func clip(s string, n int) string {
	if width(s) <= n {
		return s
	}
	return strings.TrimRight(string([]rune(s)[:n-1]), " …") + "…"
}

// wrap breaks text into lines of at most n characters, between words; a longer
// word is broken where it must be.
func wrap(s string, n int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		for width(word) > n {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			r := []rune(word)
			lines, word = append(lines, string(r[:n])), string(r[n:])
		}
		switch {
		case line == "":
			line = word
		case width(line)+1+width(word) <= n:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	if line != "" || len(lines) == 0 {
		lines = append(lines, line)
	}
	return lines
}

// text returns what p points to, or "".
func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// clock writes a time as a person says it: the time of day if it is today.
func clock(t *time.Time, now time.Time) string {
	if t == nil {
		return "unknown"
	}
	at := t.In(now.Location())
	switch {
	case at.YearDay() == now.YearDay() && at.Year() == now.Year():
		return at.Format("15:04")
	case at.Year() == now.Year():
		return at.Format("2-Jan 15:04")
	}
	return at.Format("2-Jan-2006")
}

// where says on which host and when a screen was true.
func where(host string, now time.Time) string {
	stamp := now.Format("2-Jan 15:04")
	if host == "" {
		return stamp
	}
	return host + ", " + stamp
}

// ago says how long ago something was.
func ago(t *time.Time, now time.Time) string {
	if t == nil {
		return "never"
	}
	d := now.Sub(*t)
	switch {
	case d < 0:
		return "just now"
	case d < 2*time.Minute:
		return count(int(d/time.Second), "second") + " ago"
	case d < 2*time.Hour:
		return count(int(d/time.Minute), "minute") + " ago"
	case d < 48*time.Hour:
		return count(int(d/time.Hour), "hour") + " ago"
	}
	return count(int(d/(24*time.Hour)), "day") + " ago"
}

// plainMode says what policy lets the agent do.
var plainMode = map[string]string{"enforce": "enforced", "audit": "only watching (audit)"}
