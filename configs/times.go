package configs

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that is written 90s, 15m, 4h or 7d.
type Duration time.Duration

// The lengths of time that a policy is written in.
const (
	second = Duration(time.Second)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

// units are what a written duration can end in, the largest first.
var units = []struct {
	suffix string
	length Duration
}{
	{"d", day},
	{"h", hour},
	{"m", minute},
	{"s", second},
}

// longest is the longest duration a policy may name: ten years, which is far
// from where a time.Duration overflows.
const longest = 3650 * day

// ParseDuration reads 90s, 15m, 4h or 7d: one whole number and one unit.
func ParseDuration(text string) (Duration, error) {
	for _, unit := range units {
		number, ok := strings.CutSuffix(text, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			break
		}
		if n > uint64(longest/unit.length) {
			return 0, fmt.Errorf("%s is too long: use at most 3650d", quote(text))
		}
		return Duration(n) * unit.length, nil
	}
	if _, err := strconv.ParseUint(text, 10, 32); err == nil {
		return 0, fmt.Errorf("%s lacks a unit: write %ss, %sm, %sh or %sd", quote(text), text, text, text, text)
	}
	return 0, fmt.Errorf("%s is not a duration: write 90s, 15m, 4h or 7d", quote(text))
}

// String writes the duration as a policy does, in the largest unit that fits.
func (d Duration) String() string {
	for _, unit := range units {
		if d != 0 && d%unit.length == 0 {
			return strconv.FormatInt(int64(d/unit.length), 10) + unit.suffix
		}
	}
	return time.Duration(d).String()
}

// Date is a day, written 2027-03-31: midnight UTC at its beginning. The zero
// Date is none.
type Date struct{ time.Time }

// ParseDate reads 2027-03-31.
func ParseDate(text string) (Date, error) {
	date, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return Date{}, fmt.Errorf("%s is not a date: write year-month-day, such as 2027-03-31", quote(text))
	}
	if date.Year() < 2000 || date.Year() > 2100 {
		return Date{}, fmt.Errorf("the year of %s is not between 2000 and 2100", text)
	}
	return Date{date}, nil
}

// End is the first instant after the day, on clocks in loc: what holds until a
// date holds through the whole of that day where the host is.
func (d Date) End(loc *time.Location) time.Time {
	return time.Date(d.Year(), d.Month(), d.Day()+1, 0, 0, 0, 0, loc)
}

// Window is a daily span of the host's local time. It may pass midnight.
type Window struct {
	From, To int // minutes after midnight; To is not included
}

// ParseWindow reads "22:00-05:00".
func ParseWindow(text string) (Window, error) {
	from, to, _ := strings.Cut(text, "-")
	first, err1 := parseClock(from)
	last, err2 := parseClock(to)
	if err1 != nil || err2 != nil {
		return Window{}, fmt.Errorf("%s is not a window: write it as \"22:00-05:00\"", quote(text))
	}
	if first == last {
		return Window{}, fmt.Errorf("the window %s is empty: leave it out to mean the whole day", text)
	}
	return Window{From: first, To: last}, nil
}

func parseClock(text string) (minutes int, err error) {
	clock, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		return 0, fmt.Errorf("%s is not a time of day", quote(text))
	}
	return clock.Hour()*60 + clock.Minute(), nil
}

// Contains tells whether a clock that shows t, in t's own location, shows a time
// inside the window. In the hour that clocks repeat in autumn both count.
func (w Window) Contains(t time.Time) bool {
	now := t.Hour()*60 + t.Minute()
	if w.From < w.To {
		return w.From <= now && now < w.To
	}
	return now >= w.From || now < w.To
}

// Next returns the first instant, at or after t, that lies in the window. It
// tries minute after minute instead of calculating, so that a window which
// clocks skip in spring is found on the day after.
func (w Window) Next(t time.Time) time.Time {
	if w.Contains(t) {
		return t
	}
	next := t.Add(-time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
	for range 3 * 24 * 60 {
		next = next.Add(time.Minute)
		if w.Contains(next) {
			break
		}
	}
	return next
}
