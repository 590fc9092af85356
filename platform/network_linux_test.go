package platform

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func fixture(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/network", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func noDisks(mount) []networkDisk { return nil }

// told writes mounts as lines: "/home nfs4 192.0.2.5:2049".
func told(mounts []NetworkMount) string {
	var out strings.Builder
	for _, m := range mounts {
		server := "unknown"
		if m.Server.IsValid() {
			server = netip.AddrPortFrom(m.Server, m.Port).String()
		}
		fmt.Fprintf(&out, "%s %s %s\n", m.Path, m.Kind, server)
	}
	return out.String()
}

func TestNetworkMounts(t *testing.T) {
	got := told(networkMounts(parseMounts(fixture(t, "mounts-server.txt")), noDisks))
	want := `/home nfs4 192.0.2.5:2049
/srv/old data nfs 192.0.2.6:0
/mnt/six nfs4 [2001:db8::5]:12049
/mnt/win cifs 192.0.2.7:0
/mnt/ssh sshfs 192.0.2.8:0
/mnt/named sshfs unknown
/mnt/ceph ceph unknown
/mnt/gluster glusterfs unknown
/mnt/plan 9p 192.0.2.40:5640
`
	if got != want {
		t.Errorf("got\n%s; want\n%s", got, want)
	}
}

// TestDisklessHost has its root as an overlay on an image file on NFS, and /var on
// a logical volume on iSCSI.
func TestDisklessHost(t *testing.T) {
	sys := t.TempDir()
	file := func(name, text string) {
		t.Helper()
		name = filepath.Join(sys, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name, to string) {
		t.Helper()
		name = filepath.Join(sys, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(sys, to), name); err != nil {
			t.Fatal(err)
		}
	}
	const disk = "devices/platform/host3/session1/target3:0:0/3:0:0:0/block/sda"
	file("devices/virtual/block/loop0/loop/backing_file", "/run/initramfs/root/desk.squashfs")
	link("dev/block/7:0", "devices/virtual/block/loop0")
	file("devices/virtual/block/dm-3/dev", "253:3")
	link("dev/block/253:3", "devices/virtual/block/dm-3")
	file(disk+"/dev", "8:0")
	file(disk+"/sda1/dev", "8:1")
	file(disk+"/sda1/partition", "1")
	link("dev/block/8:1", disk+"/sda1")
	link("devices/virtual/block/dm-3/slaves/sda1", disk+"/sda1")
	file("class/iscsi_connection/connection1:0/persistent_address", "192.0.2.50")
	file("class/iscsi_connection/connection1:0/persistent_port", "3260")
	got := told(networkMounts(parseMounts(fixture(t, "mounts-diskless.txt")), newDisks(sys, t.TempDir()).under))
	want := `/run/initramfs/root nfs4 192.0.2.5:2049
/var iscsi 192.0.2.50:3260
/run/initramfs/live nfs4 192.0.2.5:2049
/ nfs4 192.0.2.5:2049
`
	if got != want {
		t.Errorf("got\n%s; want\n%s", got, want)
	}

	file("devices/virtual/nvme/nvme0/transport", "tcp")
	file("devices/virtual/nvme/nvme0/address", "traddr=192.0.2.60,trsvcid=4420")
	file("devices/virtual/nvme/nvme0/nvme0n1/dev", "259:0")
	link("dev/block/259:0", "devices/virtual/nvme/nvme0/nvme0n1")
	file("devices/pci/nvme1/transport", "pcie")
	file("devices/pci/nvme1/nvme1n1/dev", "259:1")
	link("dev/block/259:1", "devices/pci/nvme1/nvme1n1")
	file("devices/virtual/block/nbd0/pid", "77")
	file("devices/virtual/block/nbd0/dev", "43:0")
	link("dev/block/43:0", "devices/virtual/block/nbd0")
	file("devices/virtual/block/nbd1/dev", "43:1")
	link("dev/block/43:1", "devices/virtual/block/nbd1")
	file("77/cmdline", "nbd-client\x00-N\x00root\x00192.0.2.61\x0010810\x00/dev/nbd0\x00")
	for device, want := range map[string]string{
		"259:0": "nvme-tcp 192.0.2.60:4420",
		"259:1": "",
		"43:0":  "nbd 192.0.2.61:10810",
		"43:1":  "",
		"8:99":  "",
	} {
		var got []string
		for _, d := range newDisks(sys, sys).under(mount{device: device}) {
			got = append(got, fmt.Sprintf("%s %s:%d", d.kind, d.server, d.port))
		}
		if got := strings.Join(got, ", "); got != want {
			t.Errorf("disk %s: got %s; want %s", device, got, want)
		}
	}
}

func TestParseLogins(t *testing.T) {
	if got, want := parseLogins(fixture(t, "nsswitch-directory.txt")), []string{"sss", "winbind"}; !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
	if got := parseLogins("passwd: files systemd\n"); got != nil {
		t.Errorf("got %q; want none", got)
	}
}

func encode(t *testing.T, fill func(*netlink.AttributeEncoder)) []byte {
	t.Helper()
	ae := netlink.NewAttributeEncoder()
	fill(ae)
	b, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func nested(ae *netlink.AttributeEncoder, kind uint16, fill func(*netlink.AttributeEncoder)) {
	ae.Nested(kind, func(inner *netlink.AttributeEncoder) error {
		fill(inner)
		return nil
	})
}

// TestParseWireGuard has the answers of the kernel for a device with two peers,
// the second of them spread over two messages.
func TestParseWireGuard(t *testing.T) {
	v4 := []byte{2, 0, 0xca, 0x6c, 192, 0, 2, 9, 0, 0, 0, 0, 0, 0, 0, 0}
	v6 := slices.Concat([]byte{10, 0, 0xca, 0x6d, 0, 0, 0, 0}, netip.MustParseAddr("2001:db8::9").AsSlice(), make([]byte, 4))
	if binary.NativeEndian.Uint16(v4) != unix.AF_INET {
		t.Skip("the bytes are those of a little-endian host")
	}
	allowed := func(ae *netlink.AttributeEncoder, networks ...string) {
		nested(ae, unix.WGPEER_A_ALLOWEDIPS, func(list *netlink.AttributeEncoder) {
			for i, n := range networks {
				p := netip.MustParsePrefix(n)
				nested(list, uint16(i), func(one *netlink.AttributeEncoder) {
					one.Uint16(unix.WGALLOWEDIP_A_FAMILY, unix.AF_INET)
					one.Bytes(unix.WGALLOWEDIP_A_IPADDR, p.Addr().AsSlice())
					one.Uint8(unix.WGALLOWEDIP_A_CIDR_MASK, uint8(p.Bits()))
				})
			}
		})
	}
	message := func(peers func(list *netlink.AttributeEncoder)) []byte {
		return append([]byte{0, 1, 0, 0}, encode(t, func(ae *netlink.AttributeEncoder) {
			ae.String(unix.WGDEVICE_A_IFNAME, "wg0")
			ae.Bytes(unix.WGDEVICE_A_PRIVATE_KEY, make([]byte, 32))
			nested(ae, unix.WGDEVICE_A_PEERS, peers)
		})...)
	}
	first := message(func(list *netlink.AttributeEncoder) {
		nested(list, 0, func(p *netlink.AttributeEncoder) {
			p.Bytes(unix.WGPEER_A_PUBLIC_KEY, []byte(strings.Repeat("a", 32)))
			p.Bytes(unix.WGPEER_A_ENDPOINT, v4)
			allowed(p, "0.0.0.0/0")
		})
		nested(list, 1, func(p *netlink.AttributeEncoder) {
			p.Bytes(unix.WGPEER_A_PUBLIC_KEY, []byte(strings.Repeat("b", 32)))
			p.Bytes(unix.WGPEER_A_ENDPOINT, v6)
			allowed(p, "10.1.0.0/16")
		})
	})
	second := message(func(list *netlink.AttributeEncoder) {
		nested(list, 0, func(p *netlink.AttributeEncoder) {
			p.Bytes(unix.WGPEER_A_PUBLIC_KEY, []byte(strings.Repeat("b", 32)))
			allowed(p, "10.2.0.0/16", "fd00::/8")
		})
	})
	peers, err := parseWireGuard([][]byte{first, second})
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{
		"":           "[192.0.2.9:51820 [2001:db8::9]:51821]",
		"10.2.3.4":   "[[2001:db8::9]:51821]",
		"10.3.3.4":   "[192.0.2.9:51820]",
		"fd00::1":    "[[2001:db8::9]:51821]",
		"2001:db8::": "[]",
	} {
		address, _ := netip.ParseAddr(to)
		if got := fmt.Sprint(endpoints(peers, address)); got != want {
			t.Errorf("to %q: got %s; want %s", to, got, want)
		}
	}
	for i := range first { // a message that ends too early is an error or less, never a panic
		_, _ = parseWireGuard([][]byte{first[:i]})
	}
}

// TestTunnelEndpoints has interfaces of kinds that this kernel may lack.
func TestTunnelEndpoints(t *testing.T) {
	link := func(kind string, data func(*netlink.AttributeEncoder)) []byte {
		return append(linkHeader(7, unix.IFF_UP, 0), encode(t, func(ae *netlink.AttributeEncoder) {
			ae.String(unix.IFLA_IFNAME, "t0")
			nested(ae, unix.IFLA_LINKINFO, func(info *netlink.AttributeEncoder) {
				info.String(unix.IFLA_INFO_KIND, kind)
				nested(info, unix.IFLA_INFO_DATA, data)
			})
		})...)
	}
	v4 := []byte{192, 0, 2, 9}
	v6 := netip.MustParseAddr("2001:db8::9").AsSlice()
	for _, c := range []struct {
		kind string
		data func(*netlink.AttributeEncoder)
		want string
	}{
		{"gre", func(ae *netlink.AttributeEncoder) { ae.Bytes(7, v4) }, "true [192.0.2.9:0]"},
		{"ip6gretap", func(ae *netlink.AttributeEncoder) { ae.Bytes(7, v6) }, "true [[2001:db8::9]:0]"},
		{"ipip", func(ae *netlink.AttributeEncoder) { ae.Bytes(3, v4) }, "true [192.0.2.9:0]"},
		{"sit", func(ae *netlink.AttributeEncoder) { ae.Bytes(3, make([]byte, 4)) }, "true []"},
		{"vti", func(ae *netlink.AttributeEncoder) { ae.Bytes(5, v4) }, "true [192.0.2.9:0]"},
		{"geneve", func(ae *netlink.AttributeEncoder) { ae.Bytes(7, v6); ae.Bytes(5, []byte{0x17, 0xc1}) }, "true [[2001:db8::9]:6081]"},
		{"vxlan", func(ae *netlink.AttributeEncoder) { ae.Bytes(2, []byte{239, 1, 1, 1}) }, "true []"},
		{"xfrm", func(ae *netlink.AttributeEncoder) { ae.Uint32(1, 2) }, "true []"},
		{"bridge", func(ae *netlink.AttributeEncoder) { ae.Bytes(7, v4) }, "false []"},
	} {
		body := link(c.kind, c.data)
		l, err := parseLink(body)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%v %v", l.Tunnel, l.Outer); got != c.want || l.Kind != c.kind || !l.Up || l.Index != 7 {
			t.Errorf("%s: got %s of %+v; want %s", c.kind, got, l, c.want)
		}
		for i := range body {
			_, _ = parseLink(body[:i])
		}
	}
}

func TestTunnelsAreInherited(t *testing.T) {
	outer := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.9:4789")}
	all := []linkState{
		{Interface: Interface{Name: "eth0", Index: 1}, master: 4},
		{Interface: Interface{Name: "vx0", Index: 2, Kind: "vxlan", Tunnel: true, Outer: outer}, master: 3},
		{Interface: Interface{Name: "br-over", Index: 3, Kind: "bridge"}},
		{Interface: Interface{Name: "br-lan", Index: 4, Kind: "bridge"}},
		{Interface: Interface{Name: "vx1", Index: 5, Kind: "vxlan", Tunnel: true, Outer: outer}, master: 4},
		{Interface: Interface{Name: "veth1", Index: 6, Kind: "veth"}, master: 3},
		{Interface: Interface{Name: "over.7", Index: 7, Kind: "vlan"}, lower: 3},
		{Interface: Interface{Name: "eth0.7", Index: 8, Kind: "vlan"}, lower: 1},
		{Interface: Interface{Name: "docker0", Index: 9, Kind: "bridge"}},
	}
	inheritTunnels(all)
	var got []string
	for _, l := range all {
		if l.Tunnel && slices.Equal(l.Outer, outer) {
			got = append(got, l.Name)
		}
	}
	if want := []string{"vx0", "br-over", "vx1", "over.7"}; !slices.Equal(got, want) {
		t.Errorf("tunnels: got %q; want %q", got, want)
	}
}

func TestSnapshotOfNetwork(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		shell(t, `ip link add vx0 type vxlan id 5 remote 192.0.2.2 dstport 4789; ip tuntap add tun7 mode tun; ip link add br9 type bridge`)
		s := look(t, newObserver(Options{}, nil), PartNetwork)
		if len(s.Gaps) != 1 || !strings.Contains(s.Gaps[0].Reason, "network namespace of its own") || len(s.Network.Away) > 0 {
			t.Errorf("gaps: %+v; away: %q; want to be told that this is not the host's own namespace", s.Gaps, s.Network.Away)
		}
		var got []string
		for _, l := range s.Network.Links {
			got = append(got, fmt.Sprintf("%s %s up=%v tunnel=%v %v", l.Name, l.Kind, l.Up, l.Tunnel, l.Outer))
		}
		slices.Sort(got)
		want := []string{
			"br9 bridge up=false tunnel=false []",
			"eth0 veth up=true tunnel=false []",
			"tun7 tun up=false tunnel=true []",
			"vx0 vxlan up=false tunnel=true [192.0.2.2:4789]",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got links\n%s; want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestAwayFindsInterfacesInOtherNamespaces looks for the outside's end of the wire,
// as if that was hardware.
func TestAwayFindsInterfacesInOtherNamespaces(t *testing.T) {
	inWorld(t, func(t *testing.T, w world) {
		mounts := parseMounts(readMounts(t))
		others, denied, err := otherNamespaces(mounts)
		if err != nil || denied {
			t.Fatal(err, denied)
		}
		before := shell(t, "ip link")
		got, err := away(others, mounts, func(l linkState) bool { return l.Index == 78 && l.Kind == "veth" })
		want := "eth0 (in network namespace " + w.outside + ")"
		if err != nil || !slices.Contains(got, want) {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
		if after := shell(t, "ip link"); after != before {
			t.Errorf("the caller's thread is elsewhere:\n%s", after)
		}
	})
}

func readMounts(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(mountsFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestSnapshotOfNetworkIsCheap(t *testing.T) {
	o := newObserver(Options{}, nil)
	look(t, o, PartNetwork)
	best := time.Hour
	for range 5 {
		begun := time.Now()
		look(t, o, PartNetwork)
		best = min(best, time.Since(begun))
	}
	t.Logf("took %v", best)
	if best > 20*time.Millisecond {
		t.Errorf("took %v; want a few milliseconds", best)
	}
}

func TestSnapshotOfNetworkAsNobody(t *testing.T) {
	inWorld(t, func(t *testing.T, _ world) {
		runtime.LockOSThread() // thrown away: its capabilities are gone
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			t.Error(errno)
			return
		}
		s := look(t, newObserver(Options{}, nil), PartNetwork)
		if len(s.Network.Links) != 1 || s.Missing(PartNetwork) != nil {
			t.Errorf("got links %+v, %+v; want what everybody may see", s.Network.Links, s.Gaps)
		}
		want := "not visible to this user: the firewall's flowtables, interfaces in the network namespaces of others; repeat with sudo"
		if len(s.Gaps) != 1 || s.Gaps[0].Reason != want || !s.Gaps[0].Partial {
			t.Errorf("got gaps %+v; want %q", s.Gaps, want)
		}
	})
}

func BenchmarkSnapshotOfNetwork(b *testing.B) {
	o := newObserver(Options{}, nil)
	for b.Loop() {
		if _, err := o.Snapshot(b.Context(), Parts{PartNetwork}); err != nil {
			b.Fatal(err)
		}
	}
}
