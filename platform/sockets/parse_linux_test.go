package sockets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// message makes a netlink message of a dump, padded as the kernel pads it.
func message(kind, flags uint16, sequence uint32, body []byte) []byte {
	b := make([]byte, headerSize, aligned(headerSize+len(body)))
	binary.NativeEndian.PutUint32(b, uint32(headerSize+len(body)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], flags)
	binary.NativeEndian.PutUint32(b[8:], sequence)
	b = append(b, body...)
	return b[:cap(b)]
}

// listener makes the body of an answer for 0.0.0.0:445.
func listener(attributes ...byte) []byte {
	b := make([]byte, answerSize)
	b[0], b[1] = unix.AF_INET, 10
	binary.BigEndian.PutUint16(b[4:], 445)
	return append(b, attributes...)
}

func TestParse(t *testing.T) {
	done := message(unix.NLMSG_DONE, 0, 7, make([]byte, 4))
	refused := make([]byte, 4)
	binary.NativeEndian.PutUint32(refused, uint32(0xffffffff-uint32(unix.ENOENT)+1))
	tests := []struct {
		name    string
		data    []byte
		sockets int
		done    bool
		err     error
	}{
		{"nothing", nil, 0, false, nil},
		{"one and the end", append(message(unix.SOCK_DIAG_BY_FAMILY, 2, 7, listener()), done...), 1, true, nil},
		{"left over from before", message(unix.SOCK_DIAG_BY_FAMILY, 2, 6, listener()), 0, false, nil},
		{"attributes", message(unix.SOCK_DIAG_BY_FAMILY, 2, 7, listener(5, 0, attributeV6Only, 0, 1, 0, 0, 0)), 1, false, nil},
		{"no such protocol", message(unix.NLMSG_ERROR, 0, 7, refused), 0, false, unix.ENOENT},
		{"failed at the end", message(unix.NLMSG_DONE, 0, 7, refused), 0, true, unix.ENOENT},
		{"half a header", make([]byte, 7), 0, false, errMalformed},
		{"shorter than its header", message(0, 0, 7, nil)[:12], 0, false, errMalformed},
		{"half a socket", message(unix.SOCK_DIAG_BY_FAMILY, 2, 7, listener()[:40]), 0, false, errMalformed},
		{"attribute longer than the rest", message(unix.SOCK_DIAG_BY_FAMILY, 2, 7, listener(200, 0, 11, 0)), 0, false, errMalformed},
		{"attribute without a length", message(unix.SOCK_DIAG_BY_FAMILY, 2, 7, listener(0, 0, 11, 0)), 0, false, errMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, done, err := parse(test.data, 7, TCP, nil)
			if len(got) != test.sockets || done != test.done || !errors.Is(err, test.err) {
				t.Errorf("got %d sockets, done %v, error %v; want %d, %v, %v", len(got), done, err, test.sockets, test.done, test.err)
			}
		})
	}
	if _, _, err := parse(message(unix.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP_INTR, 7, listener()), 7, TCP, nil); err == nil {
		t.Error("an interrupted dump: got no error; want one, since sockets may be missing")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(message(unix.SOCK_DIAG_BY_FAMILY, 2, 7, listener(12, 0, attributeCgroup, 0, 1, 2, 3, 4, 5, 6, 7, 8)))
	f.Add(append(message(unix.SOCK_DIAG_BY_FAMILY, 2, 7, listener()), message(unix.NLMSG_DONE, 0, 7, make([]byte, 4))...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, _, _ := parse(data, 7, TCP, nil); len(got) > len(data)/answerSize {
			t.Errorf("got %d sockets in %d bytes", len(got), len(data))
		}
	})
}

func TestCgroup2Mount(t *testing.T) {
	tests := []struct{ name, mountinfo, want string }{
		{"version 2", "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup"},
		{
			"hybrid", "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n37 31 0:34 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n" +
				"38 31 0:35 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup/unified",
		},
		{"a blank in the path", `38 31 0:35 / /mnt/a\040b rw - cgroup2 cgroup2 rw`, "/mnt/a b"},
		{"version 1 only", "37 31 0:34 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n", ""},
		{"cut off", "38 31 - cgroup2 ", ""},
		{"empty", "", ""},
	}
	for _, test := range tests {
		if got := cgroup2Mount([]byte(test.mountinfo)); got != test.want {
			t.Errorf("%s: got %q; want %q", test.name, got, test.want)
		}
	}
}

func FuzzCgroup2Mount(f *testing.F) {
	f.Add([]byte(`38 31 0:35 / /mnt/a\040b\ rw - cgroup2 cgroup2 rw`))
	f.Fuzz(func(_ *testing.T, data []byte) { cgroup2Mount(data) })
}

func FuzzDirectoryEntries(f *testing.F) {
	f.Add(bytes.Repeat([]byte{24, 0}, 24))
	f.Fuzz(func(t *testing.T, data []byte) {
		for rest := data; len(rest) > 0; {
			before := len(rest)
			var name []byte
			if name, _, rest = nextEntry(rest); len(rest) >= before {
				t.Fatal("no progress")
			}
			number(name)
			socketInode(name)
		}
	})
}

func TestSocketInode(t *testing.T) {
	tests := map[string]uint64{
		"socket:[12345]": 12345, "socket:[]": 0, "socket:[12": 0, "socket:": 0,
		"pipe:[12345]": 0, "/tmp/socket:[1]": 0, "socket:[1x]": 0, "": 0,
	}
	for link, want := range tests {
		if got := socketInode([]byte(link)); got != want {
			t.Errorf("%q: got %d; want %d", link, got, want)
		}
	}
}
