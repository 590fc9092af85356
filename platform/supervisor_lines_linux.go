package platform

import (
	"slices"
	"strings"
)

// stateLines is the key under which a Program holds the lines of its file that
// are about it, each with its end.
const stateLines = "lines"

func (p Program) lines() []string { return slices.Collect(strings.Lines(p.State[stateLines])) }

func lineIn(text string) func(string) bool {
	all := slices.Collect(strings.Lines(text))
	return func(line string) bool { return slices.Contains(all, line) }
}

// linesOff makes comments of the program's lines.
func (p Program) linesOff(text string) string {
	m, own := p.mark(), p.lines()
	var out strings.Builder
	for line := range strings.Lines(text) {
		if slices.Contains(own, line) {
			line = m.off(line)
		}
		out.WriteString(line)
	}
	return out.String()
}

func (p Program) mark() mark { return markOf(p.Kind, p.State[stateLines]) }

func (p Program) closeLines() error {
	for _, f := range p.Files {
		if err := f.edit(func(text string) (string, error) { return p.linesOff(text), nil }); err != nil {
			return err
		}
	}
	FaultPoint("supervisors.unkept")
	return nil
}

func (p Program) reopenLines() error {
	for _, f := range p.Files {
		if err := f.edit(func(text string) (string, error) { return p.mark().takeBack(text), nil }); err != nil {
			return err
		}
	}
	return nil
}
