package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/kardianos/service"

	"github.com/firebreak-sec/firebreak/agent/localapi"
)

// The names of the services: the agent's, and the one that restores what was in
// force at boot, before there is a network.
const (
	unitName    = "firebreak"
	restoreName = "firebreak-restore"
	unitDir     = "/etc/systemd/system" // where kardianos/service puts them
)

// unit is the systemd unit. It has no ProtectSystem=, ProtectHome= or
// PrivateTmp=: each would give the agent a mount namespace of its own, and it
// must see the host's files as they are.
//
// The store keeps the agent's line to the firewall, with which the kernel's
// tables stay its own while it is killed or restarted. Stopping the service lets
// go of it (there is no FileDescriptorStorePreserve=), for whoever uninstalls has
// to be able to release. A killed agent is started again for ever, since without
// one an isolation ends. The programs that tell of ports count as locked memory on
// kernels before 5.11.
const unit = `[Unit]
Description={{Description}}
After=dbus.socket systemd-journald.socket
Before=network-pre.target
Wants=network-pre.target
ConditionFileIsExecutable={{Path | cmdEscape}}
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
FileDescriptorStoreMax=4
ExecStart={{Path | cmdEscape}}{{range Arguments}} {{. | cmd}}{{end}}
Restart=always
RestartSec=2
TimeoutStopSec=20
RuntimeDirectory=firebreak
RuntimeDirectoryMode=0755
OOMScoreAdjust=-500
LimitCORE=0
LimitMEMLOCK=16M
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6 AF_PACKET
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
UMask=0077

[Install]
WantedBy=multi-user.target
`

// restoreUnit is the systemd unit that restores what was in force, once a boot. It
// comes after whoever loads firewall rules, since some of them begin with `flush
// ruleset`, and before any network. It stays active when it is done: else each
// start of a service would run it again, by way of sysinit.target.
const restoreUnit = `[Unit]
Description={{Description}}
DefaultDependencies=no
After=local-fs.target nftables.service ufw.service firewalld.service netfilter-persistent.service
Before=network-pre.target firebreak.service shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target
ConditionFileIsExecutable={{Path | cmdEscape}}
{{range Dependencies}}{{.}}
{{end}}
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={{Path | cmdEscape}}{{range Arguments}} {{. | cmd}}{{end}}
TimeoutStartSec=10
LimitCORE=0
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
RestrictAddressFamilies=AF_UNIX AF_NETLINK
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
UMask=0077

[Install]
WantedBy=sysinit.target
`

// errNoManager says that nothing here starts services that firebreak knows.
var errNoManager = &localapi.Error{
	Code:    localapi.Refused,
	Message: "this computer has no systemd that runs, so there is no service to set up; firebreak run runs the agent",
}

// serviceHere returns the agent's service on this computer.
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
		Arguments:   e.arguments("run"),
		Option:      service.KeyValue{"SystemdScript": unit, "StartType": "automatic", "OnFailure": "restart"},
	})
}

// restoreHere returns the service that restores at boot; nil where the operating
// system itself does.
func (e *env) restoreHere() (service.Service, error) {
	if service.Platform() != "linux-systemd" {
		return nil, nil
	}
	return service.New(program{}, &service.Config{
		Name:        restoreName,
		DisplayName: "Firebreak at boot",
		Description: "Firebreak: restores blocks and isolation before the network is up",
		Arguments:   e.arguments("restore"),
		Dependencies: []string{
			"RequiresMountsFor=" + strconv.Quote(percent(absolute(e.state))),
			"ConditionPathExists=" + percent(absolute(e.journalFile())),
		},
		Option: service.KeyValue{"SystemdScript": restoreUnit},
	})
}

// percent keeps systemd from reading something into a path.
func percent(path string) string { return strings.ReplaceAll(path, "%", "%%") }

// absolute is the path from the root: a service starts in another folder.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// arguments are a command and the common flags that differ from the defaults,
// with which a service runs.
func (e *env) arguments(command string) []string {
	config, state, socket := defaultPlaces()
	args := []string{command}
	for _, f := range []struct{ flag, value, usual string }{
		{"--config", e.config, config}, {"--state", e.state, state}, {"--socket", e.socket, socket},
	} {
		if f.value != f.usual {
			args = append(args, f.flag, absolute(f.value))
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
