package sockets

import (
	"slices"
	"testing"
	"time"
)

func TestUDPServicesByPort(t *testing.T) {
	tests := []struct {
		name            string
		ports, reserved string
		port            uint16
		serves          bool
	}{
		{"name server", "32768\t60999\n", "\n", 53, true},
		{"below the range", "32768\t60999\n", "\n", 32767, true},
		{"first of the range", "32768\t60999\n", "\n", 32768, false},
		{"last of the range", "32768\t60999\n", "\n", 60999, false},
		{"above the range", "32768\t60999\n", "\n", 61000, true},
		{"reserved", "32768\t60999\n", "33000,51820-51830\n", 51820, true},
		{"beside what is reserved", "32768\t60999\n", "33000,51820-51830\n", 51819, false},
		{"a wider range", "1024 65535", "", 5353, false},
		{"unreadable range", "", "", 40000, false},
		{"nonsense", "99999 3", "-,x-2,", 53, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			u := NewUDPServices(test.ports, test.reserved)
			u.Look([]Socket{{Protocol: UDP, Port: test.port, Cookie: 1}}, time.Unix(0, 0))
			if got := u.Serves(0, test.port); got != test.serves {
				t.Errorf("got %v; want %v", got, test.serves)
			}
		})
	}
}

func TestUDPServicesByPersistence(t *testing.T) {
	const port = 40123
	type look struct {
		after  time.Duration
		cookie uint64 // 0: no socket there
		uid    uint32
	}
	tests := []struct {
		name   string
		looks  []look
		serves bool
	}{
		{"one long call", []look{{0, 1, 0}, {time.Minute, 1, 0}, {5 * time.Hour, 1, 0}}, false},
		{"a service that restarts", []look{{0, 1, 0}, {2 * time.Minute, 1, 0}, {3 * time.Minute, 2, 0}, {5 * time.Minute, 2, 0}}, true},
		{"just restarted", []look{{0, 1, 0}, {2 * time.Minute, 1, 0}, {3 * time.Minute, 2, 0}}, false},
		{"restarts twice at once", []look{{0, 1, 0}, {2 * time.Minute, 1, 0}, {121 * time.Second, 2, 0}, {122 * time.Second, 3, 0}, {5 * time.Minute, 3, 0}}, true},
		{"two questions by chance", []look{{0, 1, 0}, {time.Second, 1, 0}, {time.Hour, 2, 0}, {time.Hour + time.Second, 2, 0}}, false},
		{"two users by chance", []look{{0, 1, 1000}, {2 * time.Minute, 1, 1000}, {3 * time.Minute, 2, 0}, {5 * time.Minute, 2, 0}}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			u := NewUDPServices("32768 60999", "")
			begun := time.Unix(1e9, 0)
			for _, l := range test.looks {
				u.Look([]Socket{{Protocol: UDP, Port: port, Cookie: l.cookie, UID: l.uid}}, begun.Add(l.after))
			}
			if got := u.Serves(0, port); got != test.serves {
				t.Errorf("got %v; want %v", got, test.serves)
			}
		})
	}
}

func TestUDPServicesForgets(t *testing.T) {
	u := NewUDPServices("1 65535", "")
	now := time.Unix(1e9, 0)
	for cookie := range uint64(10 * remembered) {
		now = now.Add(time.Second)
		u.Look([]Socket{{Protocol: UDP, Port: uint16(cookie + 1), Cookie: cookie}}, now)
	}
	if len(u.tenants) > remembered {
		t.Errorf("got %d ports remembered; want at most %d", len(u.tenants), remembered)
	}
}

// TestUDPServicesHeedTheKernel has sockets on ports that the kernel hands out.
func TestUDPServicesHeedTheKernel(t *testing.T) {
	const (
		before = iota + 1
		asks
		serves
		other // could not have the port it asked for
		missed
	)
	u, n := NewUDPServices("32768 60999", ""), &News{}
	u.Heed(n)
	now := time.Unix(1000, 0)
	all := []Socket{{Protocol: UDP, Port: 40000, Cookie: before}}
	look := func(more ...Socket) {
		now = now.Add(time.Second)
		all = append(all, more...)
		u.Look(all, now)
	}
	check := func(when string, want ...uint16) {
		t.Helper()
		var got []uint16
		for _, s := range all {
			if u.Serves(s.UID, s.Port) {
				got = append(got, s.Port)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got services on %v; want %v", when, got, want)
		}
	}
	look()
	check("before the kernel tells")
	n.Begin()
	look()
	n.Bound(serves, 40002, now)
	n.Bound(other, 40003, now)
	look(Socket{Protocol: UDP, Port: 40001, Cookie: asks}, Socket{Protocol: UDP, Port: 40002, Cookie: serves}, Socket{Protocol: UDP, Port: 40004, Cookie: other})
	check("when it tells", 40002)
	if u.Settled(0, 40001) || !u.Settled(0, 40002) {
		t.Error("its owner is worth knowing of a service alone")
	}

	// The one of before comes back to where it was, as another socket: the old
	// rule holds only for what nobody told of.
	now = now.Add(2 * settled)
	look()
	n.End()
	all[0].Cookie = missed
	look()
	now = now.Add(2 * settled)
	look()
	check("when it tells no more", 40000, 40002)
	n.Begin()
	look()
	check("when it tells again", 40000, 40002)
	n.Closed(serves)
	all = all[:0]
	look(Socket{Protocol: UDP, Port: 40002, Cookie: 99})
	check("when another has the port")
}
