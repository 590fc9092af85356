//go:build linux

package lab_test

import (
	"net/netip"
	"testing"

	"github.com/firebreak-sec/firebreak/lab"
)

const isolatePolicy = `version: firebreak/v1
name: lab
revision: 1
mode: enforce
isolation:
  keep: ["10.77.0.2:22 in", "[fd77::2]:22 in", "10.77.0.2:9000", "[fd77::2]:9000"]
  lease: 5m
`

// TestIsolate cuts a host off and looks from all sides: nobody in, nobody out,
// but for management.
func TestIsolate(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	hosts := n.Boot(t, "alpha", "beta")
	alpha, beta := hosts[0], hosts[1]
	n.Attacker.Serve(t, 9000)
	n.Management.Serve(t, 9000)
	alpha.InstallAgent(t, isolatePolicy)
	// Rules of somebody else, which must be the same to the byte all the time.
	alpha.Put(t, "/etc/mine.nft", 0o644, []byte(`
table inet mine {
	set friends {
		type ipv4_addr
		elements = { 10.77.0.9 }
	}
	chain input {
		type filter hook input priority filter; policy accept;
		ip saddr @friends tcp dport 8080 accept comment "kept"
	}
}
table ip nat {
	chain post {
		type nat hook postrouting priority srcnat;
		oifname "wan0" masquerade
	}
}
`))
	alpha.Run(t, "nft", "-f", "/etc/mine.nft")
	before := alpha.Run(t, "nft", "list", "ruleset")
	mine := alpha.Run(t, "nft", "list", "table", "inet", "mine")

	look := func(when string, open bool) {
		t.Helper()
		for _, to := range []netip.Addr{alpha.IPv4, alpha.IPv6} {
			if got := n.Attacker.Connect(to, 22) == nil; got != open {
				t.Errorf("%s: attacker reaches %s: %v; want %v", when, to, got, open)
			}
			if got := beta.Reaches(to, 22); got != open {
				t.Errorf("%s: the second host reaches %s: %v; want %v", when, to, got, open)
			}
			if err := n.Management.Connect(to, 22); err != nil {
				t.Errorf("%s: management does not reach %s: %v", when, to, err)
			}
		}
		for _, c := range []struct {
			who  string
			to   netip.Addr
			port uint16
			want bool
		}{
			{"the attacker", n.Attacker.IPv4, 9000, open},
			{"the attacker", n.Attacker.IPv6, 9000, open},
			{"the second host", beta.IPv4, 22, open},
			{"the second host", beta.IPv6, 22, open},
			{"management", n.Management.IPv4, 9000, true},
			{"management", n.Management.IPv6, 9000, true},
		} {
			if got := alpha.Reaches(c.to, c.port); got != c.want {
				t.Errorf("%s: the host reaches %s at %s: %v; want %v", when, c.who, c.to, got, c.want)
			}
		}
		if now := alpha.Run(t, "nft", "list", "table", "inet", "mine"); now != mine {
			t.Errorf("%s: a rule of somebody else changed:\n%s\nwant:\n%s", when, now, mine)
		}
	}

	look("before", true)
	alpha.Firebreak(t, "isolate", "--reason", "test")
	look("isolated", false)
	if s := alpha.Status(t); s.State != "isolated" || !s.Isolated {
		t.Errorf("status says %q, isolated %v; want isolated, true", s.State, s.Isolated)
	}
	for _, to := range []netip.Addr{alpha.IPv4, alpha.IPv6} {
		if got := n.Attacker.Nmap(t, to, 22)[22]; got != "filtered" {
			t.Errorf("isolated: nmap sees %s port 22 %s; want filtered", to, got)
		}
	}
	alpha.Firebreak(t, "release")
	look("released", true)
	if after := alpha.Run(t, "nft", "list", "ruleset"); after != before {
		t.Errorf("released: the ruleset is\n%s\nwant, as before:\n%s", after, before)
	}
}
