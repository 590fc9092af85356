package configs_test

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/firebreak-sec/firebreak/configs"
)

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "15m": 15 * time.Minute, "4h": 4 * time.Hour, "7d": 7 * 24 * time.Hour, "0s": 0,
	} {
		got, err := configs.ParseDuration(text)
		if err != nil || time.Duration(got) != want {
			t.Errorf("%s: got %s, %v; want %s", text, got, err, want)
		}
	}
	for d, want := range map[configs.Duration]string{
		configs.Duration(90 * time.Minute):      "90m",
		configs.Duration(48 * time.Hour):        "2d",
		configs.Duration(0):                     "0s",
		configs.Duration(61 * time.Second):      "61s",
		configs.Duration(10 * time.Millisecond): "10ms",
	} {
		if d.String() != want {
			t.Errorf("got %s; want %s", d, want)
		}
	}
}

// An exception that ends on a day ends when that day does, where the host is.
func TestDateEnd(t *testing.T) {
	berlin := location(t, "Europe/Berlin")
	date, err := configs.ParseDate("2027-03-31")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := date.End(berlin).UTC().Format(time.RFC3339), "2027-03-31T22:00:00Z"; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
}

func TestWindows(t *testing.T) {
	berlin := location(t, "Europe/Berlin") // clocks go 02:00 -> 03:00 on 2027-03-28, and 03:00 -> 02:00 on 2027-10-31
	for _, test := range []struct {
		window, at string
		inside     bool
		next       string
	}{
		{"22:00-05:00", "2027-01-10T23:30:00+01:00", true, "2027-01-10T23:30:00+01:00"},
		{"22:00-05:00", "2027-01-10T04:59:59+01:00", true, "2027-01-10T04:59:59+01:00"},
		{"22:00-05:00", "2027-01-10T05:00:00+01:00", false, "2027-01-10T22:00:00+01:00"},
		{"22:00-05:00", "2027-01-10T21:59:59+01:00", false, "2027-01-10T22:00:00+01:00"},
		{"12:00-13:00", "2027-01-10T13:00:00+01:00", false, "2027-01-11T12:00:00+01:00"},
		{"12:00-13:00", "2027-01-10T11:59:30.5+01:00", false, "2027-01-10T12:00:00+01:00"},
		// The window that clocks skip is found the day after; half of one begins when they have jumped.
		{"02:00-03:00", "2027-03-28T00:00:00+01:00", false, "2027-03-29T02:00:00+02:00"},
		{"02:30-04:00", "2027-03-28T00:00:00+01:00", false, "2027-03-28T03:00:00+02:00"},
		{"22:00-05:00", "2027-03-28T03:00:00+02:00", true, "2027-03-28T03:00:00+02:00"},
		// Both of the hours that clocks show twice are inside.
		{"02:00-03:00", "2027-10-31T02:30:00+02:00", true, "2027-10-31T02:30:00+02:00"},
		{"02:00-03:00", "2027-10-31T02:30:00+01:00", true, "2027-10-31T02:30:00+01:00"},
		{"02:00-03:00", "2027-10-31T03:00:00+01:00", false, "2027-11-01T02:00:00+01:00"},
	} {
		window, err := configs.ParseWindow(test.window)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, test.at)
		if err != nil {
			t.Fatal(err)
		}
		at = at.In(berlin)
		if got := window.Contains(at); got != test.inside {
			t.Errorf("%s at %s: inside %v; want %v", test.window, test.at, got, test.inside)
		}
		if got := window.Next(at).Format(time.RFC3339); got != test.next {
			t.Errorf("%s at %s: next is %s; want %s", test.window, test.at, got, test.next)
		}
	}
}

func location(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}
