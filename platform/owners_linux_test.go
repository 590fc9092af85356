package platform

import (
	"net/netip"
	"slices"
	"testing"

	godbus "github.com/godbus/dbus/v5"

	"github.com/firebreak-sec/firebreak/platform/sockets"
)

func TestHiddenOwners(t *testing.T) {
	tests := []struct {
		n    int
		root bool
		want string
	}{
		{1, false, "the owner of 1 port is not visible to this user: repeat with sudo"},
		{6, false, "the owners of 6 ports are not visible to this user: repeat with sudo"},
		{6, true, "the owners of 6 ports are not among the processes that can be seen from here: look from the host itself"},
	}
	for _, test := range tests {
		got := hiddenOwners(test.n, test.root)
		if len(got) != 1 || got[0] != (Gap{Part: PartOwners, Reason: test.want, Partial: true}) {
			t.Errorf("got %+v; want %q", got, test.want)
		}
	}
	if got := hiddenOwners(0, false); got != nil {
		t.Errorf("got %+v; want no gap", got)
	}
}

func TestChief(t *testing.T) {
	process := func(pid, ppid int, name string) *processFacts {
		return &processFacts{ProcessID: ProcessID{PID: pid}, ppid: ppid, name: name}
	}
	tests := []struct {
		name  string
		facts []*processFacts
		want  int
	}{
		{"alone", []*processFacts{process(9, 1, "nc")}, 9},
		{"service manager alone", []*processFacts{process(1, 0, "systemd")}, 1},
		{"service rather than its manager", []*processFacts{process(1, 0, "systemd"), process(70, 1, "sshd")}, 70},
		{"parent rather than workers", []*processFacts{process(7, 90, "nginx"), process(8, 90, "nginx"), process(90, 1, "nginx")}, 90},
		{"a container's only service", []*processFacts{process(1, 0, "nginx"), process(7, 1, "nginx")}, 1},
	}
	for _, test := range tests {
		if got := chief(test.facts).PID; got != test.want {
			t.Errorf("%s: got %d; want %d", test.name, got, test.want)
		}
	}
}

func TestServes(t *testing.T) {
	r := listenerReader{udp: sockets.NewUDPServices("32768 60999", ""), others: newNetSpaces()}
	tests := []struct {
		name string
		l    Listener
		want bool
	}{
		{"tcp", Listener{Protocol: TCP, Port: 40000}, true},
		{"udp on a port of its own", Listener{Protocol: UDP, Port: 161}, true},
		{"udp on a port that the kernel handed out", Listener{Protocol: UDP, Port: 40000, Owner: Owner{PID: 7, Unit: "resolver.service"}}, false},
		{"of the service manager itself", Listener{Protocol: UDP, Port: 40000, Owner: Owner{PID: 1}}, false},
		{"of a socket unit", Listener{Protocol: UDP, Port: 40000, Owner: Owner{PID: 1, Unit: "tftp.socket"}}, true},
		{"of the kernel", Listener{Protocol: UDP, Port: 51820, Owner: Owner{Kernel: true}}, true},
	}
	for _, test := range tests {
		if got := r.serves(test.l); got != test.want {
			t.Errorf("%s: got %v; want %v", test.name, got, test.want)
		}
	}
}

func TestListenAddresses(t *testing.T) {
	v := godbus.MakeVariant([][]any{
		{"Stream", "[::]:22"}, {"Datagram", "127.0.0.1:69"}, {"Stream", "/run/x.sock"}, {"FIFO", "0.0.0.0:1"}, {"Stream"}, {1, 2},
	})
	want := []socketAddress{
		{TCP, netip.MustParseAddrPort("[::]:22")}, {UDP, netip.MustParseAddrPort("127.0.0.1:69")},
	}
	if got := listenAddresses(v); !slices.Equal(got, want) {
		t.Errorf("got %v; want %v", got, want)
	}
	if got := listenAddresses(godbus.MakeVariant("x")); got != nil {
		t.Errorf("got %v of something else; want nothing", got)
	}
}

func TestParseStat(t *testing.T) {
	rest := " S 41 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3"
	tests := []struct {
		name, data string
		want       processStat
		ok         bool
	}{
		{"plain", "7 (sshd)" + rest, processStat{"sshd", 41, 98765}, true},
		{"name with everything", "7 (a) S 1 (b\n)" + rest, processStat{"a) S 1 (b\n", 41, 98765}, true},
		{"cut off", "7 (sshd) S 41 7", processStat{}, false},
		{"no name", "7 sshd S 41", processStat{}, false},
		{"reversed", "7 )sshd(" + rest, processStat{}, false},
		{"nothing", "", processStat{}, false},
	}
	for _, test := range tests {
		got, ok := parseStat([]byte(test.data))
		if ok != test.ok || (ok && got != test.want) {
			t.Errorf("%s: got %+v, %v; want %+v, %v", test.name, got, ok, test.want, test.ok)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("7 (sshd) S 41 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3"))
	f.Fuzz(func(_ *testing.T, data []byte) { parseStat(data) })
}

func TestParsePasswd(t *testing.T) {
	got := parsePasswd([]byte("root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n#c\n:x:3:\nbad:x:-1:0::\njd:x:1000:1000::/home/jd:/bin/sh"))
	if len(got) != 2 || got[0] != "root" || got[1000] != "jd" {
		t.Errorf("got %v; want root and jd", got)
	}
}

func FuzzParsePasswd(f *testing.F) {
	f.Add([]byte("root:x:0:0:root:/root:/bin/sh\n"))
	f.Fuzz(func(_ *testing.T, data []byte) { parsePasswd(data) })
}

func TestParseLogindSession(t *testing.T) {
	remote := "# This is private data.\nUID=1000\nUSER=jd\nACTIVE=1\nSTATE=active\nREMOTE=1\nTTY=pts/0\nREMOTE_HOST=192.0.2.7\nCLASS=user\n"
	if got, ok := parseLogindSession(remote); !ok || got != (Session{"jd", "pts/0", "192.0.2.7"}) {
		t.Errorf("got %+v, %v; want jd from 192.0.2.7", got, ok)
	}
	for _, text := range []string{"", "USER=gdm\nCLASS=greeter\n", "USER=jd\nCLASS=manager\n", "USER=jd\nCLASS=user\nSTATE=closing\n"} {
		if got, ok := parseLogindSession(text); ok {
			t.Errorf("%q: got %+v; want no session of a person", text, got)
		}
	}
}
