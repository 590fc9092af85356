package configs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// PolicyError is one mistake in a policy file.
type PolicyError struct {
	File       string `json:"file"`
	Line       int    `json:"line"`   // from 1
	Column     int    `json:"column"` // from 1, in characters
	Problem    string `json:"problem"`
	Suggestion string `json:"suggestion"` // "" if none is known
}

// Error prints the mistake on one line, as compilers do:
//
//	policy.yaml:7:3: unknown field "dney": did you mean "deny"?
func (e *PolicyError) Error() string {
	text := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Problem)
	if e.Suggestion != "" {
		text += ": " + e.Suggestion
	}
	return text
}

// mostProblems is how many mistakes are told at once: the rest of a file that
// has more is likely to be a file of another kind.
const mostProblems = 20

// join returns all problems as one error, in the order of the file; nil if
// there are none.
func join(problems []*PolicyError) error {
	slices.SortStableFunc(problems, func(a, b *PolicyError) int {
		return cmp.Or(a.Line-b.Line, a.Column-b.Column)
	})
	var all []error
	for _, p := range problems[:min(len(problems), mostProblems)] {
		all = append(all, p)
	}
	return errors.Join(all...)
}
