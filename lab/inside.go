//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"strings"
)

// Do calls f on a thread in the vantage's network namespace; see Namespace.Do.
func (v *Vantage) Do(f func() error) error { return v.ns.Do(f) }

// Do calls f on a thread in the host's network namespace. A socket that f opens
// is one of the host's to its kernel, though no program of the host holds it.
func (h *Host) Do(f func() error) error { return h.ns.Do(f) }

// DoIn is Do in a namespace that the host itself has made with `ip netns add`.
func (h *Host) DoIn(name string, f func() error) error { return doIn(h.path("/run/netns/"+name), f) }

// SecondLink is a network interface of the host beside host0, whose cable ends
// at nobody's.
type SecondLink struct {
	host    *Host
	inside  string
	outside string
	addrs   []netip.Prefix
}

// PrepareLink makes the far end of a cable, up and ready to be watched. Its near end
// is in no host yet.
func (h *Host) PrepareLink(name string, addrs ...netip.Prefix) (SecondLink, error) {
	l := SecondLink{host: h, inside: name, outside: fmt.Sprintf("%s-%d", name, h.number), addrs: addrs}
	hub := h.network.hub.Name
	return l, ip("-n "+hub+" link add "+l.outside+" type veth peer name "+name,
		"-n "+hub+" link set "+l.outside+" up")
}

// Do calls f where the far end is.
func (l SecondLink) Do(f func() error) error { return l.host.network.hub.Do(f) }

// Outside is the name of the far end, in the namespace of Do.
func (l SecondLink) Outside() string { return l.outside }

// Plug moves the near end into the host and sets it up.
func (l SecondLink) Plug() error {
	steps := []string{"-n " + l.host.network.hub.Name + " link set " + l.inside + " netns " + l.host.ns.Name}
	for _, a := range l.addrs {
		step := "-n " + l.host.ns.Name + " addr add " + a.String() + " dev " + l.inside
		if a.Addr().Is6() {
			step += " nodad"
		}
		steps = append(steps, step)
	}
	return ip(append(steps, "-n "+l.host.ns.Name+" link set "+l.inside+" up")...)
}

// ip runs commands of ip(8), one after the other.
func ip(steps ...string) error {
	for _, step := range steps {
		if err := run("ip", strings.Fields(step)...); err != nil {
			return err
		}
	}
	return nil
}

// IP runs commands of ip(8) in the vantage's namespace.
func (v *Vantage) IP(steps ...string) error {
	for i, step := range steps {
		steps[i] = "-n " + v.ns.Name + " " + step
	}
	return ip(steps...)
}
