package configs

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

//go:generate go run ./genlifecycle

//go:embed lifecycle.csv
var builtinLifecycle string

// Lifecycle is a table of operating system releases: when each came out and how
// long it is kept secure. The zero value is the table built into the program.
//
// The table stays the text it came as and is read a product at a time, so that
// an agent that looks once in a while holds none of it in memory.
type Lifecycle struct{ text string }

// Release is one row of the table. A Date that is zero is none announced. A date
// of end is the last day of what ends.
type Release struct {
	Product  string // "debian", "windows-server"
	Cycle    string // the version as far as support depends on it: "12", "24.04", "11-25h2-e"
	Codename string // "bookworm", "Noble Numbat"
	Build    string // Windows only: "26100"
	Edition  string // Windows only, classes separated by "|": "home|pro"
	Released Date
	// SupportEnd is the end of everything the vendor does for it by default, such
	// as new hardware; it is no matter of security.
	SupportEnd Date
	// SecurityEnd is the end of the security updates that everybody gets.
	SecurityEnd Date
	// ExtendedEnd is the end of the product's extended support, see Product.Extended.
	ExtendedEnd Date
	// FurtherEnd is the end of what can be bought after that, see Product.Further.
	FurtherEnd Date
	LTS        bool
	State      ReleaseState
	Source     string // name of a source in the table's head
	Note       string
}

// ReleaseState says why a release has no dates.
type ReleaseState string

// The states of a release.
const (
	Dated       ReleaseState = ""            // it has an end of security updates
	Rolling     ReleaseState = "rolling"     // it has no releases, only updates
	Development ReleaseState = "development" // not yet released
	Undated     ReleaseState = "undated"     // supported, no end announced
	Unverified  ReleaseState = "unverified"  // announced; its dates are not known for sure
)

var releaseStates = []ReleaseState{Dated, Rolling, Development, Undated, Unverified}

// lifecycleColumns is the line that must stand above the rows.
const lifecycleColumns = "product,cycle,codename,build,released,support_end,security_end,extended_end,further_end,lts,edition,state,source,note"

// maxLifecycle bounds a table in bytes: some ten times what there is.
const maxLifecycle = 512 << 10

// DataDate is the day on which the table was last compared with its sources.
func (l Lifecycle) DataDate() Date {
	for line := range strings.Lines(l.source()) {
		if day, ok := strings.CutPrefix(line, "# data "); ok {
			date, _ := parseDay(strings.TrimSpace(day))
			return date
		}
	}
	return Date{}
}

// Releases returns the rows of one product in the order of its versions; none
// if the table does not know the product.
func (l Lifecycle) Releases(product string) []Release {
	var out []Release
	for line := range strings.Lines(l.source()) {
		if !strings.HasPrefix(line, product) {
			continue
		}
		if r, err := parseRelease(line); err == nil && r.Product == product {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, byVersion)
	return out
}

// All returns every row, sorted by product and version.
func (l Lifecycle) All() []Release {
	var out []Release
	for line := range strings.Lines(l.source()) {
		if r, err := parseRelease(line); err == nil {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, byVersion)
	return out
}

func (l Lifecycle) source() string {
	if l.text == "" {
		return builtinLifecycle
	}
	return l.text
}

// ParseLifecycle reads a table and says of every line what is wrong with it. The
// text is CSV without quotes, under comment lines that give the date of the data
// ("# data 2026-08-22") and name its sources ("# source NAME what it is").
func ParseLifecycle(text string) (Lifecycle, error) {
	if len(text) > maxLifecycle {
		return Lifecycle{}, fmt.Errorf("lifecycle table has %d bytes, more than %d", len(text), maxLifecycle)
	}
	var (
		problems []error
		number   int
		check    = tableCheck{sources: map[string]bool{}, seen: map[string]int{}}
	)
	for line := range strings.Lines(text) {
		number++
		if err := check.line(number, strings.TrimRight(line, "\n")); err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", number, err))
		}
	}
	if !check.dated {
		problems = append(problems, errors.New("the table has no date of its data"))
	}
	if !check.headed {
		problems = append(problems, errors.New("the table has no line that names its columns"))
	}
	if len(problems) > 0 {
		return Lifecycle{}, fmt.Errorf("read lifecycle table: %w", errors.Join(problems...))
	}
	return Lifecycle{text: text}, nil
}

// tableCheck is what must be remembered of the lines above to judge the next.
type tableCheck struct {
	dated, headed bool
	sources       map[string]bool
	seen          map[string]int // line of each product and cycle
}

func (c *tableCheck) line(number int, line string) error {
	words := strings.Fields(line)
	switch {
	case strings.HasPrefix(line, "# data ") && len(words) == 3:
		if _, err := parseDay(words[2]); err != nil || c.dated {
			return errors.New("the table must have one date of its data, written # data 2026-08-22")
		}
		c.dated = true
		return nil
	case strings.HasPrefix(line, "# source ") && len(words) > 3:
		c.sources[words[2]] = true
		return nil
	case strings.HasPrefix(line, "#"):
		return nil
	case line == lifecycleColumns && !c.headed:
		c.headed = true
		return nil
	}
	r, err := parseRelease(line)
	if err != nil {
		return err
	}
	if err := r.check(c.sources); err != nil {
		return err
	}
	key := r.Product + "," + r.Cycle
	if first := c.seen[key]; first != 0 {
		return fmt.Errorf("%s %s is in line %d already", r.Product, r.Cycle, first)
	}
	c.seen[key] = number
	return nil
}

// parseRelease reads one row. A comment and the line of column names are errors.
func parseRelease(line string) (Release, error) {
	f := strings.Split(strings.TrimRight(line, "\r\n"), ",")
	if want := strings.Count(lifecycleColumns, ",") + 1; len(f) != want {
		return Release{}, fmt.Errorf("has %d fields, not %d", len(f), want)
	}
	if f[9] != "" && f[9] != "1" {
		return Release{}, fmt.Errorf("lts is %q, neither 1 nor empty", f[9])
	}
	r := Release{
		Product: f[0], Cycle: f[1], Codename: f[2], Build: f[3],
		LTS: f[9] == "1", Edition: f[10], State: ReleaseState(f[11]), Source: f[12], Note: f[13],
	}
	for i, date := range []*Date{&r.Released, &r.SupportEnd, &r.SecurityEnd, &r.ExtendedEnd, &r.FurtherEnd} {
		if f[4+i] == "" {
			continue
		}
		day, err := parseDay(f[4+i])
		if err != nil {
			return Release{}, err
		}
		*date = day
	}
	return r, nil
}

// check finds what contradicts itself in a row.
func (r Release) check(sources map[string]bool) error {
	if r.Product == "" || r.Cycle == "" {
		return errors.New("names no product or no cycle")
	}
	if strings.ContainsAny(r.Product+r.Cycle, " \t\"'") {
		return fmt.Errorf("%s %s has a space or a quote in its name", r.Product, r.Cycle)
	}
	if !slices.Contains(releaseStates, r.State) {
		return fmt.Errorf("state %q is unknown", r.State)
	}
	if !sources[r.Source] {
		return fmt.Errorf("source %q is not named in the head of the table", r.Source)
	}
	if (r.State == Dated) == r.SecurityEnd.IsZero() {
		return errors.New("a release has either an end of security updates or a state that says why not")
	}
	last, name := r.Released, "released"
	for _, next := range []struct {
		name string
		date Date
	}{
		{"support_end", r.SupportEnd},
		{"security_end", r.SecurityEnd},
		{"extended_end", r.ExtendedEnd},
		{"further_end", r.FurtherEnd},
	} {
		if next.date.IsZero() {
			continue
		}
		if next.date.Before(last.Time) {
			return fmt.Errorf("%s %s is before %s %s", next.name, next.date.Format(time.DateOnly), name, last.Format(time.DateOnly))
		}
		last, name = next.date, next.name
	}
	return nil
}

func parseDay(text string) (Date, error) {
	day, err := time.Parse(time.DateOnly, text)
	if err != nil || day.Year() < 1990 || day.Year() > 2100 {
		return Date{}, fmt.Errorf("%q is not a day of 1990 to 2100 written 2027-03-31", text)
	}
	return Date{day}, nil
}

func byVersion(a, b Release) int {
	if c := strings.Compare(a.Product, b.Product); c != 0 {
		return c
	}
	return CompareVersions(a.Cycle, b.Cycle)
}

// CompareVersions orders version numbers as people do: 9 before 10, 24.04 before
// 24.10, 15.7 before 16.0. Numbers of any length are compared, none overflows.
func CompareVersions(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		m, n := digits(x), digits(y)
		if m == 0 || n == 0 {
			if x[0] != y[0] {
				return int(x[0]) - int(y[0])
			}
			x, y = x[1:], y[1:]
			continue
		}
		p, q := strings.TrimLeft(x[:m], "0"), strings.TrimLeft(y[:n], "0")
		if len(p) != len(q) {
			return len(p) - len(q)
		}
		if c := strings.Compare(p, q); c != 0 {
			return c
		}
		x, y = x[m:], y[n:]
	}
	if c := len(x) - len(y); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

// digits counts the digits that s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}
