//go:build linux

package lab

import (
	"bytes"
	"testing"
)

func TestPickSource(t *testing.T) {
	const updates = "Debian|main|bookworm-updates|http://deb.example/debian/\n"
	for _, c := range []struct {
		name, lines, suite string
	}{
		{"bookworm before others", "Debian|main|trixie|http://deb.example/debian/\nDebian|main|bookworm|http://deb.example/debian/\n", "bookworm"},
		{"what there is", updates + "Debian|contrib|trixie|http://deb.example/\nDebian|main|trixie|http://deb.example/debian/\n", "trixie"},
		{"updates are no release", updates, ""},
		{"somebody else's packages", "|main|bookworm|http://apt.example/\nUbuntu|main|noble|http://ubuntu.example/\n", ""},
		{"no lists", "", ""},
	} {
		got, err := pickSource(c.lines)
		if got.suite != c.suite || (err == nil) != (c.suite != "") {
			t.Errorf("%s: got %+v, %v; want suite %q", c.name, got, err, c.suite)
		}
	}
}

func TestUnarmoured(t *testing.T) {
	packets := []byte{0x99, 1, 2, 3}
	armoured := "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: a key\n\nmQEC\nAw==\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"
	for _, c := range []struct {
		name, text string
		want       []byte
	}{
		{"packets", string(packets), packets},
		{"armour", armoured, packets},
		{"two in one file", armoured + armoured, append(packets, packets...)},
		{"no key", "hello", nil},
		{"empty", "", nil},
		{"cut off", armoured[:60], nil},
	} {
		if got := unarmoured([]byte(c.text)); !bytes.Equal(got, c.want) {
			t.Errorf("%s: got %v; want %v", c.name, got, c.want)
		}
	}
}

func TestNetrc(t *testing.T) {
	got := string(netrc([]byte("machine https://deb.example/debian login me password x\nmachine other.example login you password y\n")))
	want := "machine deb.example login me password x\nmachine other.example login you password y\n"
	if got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}

func TestReadNmap(t *testing.T) {
	got, err := readNmap("# Nmap 7.93\nHost: 10.77.0.11 ()\tStatus: Up\n" +
		"Host: 10.77.0.11 ()\tPorts: 22/open/tcp//ssh///, 445/filtered/tcp//microsoft-ds///\tIgnored State: closed (1)\n")
	if err != nil || len(got) != 2 || got[22] != "open" || got[445] != "filtered" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := readNmap("Ports: what\n"); err == nil {
		t.Error("nonsense was read")
	}
}
