package platform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// socketUnits knows which socket unit of systemd opened which port. A socket
// that systemd holds is the work of one of them, and stopping the service alone
// would bring it back at the next connection.
type socketUnits struct {
	units map[socketAddress]string
	asked map[uint64]time.Time // when systemd was first asked for a socket, by its cookie
}

// socketAddress is one address that a socket unit listens on.
type socketAddress struct {
	protocol Protocol
	address  netip.AddrPort
}

func newSocketUnits() *socketUnits {
	return &socketUnits{units: map[socketAddress]string{}, asked: map[uint64]time.Time{}}
}

// askUnitAgain is how long systemd is asked at each look for a socket of which it
// names no unit: one that it just opened may be of none yet.
const askUnitAgain = 10 * time.Second

// learn asks systemd for its socket units, if one of the listeners, which
// systemd all holds, is new. A host that systemd does not run is no error.
func (s *socketUnits) learn(ctx context.Context, held []*Listener, now time.Time) error {
	asked := map[uint64]time.Time{}
	news := false
	for _, l := range held {
		since, known := s.asked[l.Cookie]
		if !known {
			since = now
		}
		news = news || !known || s.unit(l) == "" && now.Sub(since) < askUnitAgain
		asked[l.Cookie] = since
	}
	if !news {
		s.asked = asked
		return nil
	}
	units, err := readSocketUnits(ctx)
	if err != nil {
		return err
	}
	s.units, s.asked = units, asked
	return nil
}

// unit returns the socket unit that listens there, or "".
func (s *socketUnits) unit(l *Listener) string {
	return s.units[socketAddress{l.Protocol, netip.AddrPortFrom(l.Address.WithZone(""), l.Port)}]
}

func readSocketUnits(ctx context.Context) (map[socketAddress]string, error) {
	if _, err := os.Stat("/run/systemd/system"); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	conn, err := systemd{}.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return socketUnitsOf(ctx, conn)
}

// socketUnitsOf asks a service manager for its socket units.
func socketUnitsOf(ctx context.Context, conn *dbus.Conn) (map[socketAddress]string, error) {
	list, err := conn.ListUnitsByPatternsContext(ctx, []string{"active", "activating"}, []string{"*.socket"})
	if err != nil {
		return nil, fmt.Errorf("ask systemd for socket units: %w", err)
	}
	units := map[socketAddress]string{}
	for _, u := range list {
		p, err := conn.GetUnitTypePropertyContext(ctx, u.Name, "Socket", "Listen")
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("ask systemd for %s: %w", u.Name, err)
		}
		if err != nil {
			continue // gone since the list was made
		}
		for _, a := range listenAddresses(p.Value) {
			units[a] = u.Name
		}
	}
	return units, nil
}

// listenAddresses reads the property Listen of a socket unit: pairs of a type
// ("Stream", "Datagram", "FIFO") and an address ("0.0.0.0:22", "[::]:22", or a
// path). Only what is an address of the network is returned.
func listenAddresses(v godbus.Variant) []socketAddress {
	pairs, _ := v.Value().([][]any)
	var found []socketAddress
	for _, pair := range pairs {
		if len(pair) != 2 {
			continue
		}
		kind, _ := pair[0].(string)
		text, _ := pair[1].(string)
		protocol, known := map[string]Protocol{"Stream": TCP, "Datagram": UDP}[kind]
		address, err := netip.ParseAddrPort(text)
		if known && err == nil {
			at := netip.AddrPortFrom(address.Addr().Unmap().WithZone(""), address.Port())
			found = append(found, socketAddress{protocol, at})
		}
	}
	return found
}
