package detect

import (
	"fmt"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
)

// longestName is how many characters of a name that the host wrote are shown.
const longestName = 80

// name is what people call what the host runs.
func (a assessment) name() string {
	if !a.claim.derived && a.claim.product.Key != "" && a.release.Cycle != "" {
		return a.claim.product.Title(a.release)
	}
	name := []rune(a.os.Name)
	if len(name) == 0 {
		name = []rune(a.os.ID)
		if a.os.Version != "" {
			name = []rune(a.os.ID + " " + a.os.Version)
		}
	}
	return string(name[:min(len(name), longestName)])
}

// summary says the verdict in words that can be read out on the phone.
func (a assessment) summary() string {
	s := a.sentence()
	if a.stale(a.now) {
		s += fmt.Sprintf(" This is judged by data of %s, which is old.", spoken(a.date))
	}
	return s
}

func (a assessment) sentence() string {
	name := a.name()
	if base := a.base(); base != "" {
		name += ", which is built on " + base + ","
	}
	switch a.verdict {
	case platform.Supported:
		if a.ends.IsZero() {
			return name + " gets security updates; no end is announced."
		}
		return fmt.Sprintf("%s gets security updates until %s.", name, spoken(a.ends))
	case platform.EndingSoon:
		left := daysLeft(a.ends.Sub(a.day))
		if a.later.IsZero() || a.by.Name == "" {
			return fmt.Sprintf("%s gets security updates only until %s (%s).", name, spoken(a.ends), left)
		}
		return fmt.Sprintf("%s gets regular security updates only until %s (%s); after that %s runs until %s.",
			name, spoken(a.ends), left, a.by.Name, spoken(a.later))
	case platform.ExtendedEntitled:
		return fmt.Sprintf("%s gets no more regular security updates since %s; %s runs until %s.",
			name, spoken(a.release.SecurityEnd.Time), a.by.Name, spoken(a.ends))
	case platform.ExtendedNotEntitled:
		but := "this computer has none that we know of"
		if a.claim.product.Extended.Free {
			but = "policy does not count it"
		}
		return fmt.Sprintf("%s gets no more security updates since %s; %s would bring them until %s, but %s.",
			name, spoken(a.ends), a.claim.product.Extended.Name, spoken(a.later), but)
	case platform.Ended:
		if a.ends.IsZero() {
			return name + " is so old that it gets no more security updates."
		}
		return fmt.Sprintf("%s gets no more security updates since %s.", name, spoken(a.ends))
	case platform.Rolling:
		return a.rollingSentence(name)
	case platform.UnknownNewer:
		return fmt.Sprintf("%s is newer than what we know of it%s, so we cannot say how long it gets security updates.", name, a.asOf())
	case platform.Unlisted:
		return name + " is not in our table of releases, so we cannot say whether it still gets security updates."
	default:
		what := "which operating system it runs"
		if a.os.ID != "" {
			what = "which release of " + name + " it runs"
		}
		return "This computer does not say " + what + ", so we cannot say whether it still gets security updates."
	}
}

func (a assessment) rollingSentence(name string) string {
	if a.lastSync.IsZero() {
		return name + " is updated all the time instead of in releases, but we cannot tell when this computer was last updated."
	}
	age := a.now.Sub(a.lastSync)
	if age > oldSync {
		return fmt.Sprintf("%s is updated all the time instead of in releases, but this computer has not been updated since %s, %d days ago.",
			name, spoken(a.lastSync), int(age.Hours()/24))
	}
	return fmt.Sprintf("%s is updated all the time; this computer last looked for updates on %s.", name, spoken(a.lastSync))
}

// base is the release that a system of another name takes its packages from.
func (a assessment) base() string {
	if !a.claim.derived || a.release.Cycle == "" || a.release.Product == "" {
		return ""
	}
	return a.claim.product.Title(a.release)
}

func (a assessment) asOf() string {
	if a.date.IsZero() {
		return ""
	}
	return " (our data is of " + spoken(a.date) + ")"
}

func spoken(day time.Time) string { return day.Format("2 January 2006") }

func daysLeft(d time.Duration) string {
	switch days := int(d.Hours() / 24); days {
	case 0:
		return "its last day"
	case 1:
		return "1 day left"
	default:
		return fmt.Sprintf("%d days left", days)
	}
}
