package apt

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

// TestRandomHosts holds small hosts that nobody thought of against apt: with pins,
// holds, several archives, and dependencies.
func TestRandomHosts(t *testing.T) {
	judged := 0
	for seed := range uint64(60) {
		root := randomHost(t, rand.New(rand.NewPCG(seed, 5)))
		out := simulate(t, root)
		if strings.Contains(out, "\nE: ") || strings.Contains(out, "\nRemv ") {
			continue // what is broken before, and what apt would take away, is a choice of its solver
		}
		judged++
		s, err := New(root).State(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := installs(s), (tree{root: root}).apt(t); got != want {
			t.Errorf("host %d: got:\n%sapt:\n%s", seed, got, want)
		}
	}
	if judged < 30 {
		t.Errorf("only %d hosts could be judged", judged)
	}
}

func randomHost(t *testing.T, r *rand.Rand) string {
	t.Helper()
	one := func(all ...string) string { return all[r.IntN(len(all))] }
	host := unpack(t, "testdata/plain.txtar").root
	names := []string{"a", "b", "c", "d", "e", "f", "g"}
	// One version needs the same in each archive.
	needs := map[string]string{}
	depends := func(name string, version int) string {
		key := fmt.Sprint(name, version)
		if _, ok := needs[key]; ok || version < 3 || r.IntN(3) > 0 { // what is installed is not broken
			needs[key] += ""
			return needs[key]
		}
		needs[key] = fmt.Sprintf("Depends: %s (%s %d)\n", one(names...), one(">=", ">=", ">>"), 1+r.IntN(3))
		return needs[key]
	}
	var status strings.Builder
	for _, n := range names[:5] {
		v := 1 + r.IntN(2)
		fmt.Fprintf(&status, "Package: %s\nVersion: %d\n", n, v)
		if r.IntN(6) == 0 {
			status.WriteString("Status: hold ok installed\n")
		}
		status.WriteString("\n")
	}
	write(t, filepath.Join(host, statusFile), fill(status.String(), "Status: install ok installed\n"))
	sources := ""
	for _, a := range []struct{ suite, release string }{
		{"bookworm", releases["deb.debian.org_debian_dists_bookworm_InRelease"]},
		{"bookworm-updates", "Origin: Debian\nLabel: Debian\nSuite: oldstable-updates\nCodename: bookworm-updates\n"},
		{"bookworm-backports", "Origin: Debian Backports\nSuite: oldstable-backports\nCodename: bookworm-backports\nNotAutomatic: yes\nButAutomaticUpgrades: yes\n"},
		{"sid", "Origin: Debian\nLabel: Debian\nSuite: unstable\nCodename: sid\n" + one("", "NotAutomatic: yes\n")},
	} {
		sources += "deb http://deb.debian.org/debian " + a.suite + " main\n"
		var list strings.Builder
		for _, n := range names {
			if r.IntN(2) == 0 {
				v := 1 + r.IntN(4)
				fmt.Fprintf(&list, "Package: %s\nVersion: %d\n%s\n", n, v, depends(n, v))
			}
		}
		base := filepath.Join(host, lists, "deb.debian.org_debian_dists_"+a.suite+"_")
		write(t, base+"InRelease", a.release)
		write(t, base+"main_binary-amd64_Packages", fill(list.String(), "Filename: x\nSize: 1\n"))
	}
	write(t, filepath.Join(host, "etc/apt/sources.list"), sources)
	var pins strings.Builder
	for range r.IntN(4) {
		fmt.Fprintf(&pins, "Package: %s\nPin: %s\nPin-Priority: %s\n\n", one("*", "*", "a", "a b", "/[cd]/", "[de]", "src:e"),
			one("release n=bookworm", "release a=unstable", "release o=Debian", "release n=*-backports", "release l=Debian, c=main", "version 2", "version 3*", "origin deb.debian.org", "release *", "release a=now"),
			one("-1", "50", "100", "400", "500", "600", "990", "999", "1000", "1001"))
	}
	write(t, filepath.Join(host, "etc/apt/preferences"), pins.String())
	if r.IntN(3) == 0 {
		write(t, filepath.Join(host, "etc/apt/apt.conf"), "APT::Default-Release \""+one("bookworm", "sid", "oldstable", "n=sid")+"\";\n")
	}
	return host
}
