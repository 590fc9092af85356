// Tally runs go test and counts. Its last line is always
//
//	N passed, N failed, N skipped
//
// and it exits with 1 if anything failed, if no test ran, or if coverage is
// below what was asked for. Every skipped test is listed with its reason.
//
//	tally [-cover-of PATTERNS -at-least PERCENT] -- GO-TEST-ARGS [-- GO-TEST-ARGS]...
//
// Each group of arguments is one run of go test, one after the other: tests that
// measure time do not share the machine with the rest.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

func main() {
	coverOf := flag.String("cover-of", "", "packages whose coverage is measured in the first run, separated by commas")
	atLeast := flag.Float64("at-least", 0, "least coverage, in percent, of all these packages together")
	flag.Parse()
	ok, err := run(groups(flag.Args()), *coverOf, *atLeast, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// groups splits arguments at each "--".
func groups(args []string) (out [][]string) {
	for {
		i := slices.Index(args, "--")
		if i < 0 {
			return append(out, args)
		}
		out, args = append(out, args[:i]), args[i+1:]
	}
}

func run(runs [][]string, coverOf string, atLeast float64, out io.Writer) (ok bool, err error) {
	dir, err := os.MkdirTemp("", "tally")
	if err != nil {
		return false, fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	profile := filepath.Join(dir, "cover.out")

	var total count
	for i, args := range runs {
		if i == 0 && coverOf != "" {
			args = append([]string{"-coverpkg=" + coverOf, "-coverprofile=" + profile}, args...)
		}
		one, err := goTest(args, out)
		if err != nil {
			return false, err
		}
		total.add(one)
	}
	ok = total.failed == 0 && total.passed > 0
	for _, reason := range total.reasons {
		fmt.Fprintln(out, "skipped:", reason)
	}
	if coverOf != "" && total.failed == 0 {
		if err := checkCoverage(profile, atLeast, out); err != nil {
			fmt.Fprintln(out, err)
			ok = false
		}
	}
	if total.passed+total.failed == 0 {
		fmt.Fprintln(out, "no test ran")
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", total.passed, total.failed, total.skipped)
	return ok, nil
}

func checkCoverage(profile string, atLeast float64, out io.Writer) error {
	f, err := os.Open(profile)
	if err != nil {
		return fmt.Errorf("open coverage profile: %w", err)
	}
	defer f.Close()
	packages, err := readProfile(f)
	if err != nil {
		return fmt.Errorf("read coverage profile: %w", err)
	}
	var all share
	for _, p := range packages {
		fmt.Fprintf(out, "coverage: %5.1f %% %s\n", p.percent(), p.name)
		all.covered += p.covered
		all.statements += p.statements
	}
	if all.percent() < atLeast {
		return fmt.Errorf("coverage: %.1f %% of all these; at least %.0f %% is asked for", all.percent(), atLeast)
	}
	fmt.Fprintf(out, "coverage: %5.1f %% of all these\n", all.percent())
	return nil
}

// goTest runs go test once, passes on what a person wants to read, and counts.
func goTest(args []string, out io.Writer) (count, error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return count{}, fmt.Errorf("open pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return count{}, fmt.Errorf("start go test: %w", err)
	}
	c, readErr := countEvents(events, out)
	waitErr := cmd.Wait()
	if readErr != nil {
		return c, fmt.Errorf("read what go test says: %w", readErr)
	}
	if waitErr != nil && c.failed == 0 {
		c.failed++
		fmt.Fprintln(out, "go test:", waitErr)
	}
	return c, nil
}
