package detect

import (
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// row is a line of the table, by the names of its columns: read here once more, so
// that the test shares nothing with what it tests.
type row map[string]string

func readTable(t *testing.T) []row {
	t.Helper()
	f, err := os.Open("../../configs/lifecycle.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comment = '#'
	lines, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for _, line := range lines[1:] {
		fields := row{}
		for i, column := range lines[0] {
			fields[column] = line[i]
		}
		rows = append(rows, fields)
	}
	return rows
}

// host is what a computer with that release says of itself.
func (r row) host() platform.OS {
	host := platform.OS{ID: map[string]string{
		"rocky-linux": "rocky", "oracle-linux": "ol", "opensuse": "opensuse-leap", "alpine-linux": "alpine",
		"amazon-linux": "amzn", "pop-os": "pop", "arch-linux": "arch", "kali-linux": "kali", "void-linux": "void",
		"centos-stream": "centos", "windows-server": "windows",
	}[r["product"]], Version: r["cycle"]}
	if host.ID == "" {
		host.ID = r["product"]
	}
	switch {
	case r["product"] == "centos-stream":
		host.Name = "CentOS Stream " + r["cycle"]
	case r["product"] == "centos":
		host.Name = "CentOS Linux " + r["cycle"]
	case strings.HasPrefix(r["cycle"], "lmde"):
		host.Name, host.Version = "LMDE "+r["cycle"][4:], r["cycle"][4:]
	case r["cycle"] == "sid":
		host.Version, host.DebianVersion = "", "forky/sid"
	case host.ID == "windows":
		host.Version = "10.0." + r["build"] + ".1234"
		host.Variant = map[string]string{
			"home": "Core", "enterprise": "Enterprise", "all": "Professional", "iot-core": "IoTUAP",
			"iot-enterprise-ltsc": "IoTEnterpriseS", "enterprise-ltsc": "EnterpriseS", "ltsc": "ServerStandard",
			"annual-channel": "ServerDatacenterACor", "semi-annual-channel": "ServerStandardACor",
		}[strings.Split(r["edition"], "|")[0]]
	case slices.Contains([]string{"rhel", "rocky-linux", "almalinux", "oracle-linux", "macos", "debian"}, r["product"]) && !strings.Contains(r["cycle"], "."):
		host.Version += ".7"
	case r["product"] == "alpine-linux":
		host.Version += ".9"
	}
	return host
}

// sharesBuild are the rows that a host cannot be told to have: a later one has the
// same build and edition.
var sharesBuild = []string{"windows-server 2003", "windows-server 2003-sp1"}

const warnDays = 90

// due states the rule once more, on the text of the table alone: dates as ISO 8601
// order as text does. It is kept simple rather than like the detector.
func (r row) due(day, policy string, evidence bool) (platform.LifecycleVerdict, string) {
	switch r["state"] {
	case "rolling":
		return platform.Rolling, ""
	case "undated":
		return platform.Supported, ""
	case "development", "unverified":
		return platform.UnknownNewer, ""
	}
	security, extended, further := r["security_end"], r["extended_end"], r["further_end"]
	kind := map[string]string{
		"debian": "lts", "ubuntu": "esm", "rhel": "esm", "sles": "esm", "oracle-linux": "esm", "windows": "esu", "windows-server": "esu",
	}[r["product"]]
	mayHave := map[string]bool{"debian": true, "ubuntu": true, "rhel": true, "sles": true, "windows": true, "windows-server": true}[r["product"]]
	entitled := policy == kind || policy == "auto" && (kind == "lts" || evidence && mayHave)
	switch {
	case day <= security && before(security, warnDays) <= day:
		return platform.EndingSoon, security
	case day <= security:
		return platform.Supported, security
	case entitled && day <= extended:
		return platform.ExtendedEntitled, extended
	case policy == "auto" && evidence && day <= further:
		return platform.ExtendedEntitled, further
	case policy != "none" && day <= extended && extended > security:
		return platform.ExtendedNotEntitled, security
	case entitled && extended > security:
		return platform.Ended, extended
	}
	return platform.Ended, security
}

func before(day string, days int) string {
	t, _ := time.Parse(time.DateOnly, day)
	return t.AddDate(0, 0, -days).Format(time.DateOnly)
}

// TestEveryRelease judges a host with each release of the table on the days about
// each of its dates and on some others, under every policy, with and without
// evidence of extended support.
func TestEveryRelease(t *testing.T) {
	evidence := []string{"ubuntu-pro", "ubuntu-pro-legacy", "elts", "rhel-els", "sles-ltss", "esu"}
	judged := 0
	for _, r := range readTable(t) {
		name := r["product"] + " " + r["cycle"]
		if slices.Contains(sharesBuild, name) {
			continue
		}
		days := []string{"2026-11-23", "2026-08-22", "2020-02-29", "2038-12-31", "2024-12-31", "2030-01-01", "2015-06-15", "2028-07-01"}
		for _, column := range []string{"released", "support_end", "security_end", "extended_end", "further_end"} {
			if day := r[column]; day != "" {
				days = append(days, before(day, warnDays+1), before(day, warnDays), before(day, 1), day, before(day, -1), before(day, -366))
			}
		}
		if len(days) < 12 {
			days = append(days, "2025-01-01", "2027-01-01", "2029-01-01", "2031-01-01")
		}
		table := fixedTable{t: t}
		for _, policy := range []string{"auto", "none", "lts", "esm", "esu"} {
			for _, with := range []bool{false, true} {
				host := r.host()
				if with {
					host.ExtendedSupport = evidence
				}
				for _, day := range days {
					verdict, ends := r.due(day, policy, with)
					got := table.judge(host, policy, day)
					if got.Verdict != verdict || got.SupportEnds != ends {
						t.Errorf("%s on %s, os.extended: %s, evidence %v: got %s until %q; want %s until %q",
							name, day, policy, with, got.Verdict, got.SupportEnds, verdict, ends)
					}
					judged++
				}
			}
		}
	}
	if judged < 380*12*10 {
		t.Errorf("judged %d times; want at least %d", judged, 380*12*10)
	}
}

type fixedTable struct{ t *testing.T }

func (f fixedTable) judge(host platform.OS, policy, day string) platform.OSSubject {
	f.t.Helper()
	finding := findOne(f.t, Input{
		Snapshot: platform.Snapshot{OS: host},
		Policy:   configs.Policy{OS: configs.OSRules{WarnBefore: configs.Duration(warnDays * 24 * time.Hour), Extended: policy}},
		Now:      date(f.t, day).Add(23*time.Hour + 59*time.Minute),
	})
	return *finding.Subject.OS
}

func TestUpgradeTo(t *testing.T) {
	for _, test := range []struct{ product, from, day, want string }{
		{"debian", "12", "2026-11-23", "13"},
		{"debian", "9", "2026-11-23", "13"},
		{"debian", "11", "2024-09-01", "12"},
		{"debian", "13", "2028-12-01", ""},
		{"ubuntu", "22.04", "2027-05-01", "24.04"},
		{"ubuntu", "20.04", "2025-05-01", "22.04"},
		{"ubuntu", "20.04", "2026-11-23", "24.04"},
		{"ubuntu", "25.10", "2026-05-01", "26.04"},
		{"ubuntu", "24.10", "2025-06-01", "25.04"},
		{"fedora", "42", "2026-11-23", "44"},
		{"sles", "15.4", "2026-11-23", "15.7"},
		{"alpine-linux", "3.20", "2026-11-23", "3.24"},
		{"linuxmint", "21.3", "2027-04-01", "22.3"},
		{"linuxmint", "lmde6", "2026-11-23", "lmde7"},
		{"rhel", "7", "2026-11-23", "8"},
		{"centos", "7", "2026-11-23", ""},
		{"windows", "10-22h2", "2026-11-23", ""},
	} {
		p, _ := configs.ProductOf(test.product)
		releases := configs.Lifecycle{}.Releases(test.product)
		from := releases[slices.IndexFunc(releases, func(r configs.Release) bool { return r.Cycle == test.from })]
		if got, _ := upgradeTo(p, from, releases, date(t, test.day)); got.Cycle != test.want {
			t.Errorf("%s %s on %s: got %q; want %q", test.product, test.from, test.day, got.Cycle, test.want)
		}
	}
}

// Nothing that the table calls ended or unknown is ever offered.
func TestUpgradeIsSupported(t *testing.T) {
	table := readTable(t)
	for _, p := range configs.Products() {
		releases := configs.Lifecycle{}.Releases(p.Key)
		for _, from := range releases {
			for year := 2005; year < 2040; year++ {
				day := fmt.Sprintf("%d-07-01", year)
				to, ok := upgradeTo(p, from, releases, date(t, day))
				if !ok {
					continue
				}
				i := slices.IndexFunc(table, func(r row) bool { return r["product"] == p.Key && r["cycle"] == to.Cycle })
				r := table[i]
				if r["released"] > day || r["security_end"] < day && r["state"] != "undated" || from.Cycle == to.Cycle {
					t.Errorf("%s on %s: from %s to %s", p.Key, day, from.Cycle, to.Cycle)
				}
			}
		}
	}
}
