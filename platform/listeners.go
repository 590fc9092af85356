package platform

import (
	"cmp"
	"net/netip"
)

// Protocol is a transport protocol: "tcp" or "udp".
type Protocol string

// The transport protocols.
const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// Reach says who can get at a port.
type Reach string

// The classes of reach, from nobody else to everybody.
const (
	ReachLoopback Reach = "loopback" // only programs on this computer
	ReachLAN      Reach = "lan"      // the networks this computer is directly on
	ReachAny      Reach = "any"      // any network that can route to it
)

// Wider tells whether r lets more people in than other.
func (r Reach) Wider(other Reach) bool { return r.rank() > other.rank() }

func (r Reach) rank() int {
	switch r {
	case ReachLoopback:
		return 0
	case ReachLAN:
		return 1
	default: // unknown counts as open
		return 2
	}
}

// Listener is one TCP socket that listens, or one UDP socket that serves.
type Listener struct {
	Protocol Protocol   `json:"protocol"`
	Address  netip.Addr `json:"address"` // the bind address; a zone is kept
	Port     uint16     `json:"port"`
	// DualStack is true for an IPv6 wildcard socket that takes IPv4 as well.
	DualStack bool   `json:"dual_stack"`
	Interface string `json:"interface"` // SO_BINDTODEVICE, or ""
	NetNS     string `json:"netns"`     // "" is the namespace the agent runs in
	Inode     uint64 `json:"inode"`
	Cookie    uint64 `json:"cookie"` // the kernel's name for the socket, never used twice in one boot
	UID       uint32 `json:"uid"`
	Reach     Reach  `json:"reach"`
	// Through is the rule of the host's own firewall that decided Reach, or why
	// that firewall could not be judged; "" if the bind address alone decided. The
	// agent's own tables never count.
	Through string `json:"through"`
	// Forward is where the host passes the port on to, "10.88.0.2:80": a published
	// port of a container, or a port forward, that needs no socket of the host. ""
	// is the socket itself.
	Forward string `json:"forward"`
	Owner   Owner  `json:"owner"`
}

// Owner is who holds a listener. The zero Owner is unknown.
type Owner struct {
	PIDs    []int  `json:"pids"`    // all that hold it, lowest first
	PID     int    `json:"pid"`     // the one that counts: the service rather than PID 1
	Start   uint64 `json:"start"`   // start time of PID in clock ticks since boot: with it, a pid is an identity
	Process string `json:"process"` // comm
	Exe     string `json:"exe"`     // without " (deleted)"
	// ExeDeleted says that the file the process runs is no longer on disk.
	ExeDeleted bool   `json:"exe_deleted"`
	User       string `json:"user"`
	// Unit is the unit that owns the socket: the socket unit if PID 1 holds it
	// too, else the service of PID. "" if no unit does.
	Unit string `json:"unit"`
	// UserUnit is the unit of the user's own service manager that PID is part of,
	// or "". The system's service manager knows no such unit, though it may know
	// another one of that name.
	UserUnit  string `json:"user_unit"`
	Package   string `json:"package"`   // the package that brought Exe, "samba 2:4.17.12"; known on hosts with dpkg
	Container string `json:"container"` // "" on the host itself
	// Kernel is true for a socket that no process holds, such as NFS.
	Kernel bool `json:"kernel"`
}

// compareListeners orders listeners by port.
func compareListeners(a, b Listener) int {
	return cmp.Or(
		cmp.Compare(a.Port, b.Port),
		cmp.Compare(a.Protocol, b.Protocol),
		a.Address.Compare(b.Address),
		cmp.Compare(a.Cookie, b.Cookie),
	)
}
