package platform

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"
)

// endService asks for the stop before it kills: a service that is to be stopped
// is not started again.
func endService(ctx context.Context, name string, grace time.Duration) (killed bool, err error) {
	if err := mayChange(); err != nil {
		return false, err
	}
	conn, err := systemd{}.connect(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	done := make(chan string, 1)
	if _, err := conn.StopUnitContext(ctx, name, "replace", done); isNoSuchUnit(err) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("stop %s: %w", name, err)
	}
	patience := time.NewTimer(grace)
	defer patience.Stop()
	for stopped := false; !stopped; {
		select {
		case <-done:
			stopped = true
		case <-patience.C:
			// It fails if the process has just ended by itself.
			killed = conn.KillUnitWithTarget(ctx, name, dbus.Main, int32(unix.SIGKILL)) == nil
		case <-ctx.Done():
			return killed, fmt.Errorf("stop %s: systemd was not done in time: %w", name, ctx.Err())
		}
	}
	return killed, nil
}

func findService(ctx context.Context, name string) (Service, error) {
	conn, err := systemd{}.connect(ctx)
	if err != nil {
		return Service{}, err
	}
	defer conn.Close()
	u, err := readUnit(ctx, conn, unitTree{}.links, name)
	if err != nil {
		return Service{}, err
	}
	p, err := conn.GetServicePropertyContext(ctx, name, "ExecStart")
	if err != nil {
		return Service{}, fmt.Errorf("ask systemd how it starts %s: %w", name, err)
	}
	s := Service{Running: running(u.Active), MainPID: u.MainPID}
	// Each command is a program, its argument list, and eight more fields.
	if commands, _ := p.Value.Value().([][]any); len(commands) == 1 && len(commands[0]) > 1 {
		if args, _ := commands[0][1].([]string); len(args) > 0 {
			s.Arguments = args[1:]
		}
	}
	return s, nil
}
