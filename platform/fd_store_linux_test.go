package platform

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestStoreSocket(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := StoreSocket("nft", 0); err != nil {
		t.Errorf("without a service manager: %v", err)
	}
	manager := listenAsManager(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	if err := StoreSocket("nft", int(write.Fd())); err != nil {
		t.Fatal(err)
	}

	data, rights := make([]byte, 64), make([]byte, unix.CmsgSpace(4))
	n, attached, _, _, err := manager.ReadMsgUnix(data, rights)
	if want := "FDSTOREREMOVE=1\nFDNAME=nft"; err != nil || string(data[:n]) != want || attached > 0 {
		t.Errorf("first message: %q with %d bytes of rights, %v; want %q with none", data[:n], attached, err, want)
	}
	n, attached, _, _, err = manager.ReadMsgUnix(data, rights)
	if want := "FDSTORE=1\nFDPOLL=0\nFDNAME=nft"; err != nil || string(data[:n]) != want {
		t.Fatalf("second message: %q, %v; want %q", data[:n], err, want)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:attached])
	if err != nil || len(messages) != 1 {
		t.Fatalf("attached: %d messages, %v; want one", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("attached: descriptors %v, %v; want one", fds, err)
	}
	defer unix.Close(fds[0])
	if _, err := unix.Write(fds[0], []byte("same")); err != nil {
		t.Fatal(err)
	}
	if n, err := read.Read(data); err != nil || string(data[:n]) != "same" {
		t.Errorf("through the stored descriptor came %q, %v; want same", data[:n], err)
	}
}

func TestStoredFDs(t *testing.T) {
	for _, c := range []struct {
		count, names string
		want         map[string]int
		surplus      []int
	}{
		{"", "", nil, nil},
		{"x", "nft", nil, nil},
		{"-1", "nft", nil, nil},
		{"0", "", map[string]int{}, nil},
		{"1", "nft", map[string]int{"nft": 3}, nil},
		{"2", "other:nft", map[string]int{"other": 3, "nft": 4}, nil},
		{"3", "nft:nft:more", map[string]int{"nft": 3, "more": 5}, []int{4}},
		{"2", "nft", map[string]int{"nft": 3, "unknown": 4}, nil},
	} {
		got, surplus := storedFDs(c.count, c.names)
		if !maps.Equal(got, c.want) || !slices.Equal(surplus, c.surplus) {
			t.Errorf("LISTEN_FDS=%s LISTEN_FDNAMES=%s: got %v, surplus %v; want %v, %v", c.count, c.names, got, surplus, c.want, c.surplus)
		}
	}
}

// TestStoredSocketsAreTakenOnce hands descriptors to a new process, as a service
// manager does.
func TestStoredSocketsAreTakenOnce(t *testing.T) {
	if os.Getenv("FIREBREAK_TAKES_SOCKETS") != "" {
		takeStored(t)
		return
	}
	for _, count := range []string{"0", "2"} {
		var files []*os.File
		names := ""
		if count == "2" {
			f, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			files, names = []*os.File{f, f}, "nft:nft"
		}
		// sh becomes the test program, so that LISTEN_PID can be its own.
		cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run='^TestStoredSocketsAreTakenOnce$'`, os.Args[0])
		cmd.Env = append(os.Environ(), "FIREBREAK_TAKES_SOCKETS="+count, "LISTEN_FDS="+count, "LISTEN_FDNAMES="+names)
		cmd.ExtraFiles = files
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("with %s descriptors: %v: %s", count, err, out)
		}
	}
}

// takeStored runs in the process that is handed the descriptors.
func takeStored(t *testing.T) {
	want := map[string]int{}
	if os.Getenv("FIREBREAK_TAKES_SOCKETS") == "2" {
		want["nft"] = 3
	}
	if got := StoredSockets(); !maps.Equal(got, want) {
		t.Errorf("got %v; want %v", got, want)
	}
	if got := StoredSockets(); len(got) > 0 || os.Getenv("LISTEN_FDS") != "" {
		t.Errorf("a second time: got %v", got)
	}
	if len(want) == 0 {
		return
	}
	if flags, err := unix.FcntlInt(3, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor 3 has flags %d, %v; want close-on-exec", flags, err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(4, &stat); err == nil && stat.Mode&unix.S_IFMT == unix.S_IFREG {
		t.Error("the second descriptor of one name is still open")
	}
}

// TestStoredSocketsOfAParentAreLeftAlone: the variables outlive the process that
// they are for.
func TestStoredSocketsOfAParentAreLeftAlone(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("LISTEN_FDNAMES", "nft")
	if got := StoredSockets(); len(got) > 0 {
		t.Errorf("got %v; want none", got)
	}
}
