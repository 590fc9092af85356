package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	podmanTimeout = 90 * time.Second // a container has 10 s to stop unless it asked for more
	maxAnswer     = 8 << 20
)

// askAsUser runs podman as a user, "" being root, by way of systemd: as a unit
// that is nobody's child. What starts a container runs in a scope, in which the
// container's monitor stays when podman has ended; "" is a scope of any name.
func askAsUser(user, scopeName string) func(ctx context.Context, keeps bool, args ...string) ([]byte, error) {
	return func(ctx context.Context, keeps bool, args ...string) ([]byte, error) {
		const systemdRun = "/usr/bin/systemd-run"
		for _, name := range []string{systemdRun, podmanProgram} {
			if err := onlyRootWrites(name); err != nil {
				return nil, fmt.Errorf("run podman: %w", err)
			}
		}
		ctx, cancel := context.WithTimeout(ctx, podmanTimeout)
		defer cancel()
		command := []string{
			"--wait", "--pipe", "--quiet", "--collect", "--service-type=exec", "--description=podman, asked by Firebreak",
			"--property=WorkingDirectory=/", "--property=RuntimeMaxSec=" + strconv.Itoa(int(podmanTimeout.Seconds())),
		}
		scope := []string{systemdRun, "--scope", "--quiet", "--collect"}
		if scopeName != "" {
			scope = append(scope, "--unit="+scopeName)
		}
		if user != "" {
			uid, err := userID(user)
			if err != nil {
				return nil, fmt.Errorf("run podman: %w", err)
			}
			command = append(command, "--uid="+strconv.FormatUint(uint64(uid), 10),
				"--setenv=XDG_RUNTIME_DIR=/run/user/"+strconv.FormatUint(uint64(uid), 10))
			scope = append(scope, "--user")
		}
		command = append(command, "--")
		if keeps {
			command = append(append(command, scope...), "--")
		}
		return runBounded(ctx, systemdRun, append(append(command, podmanProgram), args...)...)
	}
}

// onlyRootWrites refuses a program that somebody else than root can exchange.
func onlyRootWrites(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); !ok || s.Uid != 0 || info.Mode()&0o022 != 0 {
		return fmt.Errorf("%s: others than root may change it: %w", name, ErrNotPermitted)
	}
	return nil
}

// runBounded runs a program with nothing of the agent's environment, and returns
// what it printed.
func runBounded(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	var out, errs bounded
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run podman: %w: %s", err, lastLine(errs.text.String()))
	}
	return out.text.Bytes(), nil
}

var errLongAnswer = errors.New("it says more than the agent reads")

// bounded is what a program printed, up to a limit.
type bounded struct{ text bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.text.Len()+len(p) > maxAnswer {
		return 0, errLongAnswer
	}
	return b.text.Write(p)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return printable(lines[len(lines)-1])
}
