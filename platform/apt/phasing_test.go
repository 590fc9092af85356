package apt

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDraw holds draws against what the C++ library of apt gave for the same texts.
func TestDraw(t *testing.T) {
	for text, want := range map[string]uint32{
		"":   63,
		"a":  94,
		"ab": 53,
		"systemd-249.11-0ubuntu3.12-0123456789abcdef0123456789abcdef":       95,
		"bind9-1:9.18.39-0ubuntu0.24.04.1-ffffffffffffffffffffffffffffffff": 86,
		"src1-1.1-1-cd30ff7cd9f2898ef1db0cf4b50e3269":                       87,
		"src2-1.2-2-8329ded097527438ca5b941ae0c1d597":                       2,
		"src3-1.3-3-aaa0306a693086681ad18b2cf839651c":                       28,
		"src4-1.4-4-e6b42a12916141234e69d066a57732a0":                       98,
	} {
		if got := draw(text); got != want {
			t.Errorf("%q: draws %d; want %d", text, got, want)
		}
	}
}

// TestDrawAsLibraryDoes compares with the library itself, where there is a compiler.
func TestDrawAsLibraryDoes(t *testing.T) {
	compiler, err := exec.LookPath("g++")
	if err != nil {
		t.Skip("needs g++, to compare with")
	}
	program := filepath.Join(t.TempDir(), "draw")
	build := exec.Command(compiler, "-x", "c++", "-", "-o", program)
	build.Stdin = strings.NewReader(`
#include <iostream>
#include <random>
#include <string>
int main() {
	for (std::string s; std::getline(std::cin, s);) {
		std::seed_seq seed(s.begin(), s.end());
		std::minstd_rand rand(seed);
		std::uniform_int_distribution<unsigned int> dist(0, 100);
		std::cout << dist(rand) << "\n";
	}
}`)
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("cannot compile: %v\n%s", err, out)
	}
	var in, want bytes.Buffer
	for i := range 2000 {
		text := fmt.Sprintf("source%d-%d.%d-%dubuntu%d-%032x", i, i, i%7, i%3, i%5, i*7919)
		fmt.Fprintln(&in, text)
		fmt.Fprintln(&want, draw(text))
	}
	run := exec.Command(program)
	run.Stdin = &in
	got, err := run.Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() {
		t.Error("draws other numbers than the library")
	}
}
