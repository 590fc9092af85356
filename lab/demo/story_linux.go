package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/lab"
)

// policy is what an administrator would push: Redis must not be reachable; a web
// page may; the helpdesk keeps its way in when the computer is isolated.
const policy = `version: firebreak/v1
name: demo
revision: 1
mode: enforce
ports:
  allow: [{port: 8080, protocol: tcp}]
  deny:  [{port: 6379, protocol: tcp, severity: critical, plan: shut}]
plans:
  shut: {mitigate: [block-port], remediate: [close-port], evidence: true}
isolation:
  keep: ["10.77.0.2:8080 in"]
`

// limit is how long any one thing may take before the demo gives up.
const limit = 20 * time.Second

// tell makes the throw-away computer, tells the story, and leaves nothing behind.
func tell(firebreak string) (err error) {
	if os.Geteuid() != 0 {
		return errNotHere
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	site, err := lab.NewSite()
	if err != nil {
		return fmt.Errorf("make a place for the computer: %w", err)
	}
	n := &narrator{out: os.Stdout, start: time.Now()}
	err = act(ctx, n, site, firebreak)
	if err != nil {
		said, _ := os.ReadFile(logFile(site))
		err = fmt.Errorf("%w\nThe agent said:\n%s", err, said)
	}
	if swept := errors.Join(site.Remove(), leftovers(site)); swept != nil {
		return errors.Join(err, fmt.Errorf("clean up: %w", swept))
	}
	if err == nil {
		n.text(fmt.Sprintf("The throw-away computer is gone: no process, network, mount or file of it is left. That took %.0f seconds.",
			time.Since(n.start).Seconds()))
		n.text("What would Firebreak say of this computer? It only looks: bin/firebreak check")
	}
	return err
}

func logFile(site *lab.Site) string { return filepath.Join(site.Dir(), "log") }

// leftovers fails if something of the site is still there.
func leftovers(site *lab.Site) error {
	var found []string
	for _, pattern := range []string{"/run/netns/*" + site.ID + "*", site.Dir(), "/sys/fs/cgroup/firebreak-lab/" + site.ID, "/sys/fs/cgroup/*/firebreak-lab/" + site.ID} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		found = append(found, names...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	if strings.Contains(string(mounts), site.ID) {
		found = append(found, "a mount")
	}
	if len(found) > 0 {
		return fmt.Errorf("still there: %s", strings.Join(found, ", "))
	}
	return nil
}

// act is the story.
func act(ctx context.Context, n *narrator, site *lab.Site, firebreak string) error {
	n.text("Firebreak finds what threatens a computer, lessens the danger at once, removes the cause, and proves that it is gone. Watch it do so on a computer that is made for this and thrown away afterwards; yours is not touched.")
	inside, outside, err := connect(site)
	if err != nil {
		return fmt.Errorf("make a network: %w", err)
	}
	log, err := os.Create(logFile(site))
	if err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	defer log.Close()
	c, err := start(site, inside, firebreak, policy, log)
	if err != nil {
		return err
	}
	defer c.stop()
	a := agent{c}
	if err := errors.Join(
		c.run(filepath.Join(programs, "web-server"), "listen", ":8080", "a web page"),
		c.run(append([]string{filepath.Join(programs, "firebreak"), "run"}, flags...)...),
	); err != nil {
		return err
	}
	if err := a.waitUntilUp(ctx); err != nil {
		return err
	}
	if err := closePort(ctx, n, c, outside); err != nil {
		return err
	}
	return isolate(ctx, n, a, outside)
}

// closePort starts a dangerous listener and watches what becomes of it, on the
// computer and from outside.
func closePort(ctx context.Context, n *narrator, c *Computer, outside Outside) error {
	a := agent{c}
	n.chapter("1. A dangerous port opens")
	watching, done := context.WithCancel(ctx)
	defer done()
	if err := a.follow(watching, n); err != nil {
		return err
	}
	n.line("somebody", "starts redis-server, a database without a password, on port 6379 of every address")
	if err := c.run(filepath.Join(programs, "redis-server"), "listen", ":6379", "+PONG"); err != nil {
		return err
	}
	go outside.watch(watching, n, 6379)
	th, err := a.waitResolved(ctx, 6379)
	if err != nil {
		return err
	}
	outside.settle(ctx, n)
	done()

	n.gap()
	screen, err := a.ask(ctx, "explain", th.ID)
	if err != nil {
		return err
	}
	n.screen("what the helpdesk reads: firebreak explain "+th.ID, screen)
	n.gap()
	return nil
}

// isolate cuts the computer off and lets it back.
func isolate(ctx context.Context, n *narrator, a agent, outside Outside) error {
	n.chapter("2. The computer is isolated, and released")
	look := func() {
		n.line("stranger", "the web page on port 8080, IPv4: "+outside.see(stranger4, 8080))
		n.line("stranger", "the web page on port 8080, IPv6: "+outside.see(stranger6, 8080))
		n.line("helpdesk", "the web page on port 8080: "+outside.see(helpdesk4, 8080))
	}
	look()
	for _, order := range [][]string{{"isolate", "--reason", "demo"}, {"release"}} {
		screen, err := a.ask(ctx, order...)
		if err != nil {
			return err
		}
		n.screen("firebreak "+strings.Join(order, " "), screen)
		look()
	}
	if outside.see(stranger4, 8080) == outside.see(stranger4, 6379) {
		return errors.New("isolation was released, and the computer is not reachable as before")
	}
	n.gap()
	return nil
}

// flags tell the agent and its commands where they are.
var flags = []string{"--config", config, "--state", state, "--socket", socket}

// agent is the agent on the throw-away computer, by its command line.
type agent struct{ *Computer }

// ask runs a command of the agent. An exit code of 1 says that something is open.
func (a agent) ask(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := a.command(ctx, append(append([]string{filepath.Join(programs, "firebreak")}, args...), flags...)...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 1 && len(out) > 0 {
		err = nil
	}
	if err != nil {
		return "", fmt.Errorf("firebreak %s: %w: %s%s", strings.Join(args, " "), err, out, said.String())
	}
	return string(out), nil
}

func (a agent) waitUntilUp(ctx context.Context) error {
	return wait(ctx, func() error {
		out, err := a.ask(ctx, "status", "--json")
		if err != nil {
			return err
		}
		var looked struct {
			LastLook *time.Time `json:"last_look"`
		}
		if err := json.Unmarshal([]byte(out), &looked); err != nil || looked.LastLook == nil {
			return fmt.Errorf("the agent has not looked yet: %w", err)
		}
		return nil
	})
}

// waitResolved waits until the threat of a port is proved gone.
func (a agent) waitResolved(ctx context.Context, port uint16) (found lab.Threat, err error) {
	return found, wait(ctx, func() error {
		out, err := a.ask(ctx, "threats", "--all", "--json")
		if err != nil {
			return err
		}
		var list struct {
			Threats []lab.Threat `json:"threats"`
		}
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return fmt.Errorf("read threats: %w", err)
		}
		for _, th := range list.Threats {
			if th.IsPort(port) && th.Stage == "resolved" {
				found = th
				return nil
			}
		}
		return fmt.Errorf("port %d is not proved closed: %s", port, out)
	})
}

// follow tells the history of the agent as it happens, but for what is not part
// of this story: how the agent started, and what is open for other reasons.
func (a agent) follow(ctx context.Context, n *narrator) error {
	args := append([]string{filepath.Join(programs, "firebreak"), "history", "--follow", "--json"}, flags...)
	cmd := a.command(ctx, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("open pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("follow the history: %w", err)
	}
	go func() {
		_ = n.history(out) // it ends with the command, which ends with ctx
		_ = cmd.Wait()
	}()
	return nil
}

// wait calls f until it returns nil, and gives up with f's last error.
func wait(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up: %w", err)
		case <-tick.C:
		}
	}
}
