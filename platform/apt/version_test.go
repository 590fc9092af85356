package apt

import (
	"os/exec"
	"testing"
)

// versions are in order; those of one line are equal.
var versions = [][]string{
	{"~~"},
	{"~~a"},
	{"~"},
	{"0", "0-0", "00:0"},
	{"0-1"},
	{"0a"},
	{"0+"},
	{"1.0~rc1-1"},
	{"1.0", "1.00", "1.0-0", "01.0"},
	{"1.0-1~bpo12+1"},
	{"1.0-1"},
	{"1.0-1ubuntu1"},
	{"1.0-1+b1"},
	{"1.0-1+deb12u1"},
	{"1.0-1.1"},
	{"1.0A"},
	{"1.0a"},
	{"1.0+dfsg-1"},
	{"1.0-9-1"},
	{"1.0-10-1"},
	{"1.0.1"},
	{"1.9"},
	{"1.10"},
	{"20240101"},
	{"99999999999999999999999999998"},
	{"99999999999999999999999999999"},
	{"1:0"},
	{"2:0"},
	{"10:0"},
}

func TestCompare(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	for i, as := range versions {
		for j, bs := range versions {
			for _, a := range as {
				for _, b := range bs {
					want := sign(i - j)
					if got := compare(a, b); got != want {
						t.Errorf("%s and %s: %d; want %d", a, b, got, want)
					}
					if err != nil || i > j || i < j-1 || !digit(a[0]) || !digit(b[0]) {
						continue
					}
					operator := map[int]string{-1: "lt", 0: "eq", 1: "gt"}[want]
					if err := exec.Command(dpkg, "--compare-versions", a, operator, b).Run(); err != nil {
						t.Errorf("dpkg does not say that %s is %s %s", a, operator, b)
					}
				}
			}
		}
	}
}
