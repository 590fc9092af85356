package platform

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestKernelListenersBelongToUnits(t *testing.T) {
	active := []string{"nfs-server.service", "nfs-kernel-server.service", `wg-quick@home\x2dvpn.service`}
	asked := 0
	clock := time.Unix(0, 0)
	k := newKernelUnits()
	k.now = func() time.Time { return clock }
	k.tunnels = func() (map[uint16][]string, error) {
		return map[uint16][]string{51820: {"home-vpn"}, 51821: {"byhand"}}, nil
	}
	k.active = func(_ context.Context, names []string) ([]string, error) {
		asked++
		return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(active, n) }), nil
	}
	held := func(protocol Protocol, port uint16, cookie uint64) Listener {
		return Listener{Protocol: protocol, Port: port, Cookie: cookie, Owner: Owner{Kernel: true}}
	}
	look := func() string {
		t.Helper()
		found := []Listener{
			held(TCP, 2049, 1), held(UDP, 51820, 2), held(UDP, 51821, 3), held(TCP, 51820, 4), held(TCP, 445, 5), held(UDP, 40001, 6),
			{Protocol: TCP, Port: 2049, Cookie: 7, Owner: Owner{Unit: "ganesha.service", PID: 9}}, // a program's own
			{Protocol: TCP, Port: 2049, Cookie: 8, NetNS: "web", Owner: Owner{Kernel: true}},
		}
		if err := k.tell(t.Context(), found); err != nil {
			t.Fatal(err)
		}
		var units []string
		for _, l := range found {
			units = append(units, l.Owner.Unit)
		}
		return strings.Join(units, " ")
	}
	const want = `nfs-server.service wg-quick@home\x2dvpn.service     ganesha.service `
	if got := look(); got != want {
		t.Errorf("got %q; want %q", got, want)
	}
	n := asked
	if got := look(); got != want || asked != n {
		t.Errorf("got %q, asked %d times more", got, asked-n)
	}
	active = append(active, "ksmbd.service")
	clock = clock.Add(askKernelAgain)
	if got := look(); !strings.Contains(got, "ksmbd.service") {
		t.Errorf("a unit that became active after its port: %q", got)
	}
	clock = clock.Add(askKernelAgain)
	k.active = func(context.Context, []string) ([]string, error) { return nil, errors.New("systemd is away") }
	found := []Listener{held(TCP, 2049, 99)}
	if err := k.tell(t.Context(), found); err == nil || found[0].Owner.Unit != "" {
		t.Error("not known must be a gap:", err)
	}
}

func TestWireGuardPortIsRead(t *testing.T) {
	attribute := func(kind uint16, data []byte) []byte {
		b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(data)))
		b = append(binary.NativeEndian.AppendUint16(b, kind), data...)
		return append(b, make([]byte, (4-len(b)%4)%4)...)
	}
	body := slices.Concat(genericHeader(0), attribute(unix.WGDEVICE_A_IFNAME, []byte("wg0\x00")),
		attribute(unix.WGDEVICE_A_LISTEN_PORT, binary.NativeEndian.AppendUint16(nil, 51820)))
	if got := parseWireGuardPort([][]byte{nil, body}); got != 51820 {
		t.Error(got)
	}
	for i := range body {
		parseWireGuardPort([][]byte{body[:i]}) // must not panic
	}
}

func TestUnitNamesAreEscaped(t *testing.T) {
	for name, want := range map[string]string{"wg0": "wg0", "home-vpn": `home\x2dvpn`, "a.b": "a.b", ".a": `\x2ea`, "a/b": "a-b", "ü": `\xc3\xbc`} {
		if got := escapeUnit(name); got != want {
			t.Errorf("%s: got %s; want %s", name, got, want)
		}
		if name != "a/b" && unescapeUnit(escapeUnit(name)) != name {
			t.Error("not the way back:", name)
		}
	}
}
