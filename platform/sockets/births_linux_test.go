package sockets

import (
	"os/exec"
	"testing"
)

func TestBirths(t *testing.T) {
	b := OpenBirths()
	defer b.Close()
	before := b.Mark()
	if err := exec.Command("true").Run(); err != nil {
		t.Fatal(err)
	}
	if after := b.Mark(); after == before {
		t.Errorf("got %d before and after a process began", after)
	}
	blind := &Births{file: -1}
	if x, y := blind.Mark(), blind.Mark(); x == y {
		t.Errorf("got %d twice where nothing can be told", x)
	}
	if n := testing.AllocsPerRun(100, func() { b.Mark() }); n != 0 {
		t.Errorf("got %v allocations; want none", n)
	}
}
