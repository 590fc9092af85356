package main

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// share is how many statements of a package the tests ran.
type share struct {
	name                string
	covered, statements int
}

func (s share) percent() float64 {
	if s.statements == 0 {
		return 0
	}
	return 100 * float64(s.covered) / float64(s.statements)
}

// readProfile sums up a coverage profile by package. A block appears once for
// each test program that holds it; it is covered if one of them ran it.
func readProfile(in io.Reader) ([]share, error) {
	type block struct {
		statements int
		run        bool
	}
	blocks := map[string]block{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "mode:") {
			continue
		}
		var place string
		var statements, runs int
		if _, err := fmt.Sscan(lines.Text(), &place, &statements, &runs); err != nil {
			return nil, fmt.Errorf("read line %q: %w", lines.Text(), err)
		}
		blocks[place] = block{statements, runs > 0 || blocks[place].run}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	byPackage := map[string]share{}
	for place, b := range blocks {
		file, _, _ := strings.Cut(place, ":")
		s := byPackage[path.Dir(file)]
		s.name = path.Dir(file)
		s.statements += b.statements
		if b.run {
			s.covered += b.statements
		}
		byPackage[s.name] = s
	}
	var out []share
	for _, s := range byPackage {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b share) int { return strings.Compare(a.name, b.name) })
	return out, nil
}
