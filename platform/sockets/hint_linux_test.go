package sockets

import (
	"os"
	"slices"
	"testing"
)

// TestOwnersHeedHints tells who holds a socket: then nobody else is looked into
// until the Update after that one.
func TestOwnersHeedHints(t *testing.T) {
	requireProc(t)
	file := reusable(t, 0)
	port := portOf(file)
	child := sleepWith(t, file)
	o, n := newOwners(t), &News{}
	o.Heed(n)
	r, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all, err := r.Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	socket := only(t, all, TCP, port)
	n.Listens(socket.Cookie, os.Getpid())
	for _, want := range [][]int{{os.Getpid()}, sortedPIDs(os.Getpid(), child)} {
		if err := o.Update([]Socket{socket}); err != nil {
			t.Fatal(err)
		}
		if got := pidsOf(t, o, socket); !slices.Equal(got, want) {
			t.Errorf("got holders %v; want %v", got, want)
		}
	}
}

// TestOwnersDoNotTrustHints names a process that does not hold the socket.
func TestOwnersDoNotTrustHints(t *testing.T) {
	requireProc(t)
	file := reusable(t, 0)
	port := portOf(file)
	o, n := newOwners(t), &News{}
	o.Heed(n)
	socket := only(t, update(t, newOwners(t)), TCP, port)
	n.Listens(socket.Cookie, 1)
	if err := o.Update([]Socket{socket}); err != nil {
		t.Fatal(err)
	}
	if got, want := pidsOf(t, o, socket), []int{os.Getpid()}; !slices.Equal(got, want) {
		t.Errorf("got holders %v; want %v", got, want)
	}
}
