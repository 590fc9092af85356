package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/platform"
)

// runOptions are the flags of run.
type runOptions struct {
	level     string
	lookAgain []time.Duration
	lookEvery time.Duration
}

func newRun(e *env) *cobra.Command {
	defaults := agent.DefaultConfig()
	o := runOptions{}
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the agent in the foreground",
		Long: "Runs the agent until it is told to stop (SIGTERM, Ctrl-C). Blocks and isolation\n" +
			"that are in force then stay in force, so that a restart opens nothing:\n" +
			"`firebreak uninstall` takes everything away.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return underService(c.Context(), func(ctx context.Context) error { return e.run(ctx, o) })
		},
	}
	c.Flags().StringVar(&o.level, "log-level", "info", "debug, info, warn or error")
	c.Flags().DurationSliceVar(&o.lookAgain, "look-again", defaults.LookAgain, "when to prove once more that a threat is gone")
	c.Flags().DurationVar(&o.lookEvery, "look-every", defaults.LookEvery, "how often to look when nothing happens")
	complete(c, "log-level", "debug", "info", "warn", "error")
	return c
}

// run is the life of an agent: it holds the journal, so there is only one.
func (e *env) run(ctx context.Context, o runOptions) (err error) {
	if !privileged() {
		return fmt.Errorf("run the agent: %w", platform.ErrNotPermitted)
	}
	log, err := e.logger(o.level)
	if err != nil {
		return err
	}
	frugal()
	if err := os.MkdirAll(e.state, 0o700); err != nil {
		return fmt.Errorf("make state folder: %w", err)
	}
	j, err := journal.Open(e.journalFile(), journal.DefaultLimits())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	a, err := agent.New(e.agentConfig(o, j, log))
	if err != nil {
		return err
	}
	return e.serve(ctx, a, log)
}

func (e *env) agentConfig(o runOptions, j *journal.Journal, log *zap.Logger) agent.Config {
	c := agent.DefaultConfig()
	c.Host, c.Journal, c.Log, c.Version = e.host(""), j, log, version
	c.PolicyDir, c.Evidence = e.config, e.evidenceDir()
	c.HostName = hostName("")
	c.LookAgain, c.LookEvery = o.lookAgain, o.lookEvery
	return c
}

// serve runs the loop and the local API; whichever ends first ends the other.
// The loop waits until the socket is its own: of two agents with two state
// folders, the second must not act before it learns of the first.
func (e *env) serve(ctx context.Context, a *agent.Agent, log *zap.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	listening := make(chan struct{})
	api := make(chan error, 1)
	go func() {
		api <- localapi.Serve(ctx, localapi.Of(a), e.socket, log, func() { close(listening) })
		cancel()
	}()
	select {
	case err := <-api:
		return err
	case <-listening:
	}
	go slim(ctx)
	go e.tellReady(ctx, a, log)
	err := a.Run(ctx)
	cancel()
	return errors.Join(err, <-api)
}

// tellReady tells whoever started this program that what was in force is in
// force again: services that wait for that start no earlier.
func (e *env) tellReady(ctx context.Context, a *agent.Agent, log *zap.Logger) {
	select {
	case <-ctx.Done():
		return
	case <-a.Started():
	}
	if err := platform.TellReady(); err != nil {
		log.Warn("tell service manager", zap.Error(err))
	}
	log.Info("firebreak is running", zap.String("version", version), zap.String("socket", e.socket))
}

// frugal trades a little speed for memory: the agent idles nearly always.
func frugal() {
	debug.SetGCPercent(50)
	runtime.GOMAXPROCS(min(2, runtime.NumCPU()))
}

// startUp is how long the first look takes at most on an ordinary host.
const startUp = 10 * time.Second

// slim gives back once what the start needed and the rest of its life does not.
func slim(ctx context.Context) {
	timer := time.NewTimer(startUp)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
		debug.FreeOSMemory()
	}
}

// logger writes to stderr: JSON for a machine, plain lines for a person.
func (e *env) logger(level string) (*zap.Logger, error) {
	at, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, usagef("--log-level is debug, info, warn or error, not %q", level)
	}
	form := zap.NewProductionEncoderConfig()
	form.EncodeTime = zapcore.RFC3339TimeEncoder
	encoder := zapcore.NewJSONEncoder(form)
	if e.errTTY {
		encoder = zapcore.NewConsoleEncoder(form)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(e.err)), at)), nil
}
