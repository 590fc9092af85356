package platform

import (
	"regexp"
	"strings"
)

// mark is what a line begins with that the agent put into the file of a
// supervisor for one program. A "#" begins a comment in all of these files.
// There are two such lines:
//
//	#firebreak 1f0c27aa# LINE    a line that counts no more
//	#firebreak 1f0c27aa#+        the next line is the agent's
//
// so that each edit can be taken back by itself, and all that is not the agent's
// stays byte for byte as it is.
type mark string

var (
	lineOff   = regexp.MustCompile(`^#firebreak [0-9a-f]{8}# `)
	lineAdded = regexp.MustCompile(`^#firebreak [0-9a-f]{8}#\+\n$`)
)

func markOf(kind, name string) mark { return mark("#firebreak " + hashOf(kind + " " + name)[:8] + "#") }

func (m mark) off(line string) string   { return string(m) + " " + line }
func (m mark) added(line string) string { return string(m) + "+\n" + line + "\n" }

// takeBack returns the text without the edits for one program.
func (m mark) takeBack(text string) string {
	return takeBack(text,
		func(line string) bool { return line == string(m)+"+\n" },
		func(line string) string { return strings.TrimPrefix(line, string(m)+" ") })
}

// withoutMarks returns the text without any edit of the agent.
func withoutMarks(text string) string {
	return takeBack(text, lineAdded.MatchString, func(line string) string { return lineOff.ReplaceAllString(line, "") })
}

func takeBack(text string, isAdded func(string) bool, on func(string) string) string {
	var out strings.Builder
	skip := false
	for line := range strings.Lines(text) {
		switch {
		case skip:
			skip = false
		case isAdded(line):
			skip = true
		default:
			out.WriteString(on(line))
		}
	}
	return out.String()
}
