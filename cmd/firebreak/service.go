package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/kardianos/service"

	"github.com/firebreak-sec/firebreak/agent/localapi"
)

// unitName is the name of the service.
const unitName = "firebreak"

// unit is the systemd unit. It has no ProtectSystem=, ProtectHome= or
// PrivateTmp=: each would give the agent a mount namespace of its own, and it
// must see the host's files as they are.
const unit = `[Unit]
Description={{Description}}
After=dbus.socket systemd-journald.socket
Before=network-pre.target
Wants=network-pre.target
ConditionFileIsExecutable={{Path | cmdEscape}}

[Service]
Type=notify
ExecStart={{Path | cmdEscape}}{{range Arguments}} {{. | cmd}}{{end}}
Restart=always
RestartSec=2
TimeoutStopSec=20
RuntimeDirectory=firebreak
RuntimeDirectoryMode=0755
OOMScoreAdjust=-500
LimitCORE=0
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
UMask=0077

[Install]
WantedBy=multi-user.target
`

// errNoManager says that nothing here starts services that firebreak knows.
var errNoManager = &localapi.Error{
	Code:    localapi.Refused,
	Message: "this computer has no systemd that runs, so there is no service to set up; firebreak run runs the agent",
}

// serviceHere returns the service on this computer.
func (e *env) serviceHere() (service.Service, error) {
	switch service.Platform() {
	case "linux-systemd", "windows-service":
	default:
		return nil, errNoManager
	}
	return service.New(program{}, &service.Config{
		Name:        unitName,
		DisplayName: "Firebreak",
		Description: "Firebreak: finds, contains and removes threats on this computer",
		Arguments:   e.runArguments(),
		Option:      service.KeyValue{"SystemdScript": unit, "StartType": "automatic", "OnFailure": "restart"},
	})
}

// runArguments are the arguments with which the service runs: what differs from
// the defaults.
func (e *env) runArguments() []string {
	config, state, socket := defaultPlaces()
	args := []string{"run"}
	for _, f := range []struct{ flag, value, usual string }{
		{"--config", e.config, config}, {"--state", e.state, state}, {"--socket", e.socket, socket},
	} {
		if f.value != f.usual {
			args = append(args, f.flag, f.value)
		}
	}
	return args
}

// program is what the Windows service manager starts and stops.
type program struct {
	main   func(context.Context) error
	cancel context.CancelFunc
	done   chan error
}

// Start returns at once, as the service manager wants it.
func (p program) Start(service.Service) error { return nil }

// Stop ends the program and waits for it.
func (p program) Stop(service.Service) error {
	p.cancel()
	return <-p.done
}

// underService runs main until it ends or the program is told to stop: by a
// signal, or by the Windows service manager.
func underService(ctx context.Context, main func(context.Context) error) error {
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if service.Platform() != "windows-service" || service.Interactive() {
		return main(ctx)
	}
	p := program{main: main, cancel: cancel, done: make(chan error, 1)}
	s, err := service.New(p, &service.Config{Name: unitName})
	if err != nil {
		return err
	}
	go func() { p.done <- main(ctx) }()
	return s.Run()
}

// installed tells whether the service is set up, and whether it runs.
func installed(s service.Service) (there, running bool, err error) {
	status, err := s.Status()
	switch {
	case errors.Is(err, service.ErrNotInstalled):
		return false, false, nil
	case err != nil && strings.Contains(err.Error(), "failed state"):
		return true, false, nil
	case err != nil:
		return false, false, err
	}
	return true, status == service.StatusRunning, nil
}

func privileged() bool { return os.Geteuid() <= 0 }
