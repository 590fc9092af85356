package platform

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mdlayher/netlink"
)

// kernelServices are the units that have the kernel itself serve a port. A socket
// of the kernel tells nobody what it is for: the port does, together with a unit
// that is active.
var kernelServices = []struct {
	protocol Protocol
	port     uint16
	units    []string
}{
	{TCP, 2049, []string{"nfs-server.service", "nfs-kernel-server.service"}},
	{UDP, 2049, []string{"nfs-server.service", "nfs-kernel-server.service"}},
	{TCP, 445, []string{"ksmbd.service"}},
	{TCP, 139, []string{"ksmbd.service"}},
	{TCP, 3260, []string{"rtslib-fb-targetctl.service", "target.service"}},
	{TCP, 4420, []string{"nvmet.service"}},
}

// kernelUnits tells which unit has the kernel serve a port.
type kernelUnits struct {
	// active returns those of the named units that are active, or become so.
	active func(ctx context.Context, names []string) ([]string, error)
	// tunnels returns the WireGuard interfaces by the port that they listen on.
	tunnels func() (map[uint16][]string, error)
	known   map[uint64]kernelUnit // by the socket's cookie, in this look
	before  map[uint64]kernelUnit // in the one before it
	now     func() time.Time
}

// kernelUnit is the unit behind one socket, and when that was asked.
type kernelUnit struct {
	name  string // "" is none
	asked time.Time
}

// askKernelAgain is how long it is believed that a socket of the kernel belongs
// to no unit: a unit may bring its port up before it is active.
const askKernelAgain = 10 * time.Second

func newKernelUnits() *kernelUnits {
	return &kernelUnits{active: activeUnits, tunnels: wireGuardPorts, known: map[uint64]kernelUnit{}, before: map[uint64]kernelUnit{}, now: time.Now}
}

// tell fills in the units of those listeners of the host that the kernel holds.
// Only for a socket that is new, and may be a unit's, is anybody asked.
func (k *kernelUnits) tell(ctx context.Context, found []Listener) error {
	k.known, k.before = k.before, k.known
	clear(k.known)
	var failed error
	for i := range found {
		l := &found[i]
		if !l.Owner.Kernel || l.NetNS != "" || l.Forward != "" {
			continue
		}
		u, asked := k.before[l.Cookie]
		if !asked || u.name == "" && k.now().Sub(u.asked) >= askKernelAgain {
			name, err := k.ask(ctx, l)
			if err != nil {
				failed = fmt.Errorf("which units have the kernel serve ports is not known: %w", err)
			}
			u = kernelUnit{name, k.now()}
		}
		k.known[l.Cookie] = u
		l.Owner.Unit = u.name
	}
	return failed
}

func (k *kernelUnits) ask(ctx context.Context, l *Listener) (string, error) {
	var names []string
	for _, s := range kernelServices {
		if s.protocol == l.Protocol && s.port == l.Port {
			names = append(names, s.units...)
		}
	}
	if l.Protocol == UDP {
		tunnels, err := k.tunnels()
		if err != nil {
			return "", fmt.Errorf("find WireGuard interfaces: %w", err)
		}
		for _, name := range tunnels[l.Port] {
			names = append(names, "wg-quick@"+escapeUnit(name)+".service")
		}
	}
	if len(names) == 0 {
		return "", nil
	}
	active, err := k.active(ctx, names)
	if err != nil || len(active) == 0 {
		return "", err
	}
	return active[0], nil
}

// activeUnits keeps the order of the names.
func activeUnits(ctx context.Context, names []string) ([]string, error) {
	conn, err := systemd{}.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	units, err := conn.ListUnitsByNamesContext(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("ask systemd for units: %w", err)
	}
	var active []string
	for _, name := range names {
		for _, u := range units {
			if u.Name == name && running(u.ActiveState) && !slices.Contains(active, name) {
				active = append(active, name)
			}
		}
	}
	return active, nil
}

// wireGuardPorts asks the kernel for all its WireGuard interfaces.
func wireGuardPorts() (map[uint16][]string, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	ports := map[uint16][]string{}
	for _, i := range interfaces {
		// An interface that goes away meanwhile has no port either.
		about, err := os.ReadFile(filepath.Join("/sys/class/net", i.Name, "uevent"))
		if err != nil || !strings.Contains(string(about), "DEVTYPE=wireguard\n") {
			continue
		}
		bodies, err := askWireGuard(i.Index)
		if err != nil {
			return nil, err
		}
		if port := parseWireGuardPort(bodies); port != 0 {
			ports[port] = append(ports[port], i.Name)
		}
	}
	return ports, nil
}

// parseWireGuardPort returns the port that an interface listens on; 0 if it says
// none.
func parseWireGuardPort(bodies [][]byte) uint16 {
	for _, body := range bodies {
		if len(body) < genericHeaderLen {
			continue
		}
		ad, err := netlink.NewAttributeDecoder(body[genericHeaderLen:])
		if err != nil {
			continue
		}
		for ad.Next() {
			if ad.Type() == unix.WGDEVICE_A_LISTEN_PORT && len(ad.Bytes()) == 2 {
				return ad.Uint16()
			}
		}
	}
	return 0
}

// escapeUnit writes a name as it stands in the name of a unit: systemd-escape(1).
func escapeUnit(s string) string {
	var out strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '/':
			out.WriteByte('-')
		case c == '_' || c == ':' || c == '.' && i > 0 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
			out.WriteByte(c)
		default:
			fmt.Fprintf(&out, `\x%02x`, c)
		}
	}
	return out.String()
}
