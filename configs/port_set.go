package configs

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// PortSet is a set of ports: a number, a span "5900-5999", or a list of both.
type PortSet []PortSpan

// PortSpan is the ports First to Last, both included.
type PortSpan struct{ First, Last uint16 }

// Has tells whether the set holds port. The empty set holds every port.
func (s PortSet) Has(port uint16) bool {
	if len(s) == 0 {
		return true
	}
	return slices.ContainsFunc(s, func(p PortSpan) bool { return p.First <= port && port <= p.Last })
}

// Single tells whether the set is one single number.
func (s PortSet) Single() bool { return len(s) == 1 && s[0].First == s[0].Last }

// String writes the set as a policy does: 23, 445, 5900-5999.
func (s PortSet) String() string {
	var parts []string
	for _, p := range s {
		parts = append(parts, p.String())
	}
	return strings.Join(parts, ", ")
}

// String writes the span as a policy does: 23, or 5900-5999.
func (p PortSpan) String() string {
	if p.First == p.Last {
		return strconv.Itoa(int(p.First))
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// parsePort reads one number from 1 to 65535, in plain decimal digits.
func parsePort(text string) (uint16, error) {
	n, err := parseNumber(text)
	if err != nil || n < 1 || n > 65535 {
		return 0, fmt.Errorf("%s is not a port: ports are whole numbers from 1 to 65535", quote(text))
	}
	return uint16(n), nil
}

// parseSpan reads "5900-5999".
func parseSpan(text string) (PortSpan, error) {
	from, to, _ := strings.Cut(text, "-")
	if from == "" || to == "" {
		if _, err := parsePort(text); err == nil {
			return PortSpan{}, fmt.Errorf("port %s is text: write it without quotes", text)
		}
		return PortSpan{}, fmt.Errorf("%s is not a port: write a number, or a span such as \"5900-5999\"", quote(text))
	}
	first, err := parsePort(from)
	if err != nil {
		return PortSpan{}, err
	}
	last, err := parsePort(to)
	if err != nil {
		return PortSpan{}, err
	}
	if first > last {
		return PortSpan{}, fmt.Errorf("the span %s runs backwards: did you mean \"%d-%d\"?", text, last, first)
	}
	return PortSpan{First: first, Last: last}, nil
}

// parseNumber reads a whole number in plain decimal digits: YAML's other forms
// (0x17, 0o27, 1_000, 027) mean different numbers to different readers.
func parseNumber(text string) (int, error) {
	if len(text) > 1 && text[0] == '0' {
		return 0, errors.New("a number must not begin with 0")
	}
	return strconv.Atoi(text)
}
