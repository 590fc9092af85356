package detect

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// looked is an ordinary look at a host on a day, under the default policy.
func looked(t *testing.T, host platform.OS, day string) Input {
	t.Helper()
	now := date(t, day).Add(9 * time.Hour)
	return Input{
		Snapshot: platform.Snapshot{Taken: now, OS: host},
		Policy:   configs.Policy{OS: configs.OSRules{WarnBefore: configs.Duration(90 * 24 * time.Hour), Extended: "auto", Plan: "upgrade"}},
		Now:      now,
	}
}

// One threat from the first warning to long after the end; the next release is
// another one.
func TestKeyOutlivesVerdict(t *testing.T) {
	host := platform.OS{ID: "fedora", Version: "44"}
	key := ""
	for _, day := range []string{"2027-05-01", "2027-06-03", "2029-01-01"} {
		f := findOne(t, looked(t, host, day))
		if key != "" && f.Key != key {
			t.Errorf("on %s (%s) the key is %s; it was %s", day, f.Subject.OS.Verdict, f.Key, key)
		}
		key = f.Key
		if verdict, _ := OutdatedOS.Verify(key, looked(t, host, day)); verdict != Persists {
			t.Errorf("on %s: got %s; want persists", day, verdict)
		}
	}
	after := looked(t, platform.OS{ID: "fedora", Version: "46", SupportEnd: "2028-05-17"}, "2027-06-03")
	if verdict, why := OutdatedOS.Verify(key, after); verdict != Cleared {
		t.Errorf("after the upgrade: got %s (%s); want cleared", verdict, why)
	}
}

// A look that failed, or that could not tell what it saw, clears nothing.
func TestFailedLookClearsNothing(t *testing.T) {
	const key = "outdated-os/debian/11"
	gap := looked(t, platform.OS{}, "2026-11-23")
	gap.Snapshot.Gaps = []platform.Gap{{Part: platform.PartOS, Reason: "os-release cannot be read."}}
	if found, err := OutdatedOS.Find(gap); err == nil || found != nil {
		t.Errorf("with a gap: got %v, error %v; want an error", found, err)
	}
	for name, in := range map[string]Input{
		"gap":                 gap,
		"empty os-release":    looked(t, platform.OS{}, "2026-11-23"),
		"ID without version":  looked(t, platform.OS{ID: "debian"}, "2026-11-23"),
		"no ID":               looked(t, platform.OS{Version: "13", Name: "Debian 13"}, "2026-11-23"),
		"clock set back":      looked(t, platform.OS{ID: "debian", Version: "11"}, "2021-01-01"),
		"version edited":      looked(t, platform.OS{ID: "debian", Version: "13", DebianVersion: "11.4"}, "2026-11-23"),
		"support end written": looked(t, platform.OS{ID: "debian", Version: "11", SupportEnd: "2099-01-01"}, "2026-11-23"),
	} {
		t.Run(name, func(t *testing.T) {
			if verdict, why := OutdatedOS.Verify(key, in); verdict == Cleared {
				t.Errorf("cleared: %s", why)
			}
		})
	}
}

func TestJudgedAsOfAnotherDay(t *testing.T) {
	in := looked(t, platform.OS{ID: "debian", Version: "11"}, "2026-11-23")
	in.Now = date(t, "2024-01-01")
	if got := findOne(t, in).Subject.OS.Verdict; got != platform.Supported {
		t.Errorf("--at 2024-01-01: got %s; want supported", got)
	}
	in.Now = date(t, "2028-04-01")
	if got := findOne(t, in).Subject.OS; got.Verdict != platform.Ended || !got.Stale {
		t.Errorf("--at 2028-04-01: got %s, stale %v; want ended by old data", got.Verdict, got.Stale)
	}
	in.Now = time.Time{}
	if got := findOne(t, in).Subject.OS.Verdict; got != platform.Ended {
		t.Errorf("without a day the time of the look counts: got %s; want ended", got)
	}
}

// The newest data counts, not what promises the longest support.
func TestWhoseDateCounts(t *testing.T) {
	distro := func(modified, eol string) platform.OS {
		return platform.OS{ID: "debian", Version: "13", Lifecycle: []platform.LifecycleFile{{
			Product: "debian", Modified: date(t, modified),
			Data: []byte("version,codename,series,created,release,eol,eol-lts\n13,Trixie,trixie,2023-06-10,2025-08-09," + eol + ",2030-06-30\n"),
		}}}
	}
	vendor := func(id, version, modified, end string) platform.OS {
		host := platform.OS{ID: id, Version: version, SupportEnd: end}
		if modified != "" {
			host.Modified = date(t, modified)
		}
		return host
	}
	both := distro("2026-10-01", "2028-09-01")
	both.SupportEnd, both.Modified = "2028-10-01", date(t, "2026-11-01")
	for name, test := range map[string]struct {
		host                 platform.OS
		ends, source, dataOf string
	}{
		"table":                          {platform.OS{ID: "debian", Version: "13"}, "2028-08-09", sourceTable, "2026-08-22"},
		"newer distro-info, shorter":     {distro("2026-10-01", "2027-01-01"), "2027-01-01", sourceHost, "2026-10-01"},
		"newer distro-info, longer":      {distro("2026-10-01", "2029-01-01"), "2029-01-01", sourceHost, "2026-10-01"},
		"older distro-info":              {distro("2025-10-18", "2029-01-01"), "2028-08-09", sourceTable, "2026-08-22"},
		"distro-info of tomorrow's week": {distro("2026-12-01", "2029-01-01"), "2028-08-09", sourceTable, "2026-08-22"},
		"distro-info ends before it is":  {distro("2026-10-01", "2020-01-01"), "2028-08-09", sourceTable, "2026-08-22"},
		"distro-info is garbage":         {distro("2026-10-01", "soon"), "2028-08-09", sourceTable, "2026-08-22"},
		"vendor over distro-info":        {both, "2028-10-01", sourceVendor, "2026-11-01"},
		"vendor, newer than table":       {vendor("fedora", "44", "2026-10-01", "2027-03-01"), "2027-03-01", sourceVendor, "2026-10-01"},
		"vendor, of unknown age":         {vendor("fedora", "44", "", "2027-03-01"), "2027-03-01", sourceVendor, ""},
		"vendor, old but confirmed":      {vendor("fedora", "44", "2026-04-01", "2027-05-26"), "2027-05-26", sourceVendor, "2026-08-22"},
		"vendor, date moved since":       {vendor("amzn", "2", "2023-01-01", "2025-06-30"), "2026-06-30", sourceTable, "2026-08-22"},
		"vendor, no date":                {vendor("fedora", "44", "2026-10-01", "2027-13-01"), "2027-06-02", sourceTable, "2026-08-22"},
		"vendor, before release":         {vendor("fedora", "44", "2026-10-01", "2020-01-01"), "2027-06-02", sourceTable, "2026-08-22"},
		"vendor, for ever":               {vendor("fedora", "44", "2026-10-01", "2099-01-01"), "2027-06-02", sourceTable, "2026-08-22"},
		"vendor, of what is not listed":  {vendor("ours", "3.1", "2026-10-01", "2030-01-01"), "2030-01-01", sourceVendor, "2026-10-01"},
	} {
		t.Run(name, func(t *testing.T) {
			got := findOne(t, looked(t, test.host, "2026-11-23")).Subject.OS
			if got.SupportEnds != test.ends || got.DataSource != test.source || got.DataDate != test.dataOf {
				t.Errorf("got %s by %s of %q; want %s by %s of %q",
					got.SupportEnds, got.DataSource, got.DataDate, test.ends, test.source, test.dataOf)
			}
		})
	}
}

func TestWindowsEditions(t *testing.T) {
	for _, test := range []struct {
		version, edition string
		verdict          platform.LifecycleVerdict
		name             string
	}{
		{"10.0.26100.4351", "Professional", platform.Ended, "Windows 11 24H2"},
		{"10.0.26100.4351", "Enterprise", platform.Supported, "Windows 11 24H2"},
		{"10.0.26100.4351", "EnterpriseS", platform.Supported, "Windows 11 24H2 LTSC"},
		{"10.0.26100.4351", "ServerDatacenter", platform.Supported, "Windows Server 2025"},
		{"10.0.19044.1", "EnterpriseS", platform.EndingSoon, "Windows 10 21H2 LTSC"},
		{"10.0.19044.1", "IoTEnterpriseS", platform.Supported, "Windows 10 21H2 IoT LTSC"},
		{"10.0.19045.1", "Core", platform.ExtendedNotEntitled, "Windows 10 22H2"},
		{"10.0.25398.1", "ServerDatacenterACor", platform.Ended, "Windows Server 23H2"},
		{"10.0.99999.1", "Professional", platform.UnknownNewer, "windows 10.0.99999.1"},
		{"10.0.26300.1", "Professional", platform.UnknownNewer, "Windows 11 26H2"},
		{"10.0.26100.1", "SomethingNew", platform.Unlisted, "windows 10.0.26100.1"},
	} {
		host := platform.OS{ID: "windows", Version: test.version, Variant: test.edition}
		in := looked(t, host, "2026-11-23")
		if got := findOne(t, in).Subject.OS; got.Verdict != test.verdict || got.Name != test.name {
			t.Errorf("%s %s: got %s, %q; want %s, %q", test.version, test.edition, got.Verdict, got.Name, test.verdict, test.name)
		}
	}
}

func TestDistroInfoOfThisHost(t *testing.T) {
	const path = "/usr/share/distro-info/debian.csv"
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("this computer has no %s", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range distroInfo(platform.LifecycleFile{Product: "debian", Data: data}) {
		if r.Cycle == "12" && (r.Codename != "bookworm" || r.Released.Format(time.DateOnly) != "2023-06-10") {
			t.Errorf("got %+v", r)
		}
	}
}

func FuzzOutdatedOS(f *testing.F) {
	f.Add("debian", "12", "bookworm", "12.11", "Debian", "2028-01-01", "version,eol\n12,2026-07-11\n")
	f.Add("linuxmint", "22.3", "noble", "", "LMDE", "", "")
	f.Add("windows", "10.0.26100", "", "", "", "", "")
	f.Add("debian", ".", "sid", "/sid", "x/sid", "0000-00-00", "version\n,,,\n LTS\n")
	f.Fuzz(func(t *testing.T, id, version, codename, debian, name, end, distro string) {
		for _, codenames := range [][2]string{{codename, ""}, {"", codename}} {
			host := platform.OS{
				ID: id, Version: version, Codename: codenames[0], UpstreamCodename: codenames[1], DebianVersion: debian,
				Name: name, SupportEnd: end, Variant: codename, IDLike: strings.Fields(debian + " debian"),
			}
			for _, product := range []string{"debian", "ubuntu"} {
				host.Lifecycle = append(host.Lifecycle, platform.LifecycleFile{
					Product: product, Modified: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), Data: []byte(distro),
				})
			}
			found, err := OutdatedOS.Find(looked(t, host, "2026-11-23"))
			if err != nil || len(found) != 1 {
				t.Fatalf("got %d findings, error %v", len(found), err)
			}
			s := found[0].Subject.OS
			if s.Verdict == "" || found[0].Summary == "" || strings.Count(found[0].Key, "/") > 2 {
				t.Errorf("got %+v", found[0])
			}
			if s.Verdict == platform.Ended && s.SupportEnds > "2026-11-22" {
				t.Errorf("ended, but not before %s", s.SupportEnds)
			}
		}
	})
}

func BenchmarkOutdatedOS(b *testing.B) {
	host, err := platform.ReadOS("")
	if err != nil {
		b.Skipf("this computer's release cannot be read: %v", err)
	}
	in := Input{Snapshot: platform.Snapshot{OS: host}, Now: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := OutdatedOS.Find(in); err != nil {
			b.Fatal(err)
		}
	}
}
