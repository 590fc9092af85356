package configs

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBuiltinLifecycle(t *testing.T) {
	table, err := ParseLifecycle(builtinLifecycle)
	if err != nil {
		t.Fatal(err)
	}
	if got := table.DataDate().Format(time.DateOnly); got != "2026-08-22" {
		t.Errorf("data date: got %s", got)
	}
	rows := table.All()
	if len(rows) < 380 {
		t.Errorf("got %d releases; want at least 380", len(rows))
	}
	for _, r := range rows {
		p, ok := ProductOf(r.Product)
		if !ok {
			t.Errorf("%s %s: no product of that key", r.Product, r.Cycle)
		}
		if title := p.Title(r); strings.TrimSpace(title) != title || !strings.HasPrefix(title, p.Name) && r.Product != "linuxmint" {
			t.Errorf("%s %s is called %q", r.Product, r.Cycle, title)
		}
		if !r.FurtherEnd.IsZero() && p.Further.Name == "" || !r.ExtendedEnd.IsZero() && p.Extended.Kind == "" {
			t.Errorf("%s %s has an end of a kind of support that its product has not", r.Product, r.Cycle)
		}
	}
	if !slices.EqualFunc(Lifecycle{}.All(), rows, func(a, b Release) bool { return a == b }) {
		t.Error("the zero Lifecycle is not the built-in table")
	}
}

// Every product has rows, and no two products answer to one ID.
func TestProducts(t *testing.T) {
	seen := map[string]string{}
	for _, p := range Products() {
		if len(Lifecycle{}.Releases(p.Key)) == 0 {
			t.Errorf("%s is in no row of the table", p.Key)
		}
		for _, id := range append(slices.Clone(p.IDs), p.Derived...) {
			if other, ok := seen[id]; ok {
				t.Errorf("ID %s means both %s and %s", id, other, p.Key)
			}
			seen[id] = p.Key
		}
	}
}

func TestReleases(t *testing.T) {
	var got []string
	for _, r := range (Lifecycle{}).Releases("debian") {
		got = append(got, r.Cycle)
	}
	want := "1.1 1.2 1.3 2.0 2.1 2.2 3.0 3.1 4 5 6 7 8 9 10 11 12 13 14 15 sid"
	if strings.Join(got, " ") != want {
		t.Errorf("got %s; want %s", strings.Join(got, " "), want)
	}
	if rows := (Lifecycle{}).Releases("debian,12"); rows != nil {
		t.Errorf("a product that is none has rows: %v", rows)
	}
	for title, key := range map[string][2]string{
		"Debian 12":                           {"debian", "12"},
		"Debian testing or unstable":          {"debian", "sid"},
		"Ubuntu 24.04 LTS":                    {"ubuntu", "24.04"},
		"Ubuntu 25.10":                        {"ubuntu", "25.10"},
		"LMDE 6":                              {"linuxmint", "lmde6"},
		"Arch Linux":                          {"arch-linux", "rolling"},
		"SUSE Linux Enterprise Server 15 SP6": {"sles", "15.6"},
		"SUSE Linux Enterprise Server 15":     {"sles", "15.0"},
		"SUSE Linux Enterprise Server 16.0":   {"sles", "16.0"},
		"Windows 11 25H2":                     {"windows", "11-25h2-w"},
		"Windows 10 21H2 IoT LTSC":            {"windows", "10-21h2-iot-lts"},
		"Windows Server 2012 R2":              {"windows-server", "2012-r2"},
	} {
		p, _ := ProductOf(key[0])
		rows := Lifecycle{}.Releases(key[0])
		i := slices.IndexFunc(rows, func(r Release) bool { return r.Cycle == key[1] })
		if i < 0 {
			t.Errorf("%s %s is not in the table", key[0], key[1])
		} else if got := p.Title(rows[i]); got != title {
			t.Errorf("got %q; want %q", got, title)
		}
	}
}

func TestParseLifecycleRefuses(t *testing.T) {
	const (
		head = "# data 2026-08-22\n# source a b c\n" + lifecycleColumns + "\n"
		good = "p,1,,,2020-01-01,,2024-01-01,,,,,,a,\n"
	)
	if _, err := ParseLifecycle(head + good); err != nil {
		t.Fatalf("a good table: %v", err)
	}
	for name, test := range map[string]struct{ text, want string }{
		"empty":               {"", "no date of its data"},
		"no columns":          {"# data 2026-08-22\n# source a b c\n" + good, "names its columns"},
		"no date":             {strings.Replace(head, "# data 2026-08-22\n", "", 1) + good, "no date of its data"},
		"two dates":           {"# data 2025-08-22\n" + head + good, "line 2: the table must have one date"},
		"a date that is none": {strings.Replace(head, "2026-08-22", "2026-13-22", 1), "line 1: the table must have one date"},
		"twice":               {head + good + good, "line 5: p 1 is in line 4 already"},
		"too few fields":      {head + "p,1,2\n", "line 4: has 3 fields, not 14"},
		"blank line":          {head + "\n" + good, "line 4: has 1 fields"},
		"a quoted comma":      {head + `p,1,"a,b",,2020-01-01,,2024-01-01,,,,,,a,` + "\n", "has 15 fields"},
		"no such day":         {head + "p,1,,,2020-01-01,,2024-02-30,,,,,,a,\n", `"2024-02-30" is not a day`},
		"another order":       {head + "p,1,,,01.01.2020,,2024-01-01,,,,,,a,\n", `"01.01.2020" is not a day`},
		"the year 3000":       {head + "p,1,,,2020-01-01,,3000-01-01,,,,,,a,\n", `"3000-01-01" is not a day of 1990 to 2100`},
		"ends before it is":   {head + "p,1,,,2020-01-01,,2019-01-01,,,,,,a,\n", "security_end 2019-01-01 is before released 2020-01-01"},
		"extended first":      {head + "p,1,,,2020-01-01,,2024-01-01,2023-01-01,,,,,a,\n", "extended_end 2023-01-01 is before security_end"},
		"further first":       {head + "p,1,,,2020-01-01,,2024-01-01,2025-01-01,2024-06-01,,,,a,\n", "further_end 2024-06-01 is before extended_end"},
		"support past it":     {head + "p,1,,,2020-01-01,2025-01-01,2024-01-01,,,,,,a,\n", "security_end 2024-01-01 is before support_end"},
		"no end, no state":    {head + "p,1,,,2020-01-01,,,,,,,,a,\n", "either an end of security updates or a state"},
		"end and state":       {head + "p,1,,,2020-01-01,,2024-01-01,,,,,rolling,a,\n", "either an end of security updates or a state"},
		"unknown state":       {head + "p,1,,,2020-01-01,,,,,,,dead,a,\n", `state "dead" is unknown`},
		"unknown source":      {head + "p,1,,,2020-01-01,,2024-01-01,,,,,,b,\n", `source "b" is not named`},
		"lts is a word":       {head + "p,1,,,2020-01-01,,2024-01-01,,,yes,,,a,\n", `lts is "yes"`},
		"no product":          {head + ",1,,,2020-01-01,,2024-01-01,,,,,,a,\n", "names no product"},
		"a space in a cycle":  {head + "p,1 2,,,2020-01-01,,2024-01-01,,,,,,a,\n", "space"},
		"binary":              {"\x00\x01\xff", "has 1 fields"},
		"too long":            {strings.Repeat("#", maxLifecycle+1), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseLifecycle(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v; want one with %q", err, test.want)
			}
		})
	}
}

func TestCompareVersions(t *testing.T) {
	ordered := []string{
		"", "3.9", "3.10", "9", "9.4", "10", "15.7", "16.0", "24.04", "24.10",
		"99999999999999999999", "100000000000000000000", "lmde6", "lmde7", "lmde10", "rolling", "sid",
	}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := CompareVersions(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("CompareVersions(%q, %q) = %d", a, b, got)
			}
		}
	}
}

func FuzzLifecycle(f *testing.F) {
	f.Add(builtinLifecycle[:2000])
	f.Add("# data 2026-08-22\n# source a b c\n" + lifecycleColumns + "\np,1,,,2020-01-01,,2024-01-01,,,,,,a,\n")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := ParseLifecycle(text)
		if err != nil {
			return
		}
		for _, r := range table.All() {
			if r.State == Dated && (r.SecurityEnd.IsZero() || r.SecurityEnd.Before(r.Released.Time)) {
				t.Errorf("accepted %+v", r)
			}
			if CompareVersions(r.Cycle, r.Cycle) != 0 {
				t.Errorf("%q is not itself", r.Cycle)
			}
		}
	})
}

func BenchmarkReleases(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if len(Lifecycle{}.Releases("debian")) == 0 {
			b.Fatal("no Debian")
		}
	}
}
