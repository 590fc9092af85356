package platform

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

// apply puts r in force and checks that it is.
func apply(t *testing.T, f Firewall, r Restrictions) {
	t.Helper()
	if err := f.Apply(context.Background(), r); err != nil {
		t.Errorf("apply %+v: %v", r, err)
		runtime.Goexit()
	}
	got, err := f.InForce(context.Background())
	if err != nil || !got.Equal(r) {
		t.Errorf("in force: %+v, %v; want %+v", got, err, r)
	}
}

func generation(t *testing.T) uint32 {
	t.Helper()
	line, err := nft.Dial()
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	defer line.Close()
	n, err := line.Generation()
	if err != nil {
		t.Error(err)
	}
	return n
}

func TestFirewallRoundTrip(t *testing.T) {
	needTools(t, "nft", "ip")
	inNewNetns(t, func(t *testing.T) {
		f := newFirewall()
		steps := []Restrictions{}
		for _, r := range rulesetCases() {
			steps = append(steps, r, Restrictions{}, r)
		}
		rnd := rand.New(rand.NewPCG(7, 7))
		for range 150 {
			steps = append(steps, randomRestrictions(rnd))
		}
		for _, r := range steps {
			apply(t, f, r)
			before := generation(t)
			apply(t, f, r)
			if after := generation(t); after != before {
				t.Errorf("applying %+v again changed nftables: generation %d, then %d", r, before, after)
			}
		}
		apply(t, f, Restrictions{})
		if left := shell(t, "nft list ruleset"); left != "" {
			t.Errorf("left behind:\n%s", left)
		}
	})
}

// The kernel's rules are those of the golden text: nft shows the same for both.
// This version of nft does not know of owners that persist and of hooks on every
// link, so here is a kernel that does not either; and it writes the names of
// control groups, not their numbers.
func TestFirewallMatchesText(t *testing.T) {
	needTools(t, "nft", "ip")
	inNewNetns(t, func(t *testing.T) {
		shell(t, "ip link add eth0 type veth peer name wlan0")
		f := newFirewall()
		f.can.Owned, f.can.AnyDevice, f.can.Groups, f.tried = false, false, false, true
		for name, r := range rulesetCases() {
			tables, err := rulesets(r, f.ground(r))
			if err != nil {
				t.Error(err)
				return
			}
			shell(t, "nft flush ruleset")
			nftLoad(t, rulesetText(tables))
			want := shell(t, "nft list ruleset")
			// It joins some tests into one, which is a difference; but not into another claim.
			if got, err := f.InForce(context.Background()); err == nil && !got.Equal(r) {
				t.Errorf("%s, written by nft: got %+v, %v", name, got, err)
			}
			shell(t, "nft flush ruleset")
			apply(t, f, r)
			if d := cmp.Diff(withoutTimes(want), withoutTimes(shell(t, "nft list ruleset"))); d != "" {
				t.Errorf("%s (-text +kernel):\n%s", name, d)
			}
		}
	})
}

// withoutTimes drops from a listing how much time is left, and what was counted.
func withoutTimes(listing string) string {
	listing = regexp.MustCompile(` expires [0-9a-z]+`).ReplaceAllString(listing, "")
	return regexp.MustCompile(`packets \d+ bytes \d+`).ReplaceAllString(listing, "")
}

func nftLoad(t *testing.T, text string) {
	t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s\n%s", err, out, text)
		runtime.Goexit()
	}
}

const foreignRules = `
table inet admin { 
	set bad { type ipv4_addr; flags interval; elements = { 203.0.113.0/24 } 
	}
	chain input { type filter hook input priority filter; policy accept
		ip saddr @bad counter drop
	}
}
table ip firebreak { 
	chain firebreak { type nat hook prerouting priority dstnat; policy accept
		tcp dport 8080 dnat to 127.0.0.1:80 comment "somebody else's"
	}
}
`

func TestFirewallLeavesOthersAlone(t *testing.T) {
	needTools(t, "nft", "ip")
	inNewNetns(t, func(t *testing.T) {
		nftLoad(t, foreignRules)
		look := func() string { return shell(t, "nft -a list ruleset; nft -j list ruleset") }
		before := look()
		f := newFirewall()
		for _, r := range rulesetCases() {
			apply(t, f, r)
			during := shell(t, "nft -a list table inet admin; nft -a list table ip firebreak")
			if !strings.HasPrefix(before, during) {
				t.Errorf("rules of others changed:\n%s\nwere:\n%s", during, before)
			}
		}
		apply(t, f, Restrictions{})
		if d := cmp.Diff(before, look()); d != "" {
			t.Errorf("rules of others (-before +after):\n%s", d)
		}
	})
}

func TestFirewallFindsAndRepairsAlterations(t *testing.T) {
	needTools(t, "nft", "ip")
	inNewNetns(t, func(t *testing.T) {
		shell(t, "ip link add eth0 type veth peer name wlan0")
		f := newFirewall()
		f.can.Owned = false // or nobody else could
		want := rulesetCases()["isolate-and-block"]
		for _, alter := range []string{
			"nft flush chain inet firebreak isolated_in",
			"nft flush chain inet firebreak isolated_in; nft delete chain inet firebreak isolated_in",
			"nft delete rule inet firebreak isolated_out handle $(nft -a list chain inet firebreak isolated_out | sed -n 's/.*tcp reset # handle //p')",
			"nft insert rule inet firebreak isolated_in accept",
			"nft add rule inet firebreak blocked tcp dport '{ 1, 2 }' log limit rate 1/second counter accept",
			"nft add element inet firebreak blocked_tcp '{ 80 }'; nft insert rule inet firebreak blocked accept",
			"nft add chain inet firebreak x; nft add rule inet firebreak isolated_in jump x",
			"nft 'add set inet firebreak y { type ether_addr; }'",
			"nft 'add chain inet firebreak isolated_out { policy drop; }'",
			"nft 'add table inet firebreak { flags dormant; }'",
			"nft 'delete table inet firebreak; add table inet firebreak'",
			"nft delete table inet firebreak",
			"nft delete table bridge firebreak",
			"nft delete table netdev firebreak",
			"nft flush chain bridge firebreak isolated_forward",
			"nft insert rule netdev firebreak isolated_egress_eth0 accept",
			"nft insert rule netdev firebreak isolated_ingress_eth0 meta mark 7 accept",
			"nft 'delete chain netdev firebreak isolated_egress_eth0'",
			"nft flush set netdev firebreak lease",
			"nft add element inet firebreak lease '{ 1 }'",
			"nft 'add chain netdev firebreak other { type filter hook egress device eth0 priority -300; }'",
		} {
			apply(t, f, want)
			shell(t, alter)
			if got, err := f.InForce(context.Background()); !errors.Is(err, ErrAltered) {
				t.Errorf("%s: got %+v, %v; want ErrAltered", alter, got, err)
			} else {
				t.Log(err)
			}
			apply(t, f, want)
		}
		// A changed element is a different restriction, not an altered rule.
		shell(t, "nft add element inet firebreak blocked_tcp '{ 80 }'")
		if got, err := f.InForce(context.Background()); err != nil || len(got.Blocked) != 2 {
			t.Errorf("element added by hand: got %+v, %v; want it shown", got.Blocked, err)
		}
		apply(t, f, want)
		shell(t, "nft add rule inet firebreak isolated_out jump nowhere 2>/dev/null || nft add rule inet firebreak isolated_out accept")
		apply(t, f, Restrictions{})
	})
}

func TestFirewallNeedsRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to become another user")
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread is thrown away: its capabilities are gone
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			done <- errno
			return
		}
		done <- newFirewall().Apply(context.Background(), rulesetCases()["block-tcp"])
	}()
	if err := <-done; !errors.Is(err, ErrNotPermitted) {
		t.Errorf("got %v; want ErrNotPermitted", err)
	} else {
		t.Log(err)
	}
}

func TestFirewallRefusesDenied(t *testing.T) {
	err := newFirewall().Apply(context.Background(), Restrictions{Denied: []PortRule{{TCP, 445, 445}}})
	if !errors.Is(err, ErrUnsupported) {
		t.Errorf("got %v; want ErrUnsupported", err)
	}
}

// A chain that is filled anew counts from zero, and the tally goes on.
func TestTallyNeverGoesBack(t *testing.T) {
	tables := func(iso Isolation, dropped uint64) []*nft.Table {
		out, err := rulesets(isolated(iso), ground{can: abilities{}})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range out[0].Chains {
			last := c.Rules[len(c.Rules)-1].Exprs
			last[len(last)-2] = nft.Counter{Packets: dropped}
		}
		return out
	}
	var got tally
	var sums []uint64
	look := func(have []*nft.Table) {
		got.see(have)
		sums = append(sums, got.sum())
	}
	look(tables(Isolation{}, 5))
	got.replaced(tables(Isolation{}, 5), tables(Isolation{DHCP: true}, 0)) // forward stays as it is
	look(tables(Isolation{DHCP: true}, 5))
	look(nil)                              // somebody took it all away
	look(tables(Isolation{DHCP: true}, 1)) // and it was put back
	if want := []uint64{15, 25, 25, 28}; !slices.Equal(sums, want) {
		t.Errorf("got %v; want %v", sums, want)
	}
}

func BenchmarkFirewallBlockAndRelease(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("needs root to make a network namespace")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			b.Error(err)
			return
		}
		f := newFirewall()
		keep := Restrictions{Blocked: []PortRule{{UDP, 1, 1}}}
		more := Restrictions{Blocked: []PortRule{{UDP, 1, 1}, {TCP, 445, 445}}}
		for b.Loop() {
			if err := errors.Join(f.Apply(context.Background(), more), f.Apply(context.Background(), keep)); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	<-done
}
