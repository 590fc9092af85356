package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// count is what became of tests, subtests included.
type count struct {
	passed, failed, skipped int
	reasons                 []string // one for each skipped test
}

func (c *count) add(other count) {
	c.passed += other.passed
	c.failed += other.failed
	c.skipped += other.skipped
	c.reasons = append(c.reasons, other.reasons...)
}

// event is one line of go test -json; see go doc test2json, and for the build
// events go help buildjson.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
	Elapsed    float64
}

// countEvents counts the tests in the output of go test -json, and writes what a
// person wants to see: one line a package, and all that a failed test said. A
// package that fails without a failed test (it does not build, it panics, it
// runs out of time) counts as one failure.
func countEvents(in io.Reader, out io.Writer) (count, error) {
	c := count{}
	said := map[string]*strings.Builder{} // by package and test, until it ends
	failedIn := map[string]int{}          // failed tests of a package
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			c.take(line, said, failedIn, out)
		}
		if err == io.EOF {
			return c, nil
		}
		if err != nil {
			return c, err
		}
	}
}

func (c *count) take(line string, said map[string]*strings.Builder, failedIn map[string]int, out io.Writer) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil {
		fmt.Fprint(out, line) // not an event: a person should see it
		return
	}
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(out, e.Output)
	case "output":
		if said[key] == nil {
			said[key] = &strings.Builder{}
		}
		said[key].WriteString(e.Output)
	case "pass", "fail", "skip":
		text := ""
		if b := said[key]; b != nil {
			text = b.String()
			delete(said, key)
		}
		if e.Test == "" {
			c.packageEnd(e, text, said, failedIn[e.Package], out)
		} else {
			c.testEnd(e, text, failedIn, out)
		}
	}
}

func (c *count) testEnd(e event, text string, failedIn map[string]int, out io.Writer) {
	switch e.Action {
	case "pass":
		c.passed++
	case "skip":
		c.skipped++
		c.reasons = append(c.reasons, e.Test+": "+reason(text))
	case "fail":
		c.failed++
		failedIn[e.Package]++
		fmt.Fprint(out, text)
	}
}

func (c *count) packageEnd(e event, text string, said map[string]*strings.Builder, failed int, out io.Writer) {
	if e.Action != "fail" {
		if e.Action == "pass" {
			fmt.Fprintf(out, "ok    %s %.1fs\n", e.Package, e.Elapsed)
		}
		return
	}
	if failed == 0 {
		c.failed++
		for key, b := range said { // tests that were running when it broke off
			if strings.HasPrefix(key, e.Package+" ") {
				fmt.Fprint(out, b.String())
			}
		}
		fmt.Fprint(out, text)
	}
	fmt.Fprintf(out, "FAIL  %s %.1fs\n", e.Package, e.Elapsed)
}

// reason is what a skipped test said, without the frame go test puts around it.
func reason(text string) string {
	var words []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		words = append(words, line)
	}
	if len(words) == 0 {
		return "no reason given"
	}
	return strings.Join(words, " ")
}
