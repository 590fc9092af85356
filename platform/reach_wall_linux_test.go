package platform

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-sec/firebreak/platform/hostwall"
)

// As long as nobody changes a rule, nothing is read or worked out again.
func TestReachIsReadAgainOnlyWhenRulesChange(t *testing.T) {
	inWorld(t, func(t *testing.T, _ world) {
		loadRules(t, `table inet f { chain in { type filter hook input priority 0; policy drop; tcp dport 22 accept
}
}`)
		reader := newWallReader()
		defer reader.close()
		look := func() (Listener, *hostwall.Wall) {
			found := reader.judge(context.Background(), []Listener{{Protocol: TCP, Address: netip.IPv4Unspecified(), Port: 23}}, true)
			return found[0], reader.wall
		}
		l, first := look()
		if l.Reach != ReachLoopback || l.Through != "nftables table inet f, chain in, policy drop" {
			t.Errorf("got %s, %q; want loopback by the policy", l.Reach, l.Through)
		}
		if _, again := look(); again != first {
			t.Error("nothing changed, and the rules were read again")
		}
		shell(t, "timeout 20 nft add rule inet f in tcp dport 23 accept")
		l, now := look()
		if now == first || l.Reach != ReachAny || l.Through != "nftables table inet f, chain in, rule 2: tcp dport 23 accept" {
			t.Errorf("got %s, %q; want any by the new rule", l.Reach, l.Through)
		}
	})
}

// A port that the agent itself blocks keeps its reach, or the block would end
// what it is for.
func TestReachIgnoresOwnTables(t *testing.T) {
	inWorld(t, func(t *testing.T, _ world) {
		f := newFirewall()
		rule := PortRule{Protocol: TCP, First: 23, Last: 23}
		if err := f.Apply(context.Background(), Restrictions{Blocked: []PortRule{rule}}); err != nil {
			t.Fatal(err)
		}
		reader := newWallReader()
		defer reader.close()
		l := reader.judge(context.Background(), []Listener{{Protocol: TCP, Address: netip.IPv6Unspecified(), DualStack: true, Port: 23}}, true)[0]
		if l.Reach != ReachAny || l.Through != "" {
			t.Errorf("got %s, %q; want any, through no rule", l.Reach, l.Through)
		}
		if !reader.wall.Empty() {
			t.Error("the agent's own tables are judged by")
		}
	})
}

// Another network is no other reach: neither its addresses nor the name and the
// number of the interface count.
func TestReachIsTheSameOnEveryNetwork(t *testing.T) {
	inWorld(t, func(t *testing.T, _ world) {
		loadRules(t, `table inet f { chain in { type filter hook input priority 0; policy drop
			ct state established,related accept; iifname lo accept; tcp dport 22 accept; ip saddr 192.168.0.0/16 tcp dport 445 accept; udp dport 5353 accept
}
}`)
		reader := newWallReader()
		defer reader.close()
		listeners := func() []Listener {
			return []Listener{
				{Protocol: TCP, Address: netip.IPv6Unspecified(), DualStack: true, Port: 22},
				{Protocol: TCP, Address: netip.IPv4Unspecified(), Port: 445},
				{Protocol: TCP, Address: netip.IPv4Unspecified(), Port: 8000},
				{Protocol: UDP, Address: netip.IPv4Unspecified(), Port: 5353},
			}
		}
		home := reader.judge(context.Background(), listeners(), true)
		want := []Reach{ReachAny, ReachLAN, ReachLoopback, ReachAny}
		for i, l := range home {
			if l.Reach != want[i] {
				t.Errorf("at home, port %d: got %s (%s); want %s", l.Port, l.Reach, l.Through, want[i])
			}
		}
		for _, network := range []string{
			"ip addr flush dev eth0; ip addr add 192.168.7.9/24 dev eth0",
			"ip addr flush dev eth0; ip addr add 10.20.30.40/8 dev eth0; ip -6 addr add 2001:db8:7::9/64 dev eth0",
			"ip link set eth0 down; ip link set eth0 name wlan0; ip addr flush dev wlan0; ip addr add 100.64.3.9/10 dev wlan0; ip link set wlan0 up",
			"ip link set wlan0 down",
		} {
			shell(t, network)
			if d := cmp.Diff(home, reader.judge(context.Background(), listeners(), true), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
				t.Errorf("%s: -before +now:\n%s", network, d)
			}
		}
	})
}

func TestLegacyTables(t *testing.T) {
	dir := t.TempDir()
	if got := legacyTables(dir); got.V4 != nil || got.V6 != nil {
		t.Errorf("no such files: got %v", got)
	}
	for name, text := range map[string]string{"ip_tables_names": "nat\nfilter\n", "ip6_tables_names": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := legacyTables(dir), (hostwall.Legacy{V4: []string{"filter", "nat"}}); !got.Equal(want) {
		t.Errorf("got %v; want %v", got, want)
	}
}
