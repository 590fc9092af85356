package main

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

// The addresses of the demo: the computer, somebody on its network, and the
// helpdesk, who is on the list of those that isolation keeps.
var (
	computer4 = netip.MustParsePrefix("10.77.0.11/24")
	computer6 = netip.MustParsePrefix("fd77::11/64")
	stranger4 = netip.MustParsePrefix("10.77.0.66/24")
	stranger6 = netip.MustParsePrefix("fd77::66/64")
	helpdesk4 = netip.MustParsePrefix("10.77.0.2/24")
)

// Outside is the rest of the network.
type Outside struct{ network lab.Namespace }

// patience is how long the outside waits for an answer; the network is short.
const patience = 300 * time.Millisecond

// ask connects to a port of the computer and returns the line it says.
func (o Outside) ask(from netip.Prefix, port uint16) (line string, err error) {
	to := computer4
	if from.Addr().Is6() {
		to = computer6
	}
	err = o.network.Do(func() error {
		d := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from.Addr(), 0))}
		conn, err := d.Dial("tcp", netip.AddrPortFrom(to.Addr(), port).String())
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		line, err = bufio.NewReader(conn).ReadString('\n')
		return err
	})
	return strings.TrimSpace(line), err
}

// see says in words what somebody gets from a port.
func (o Outside) see(from netip.Prefix, port uint16) string {
	line, err := o.ask(from, port)
	switch {
	case err == nil:
		return fmt.Sprintf("answers: %q", line)
	case strings.Contains(err.Error(), "refused"):
		return "nobody listens"
	default:
		return "no answer"
	}
}

// connect puts the computer and the outside on one network.
func connect(site *lab.Site) (inside lab.Namespace, out Outside, err error) {
	cable, err := site.Namespace("switch")
	if err != nil {
		return inside, out, err
	}
	if err := cable.Switch(); err != nil {
		return inside, out, err
	}
	if inside, err = site.Namespace("computer"); err != nil {
		return inside, out, err
	}
	if out.network, err = site.Namespace("outside"); err != nil {
		return inside, out, err
	}
	if err := inside.Plug(cable, "lan0", "computer", computer4, computer6); err != nil {
		return inside, out, err
	}
	return inside, out, out.network.Plug(cable, "lan0", "outside", stranger4, stranger6, helpdesk4)
}
