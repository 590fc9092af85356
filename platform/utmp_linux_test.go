package platform

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
)

// utmpEntry makes one entry as glibc writes it.
func utmpEntry(kind uint16, user, line, host, addr string) []byte {
	b := make([]byte, utmpSize)
	binary.NativeEndian.PutUint16(b, kind)
	binary.NativeEndian.PutUint32(b[utmpPIDAt:], 812)
	copy(b[utmpUserAt:][:utmpNameSize], user)
	copy(b[utmpLineAt:][:utmpNameSize], line)
	copy(b[utmpHostAt:][:utmpHostSize], host)
	if addr != "" {
		copy(b[utmpAddrAt:][:16], netip.MustParseAddr(addr).AsSlice())
	}
	return b
}

func TestParseUtmp(t *testing.T) {
	long := "a-user-name-of-thirty-two-chars!"
	tests := []struct {
		name string
		data []byte
		want []Session
	}{
		{"over ssh", utmpEntry(7, "jd", "pts/0", "192.0.2.7", "192.0.2.7"), []Session{{"jd", "pts/0", "192.0.2.7"}}},
		{"over ssh by name", utmpEntry(7, "jd", "pts/0", "desk.example.org", "2001:db8::7"), []Session{{"jd", "pts/0", "2001:db8::7"}}},
		{"address as text only", utmpEntry(7, "jd", "pts/0", "2001:db8::7", ""), []Session{{"jd", "pts/0", "2001:db8::7"}}},
		{"name only", utmpEntry(7, "jd", "pts/0", "desk.example.org", ""), []Session{{"jd", "pts/0", "desk.example.org"}}},
		{"console", utmpEntry(7, "root", "tty1", "", ""), []Session{{"root", "tty1", ""}}},
		{"desktop", utmpEntry(7, "jd", ":0", ":0", ""), []Session{{"jd", "", ""}}},
		{"terminal multiplexer", utmpEntry(7, "jd", "pts/3", "tmux(812).%1", ""), []Session{{"jd", "pts/3", ""}}},
		{"a name that fills its field", utmpEntry(7, long, "pts/1", "", ""), []Session{{long, "pts/1", ""}}},
		{"hostile terminal codes", utmpEntry(7, "j\x1b[2Jd", "pts/1", "", ""), []Session{{"j [2Jd", "pts/1", ""}}},
		{"boot and dead entries", append(utmpEntry(2, "reboot", "~", "6.1", ""), utmpEntry(8, "", "pts/1", "", "")...), nil},
		{"cut off", utmpEntry(7, "jd", "pts/0", "", "")[:200], nil},
		{"nothing", nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []Session
			for _, l := range parseUtmp(test.data) {
				got = append(got, l.Session)
				if l.pid != 812 {
					t.Errorf("got pid %d; want 812", l.pid)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %+v; want %+v", got, test.want)
			}
		})
	}
}

func FuzzParseUtmp(f *testing.F) {
	f.Add(utmpEntry(7, "jd", "pts/0", "192.0.2.7", "192.0.2.7"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, l := range parseUtmp(data) {
			if l.User == "" {
				t.Error("got a login of nobody")
			}
		}
	})
}
