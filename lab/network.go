//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// Network is one switch with an attacker, a management computer and the hosts
// that are booted on it. Two networks do not know of each other.
type Network struct {
	// Attacker is somebody on the local network who should get nowhere.
	Attacker *Vantage
	// Management is the computer a host's keep list names.
	Management *Vantage

	site *Site
	base base
	hub  Namespace
}

// NewNetwork makes a network without hosts, and takes all of it away when the
// test ends. It skips the test where there can be no lab.
func NewNetwork(t testing.TB) *Network {
	t.Helper()
	Need(t)
	b, err := makeBase()
	if err != nil {
		t.Fatalf("make the hosts' root file system: %v", err)
	}
	site, err := NewSite()
	if err != nil {
		t.Fatalf("make a site: %v", err)
	}
	t.Cleanup(func() {
		if err := site.Remove(); err != nil {
			t.Errorf("clean up the lab: %v", err)
		}
	})
	n := &Network{site: site, base: b}
	if err := n.build(); err != nil {
		t.Fatalf("make a network: %v", err)
	}
	return n
}

func (n *Network) build() (err error) {
	if n.hub, err = n.site.Namespace("switch"); err != nil {
		return err
	}
	if err = n.hub.Switch(); err != nil {
		return err
	}
	if n.Attacker, err = n.vantage("attacker", 66); err != nil {
		return err
	}
	n.Management, err = n.vantage("management", 2)
	return err
}

func (n *Network) vantage(name string, number int) (*Vantage, error) {
	ns, err := n.site.Namespace(name)
	if err != nil {
		return nil, err
	}
	v := &Vantage{Name: name, IPv4: ipv4(number), IPv6: ipv6(number), ns: ns}
	return v, ns.Plug(n.hub, "lan0", name, prefixes(number)...)
}

func ipv4(number int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, byte(number)}) }

func ipv6(number int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("fd77::%d", number))
}

func prefixes(number int) []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(ipv4(number), 24), netip.PrefixFrom(ipv6(number), 64)}
}

// Boot boots one host for each name, all at the same time, and waits until they
// are up.
func (n *Network) Boot(t testing.TB, names ...string) []*Host {
	t.Helper()
	return n.boot(t, n.base.root, names)
}

// BootWith boots one host on which more Debian packages are installed.
func (n *Network) BootWith(t testing.TB, name string, packages ...string) *Host {
	t.Helper()
	lower, err := n.base.with(packages)
	if err != nil {
		t.Fatalf("install %s: %v", strings.Join(packages, ", "), err)
	}
	return n.boot(t, lower, []string{name})[0]
}

// host is a host that is not there yet. Each has its own place, from 0 on.
func (n *Network) host(name string, place int) *Host {
	number := 11 + place
	return &Host{Name: name, IPv4: ipv4(number), IPv6: ipv6(number), number: number, network: n, lower: n.base.root}
}

func (n *Network) boot(t testing.TB, lower string, names []string) []*Host {
	t.Helper()
	hosts := make([]*Host, len(names))
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		hosts[i] = n.host(name, i)
		hosts[i].lower = lower
		wg.Go(func() {
			if errs[i] = hosts[i].create(); errs[i] == nil {
				errs[i] = hosts[i].boot()
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("boot %s: %v", names[i], err)
		}
	}
	return hosts
}
