package rpm

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// versionOrders are versions with the order that rpm's documentation gives them.
var versionOrders = []struct {
	a, b string
	want int
}{
	{"1.0", "1.0", 0},
	{"1.0", "2.0", -1},
	{"2.0.1", "2.0.1", 0},
	{"2.0", "2.0.1", -1},
	{"2.0.1a", "2.0.1", 1},
	{"5.5p1", "5.5p2", -1},
	{"5.5p10", "5.5p1", 1},
	{"10xyz", "10.1xyz", -1},
	{"xyz10", "xyz10.1", -1},
	{"xyz.4", "8", -1},
	{"xyz.4", "2", -1},
	{"5.5p2", "5.6p1", -1},
	{"6.0.rc1", "6.0", 1},
	{"10b2", "10a1", 1},
	{"7.4.052", "7.4.52", 0},
	{"1.0a", "1.0aa", -1},
	{"10.0001", "10.0039", -1},
	{"4.999.9", "5.0", -1},
	{"20101121", "20101122", -1},
	{"2_0", "2.0", 0},
	{"a", "a+", 0},
	{"+", "_", 0},
	{"1.0~rc1", "1.0", -1},
	{"1.0~rc1", "1.0~rc2", -1},
	{"1.0~rc1~git123", "1.0~rc1", -1},
	{"1.0^", "1.0", 1},
	{"1.0^git1", "1.0", 1},
	{"1.0^git1", "1.0^git2", -1},
	{"1.0^git1", "1.01", -1},
	{"1.0^20160101", "1.0.1", -1},
	{"1.0^20160101^git1", "1.0^20160102", -1},
	{"1.0~rc1^git1", "1.0~rc1", 1},
	{"1.0^git1~pre", "1.0^git1", -1},
	{"1.0é", "1.0", 0},
	{"", "1", -1},
	{"1.0-1", "1:0.1-1", -1},
	{"0:1.0-1", "1.0-1", 0},
	{"1.0-1.el9", "1.0-2.el9", -1},
	{"1.0-9.el9", "1.0-10.el9", -1},
	{"1.0-1.el9_2.1", "1.0-1.el9", 1},
}

func TestCompare(t *testing.T) {
	for _, c := range versionOrders {
		if got := sign(Compare(c.a, c.b)); got != c.want {
			t.Errorf("Compare(%q, %q) = %d; want %d", c.a, c.b, got, c.want)
		}
		if got := sign(Compare(c.b, c.a)); got != -c.want {
			t.Errorf("Compare(%q, %q) = %d; want %d", c.b, c.a, got, -c.want)
		}
	}
}

// TestCompareWithRPM asks rpm itself about every pair of a few hundred versions.
func TestCompareWithRPM(t *testing.T) {
	if _, err := exec.LookPath("rpm"); err != nil {
		t.Skip("needs rpm, to compare with")
	}
	parts := []string{"", "1", "01", "10", "2", "a", "b", "rc1", "1.0", "1.0.1", "1_0", "1a"}
	var versions []string
	for _, a := range parts {
		for _, b := range parts {
			for _, sep := range []string{".", "~", "^", "", "~^", "^~"} {
				versions = append(versions, a+sep+b)
			}
		}
	}
	var ask strings.Builder
	var pairs [][2]string
	for i, a := range versions {
		for j := i % 7; j < len(versions); j += 7 {
			pairs = append(pairs, [2]string{a, versions[j]})
		}
	}
	ask.WriteString("local t = {}\n")
	for i, v := range versions {
		fmt.Fprintf(&ask, "t[%d] = %q\n", i, "1"+v)
	}
	fmt.Fprintf(&ask, "for i = 0, %d do for j = i %% 7, %d, 7 do print(rpm.vercmp(t[i], t[j]) .. \" \") end end\n", len(versions)-1, len(versions)-1)
	script := t.TempDir() + "/ask.lua"
	writeFile(t, script, ask.String())
	out, err := exec.Command("rpm", "--eval", fmt.Sprintf("%%{lua: dofile(%q)}", script)).Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := strings.Fields(string(out))
	if len(answers) != len(pairs) {
		t.Fatalf("rpm gave %d answers; want %d: %.200s", len(answers), len(pairs), out)
	}
	for i, p := range pairs {
		if got := fmt.Sprint(sign(compareVersions("1"+p[0], "1"+p[1]))); got != answers[i] {
			t.Errorf("compareVersions(%q, %q) = %s; rpm says %s", "1"+p[0], "1"+p[1], got, answers[i])
		}
	}
	t.Logf("%d pairs", len(pairs))
}

func FuzzCompare(f *testing.F) {
	for _, c := range versionOrders {
		f.Add(c.a, c.b)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if x, y := sign(Compare(a, b)), sign(Compare(b, a)); x != -y {
			t.Errorf("Compare(%q, %q) = %d, the other way round %d", a, b, x, y)
		}
		if Compare(a, a) != 0 {
			t.Errorf("%q is not equal to itself", a)
		}
	})
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}
