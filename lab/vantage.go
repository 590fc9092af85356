//go:build linux

package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Vantage is a place on the network from which hosts are looked at.
type Vantage struct {
	Name string
	IPv4 netip.Addr
	IPv6 netip.Addr
	ns   Namespace
}

// Connect opens a TCP connection to a host and closes it again.
func (v *Vantage) Connect(to netip.Addr, port uint16) error {
	return v.ns.Do(func() error {
		conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(to, port).String(), time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// Serve answers TCP connections to a port of the vantage, on all its addresses,
// with its name, until the test ends.
func (v *Vantage) Serve(t testing.TB, port uint16) {
	t.Helper()
	var listener net.Listener
	err := v.ns.Do(func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(int(port))))
		return err
	})
	if err != nil {
		t.Fatalf("serve port %d at the %s: %v", port, v.Name, err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed by the cleanup
			}
			_, _ = io.WriteString(conn, v.Name+"\n")
			conn.Close()
		}
	}()
}

// Nmap returns what nmap sees of each TCP port: "open", "closed" or "filtered".
func (v *Vantage) Nmap(t testing.TB, to netip.Addr, ports ...uint16) map[uint16]string {
	t.Helper()
	words := make([]string, len(ports))
	for i, p := range ports {
		words[i] = strconv.Itoa(int(p))
	}
	args := []string{"--net=" + v.ns.Path(), "nmap", "-n", "-Pn", "-T4", "--max-retries", "1", "-oG", "-", "-p", strings.Join(words, ",")}
	if to.Is6() {
		args = append(args, "-6")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nsenter", append(args, to.String())...).CombinedOutput()
	if err != nil {
		t.Fatalf("nmap: %v: %s", err, out)
	}
	states, err := readNmap(string(out))
	if err != nil || len(states) != len(ports) {
		t.Fatalf("nmap said nothing of some ports (%v): %s", err, out)
	}
	return states
}

// readNmap reads nmap's "grepable" output: Ports: 445/closed/tcp//microsoft-ds///, ...
func readNmap(out string) (map[uint16]string, error) {
	states := map[uint16]string{}
	for line := range strings.Lines(out) {
		_, list, found := strings.Cut(line, "Ports: ")
		if !found {
			continue
		}
		list, _, _ = strings.Cut(list, "\t")
		for _, item := range strings.Split(list, ",") {
			f := strings.Split(strings.TrimSpace(item), "/")
			port, err := strconv.ParseUint(f[0], 10, 16)
			if err != nil || len(f) < 2 {
				return nil, fmt.Errorf("read nmap's %q", item)
			}
			states[uint16(port)] = f[1]
		}
	}
	return states, nil
}
