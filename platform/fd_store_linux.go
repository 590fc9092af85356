package platform

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// firstStored is the number of the first socket that a service manager hands
// over, after standard input, output and error.
const firstStored = 3

func storedSockets() map[string]int {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	if pid != strconv.Itoa(os.Getpid()) {
		return nil // meant for a parent
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		// It fails only for a name that can be no variable's.
		_ = os.Unsetenv(name)
	}
	sockets, surplus := storedFDs(count, names)
	for _, fd := range sockets {
		unix.CloseOnExec(fd)
	}
	for _, fd := range surplus {
		_ = unix.Close(fd)
	}
	return sockets
}

// storedFDs reads LISTEN_FDS and LISTEN_FDNAMES.
func storedFDs(count, names string) (sockets map[string]int, surplus []int) {
	n, err := strconv.ParseUint(count, 10, 10)
	if err != nil {
		return nil, nil
	}
	named := strings.Split(names, ":")
	sockets = map[string]int{}
	for i := range int(n) {
		name := "unknown" // what sd_listen_fds_with_names(3) calls it
		if i < len(named) && named[i] != "" {
			name = named[i]
		}
		if _, twice := sockets[name]; twice {
			surplus = append(surplus, firstStored+i)
			continue
		}
		sockets[name] = firstStored + i
	}
	return sockets, surplus
}

// storeSocket first takes away what has the name: the store is small, and adds.
// FDPOLL=0 keeps systemd from throwing away a netlink socket that had an error,
// such as messages that came too fast.
func storeSocket(name string, fd int) error {
	if err := notifyManager("FDSTOREREMOVE=1\nFDNAME=" + name); err != nil {
		return fmt.Errorf("store socket %s: %w", name, err)
	}
	if err := notifyManager("FDSTORE=1\nFDPOLL=0\nFDNAME="+name, fd); err != nil {
		return fmt.Errorf("store socket %s: %w", name, err)
	}
	return nil
}

// storedLine has the service manager keep the firewall's line to the kernel.
type storedLine struct{}

// lineName is what the service manager knows the line by.
const lineName = "nft"

func (storedLine) Take() (fd int, ok bool) {
	fd, ok = StoredSockets()[lineName]
	return fd, ok
}

func (storedLine) Keep(fd int) error { return StoreSocket(lineName, fd) }
