// Package localapi is what people may ask of the agent on the host itself, and
// its client: HTTP over a unix socket, where what a caller may do comes from who
// the kernel says he is.
package localapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/platform"
)

// Agent is what the API needs of the agent.
type Agent struct {
	Reader
	Recorder
	Doer
}

// Of returns the agent as the API needs it.
func Of(a *agent.Agent) Agent { return Agent{Reader: a, Recorder: a, Doer: a} }

// Doer carries out orders, and waits for their proof unless told not to.
type Doer interface {
	Do(context.Context, agent.Order) (agent.Reply, error)
}

// Reader tells the state of the host without waiting.
type Reader interface {
	Status() agent.Status
	Threats(all bool) []threat.Threat
	Owner(context.Context, threat.Threat) []string
}

// Recorder tells what has happened.
type Recorder interface {
	History(after uint64, limit int) ([]journal.Entry, error)
	Changed() <-chan struct{}
}

const (
	maxBody   = 64 << 10
	maxHeader = 16 << 10
	// maxWait bounds a long poll of the history.
	maxWait = 30 * time.Second
	// maxPage is the most entries of the history in one answer.
	maxPage = 1000
	// goodbye is how long requests may go on after the agent was told to stop.
	goodbye = 2 * time.Second
)

// Serve answers on the local socket until ctx ends. ready, if not nil, is called
// once the socket is open. An agent that already answers there is
// platform.ErrAnswers.
func Serve(ctx context.Context, a Agent, socket string, log *zap.Logger, ready func()) error {
	l, err := platform.ListenLocal(socket)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler:           (&server{agent: a, log: log}).handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          zap.NewStdLog(log.Named("localapi")),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withCaller,
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(&guard{Listener: l, open: map[uint32]int{}}) }()
	if ready != nil {
		ready()
	}
	select {
	case err := <-failed:
		return fmt.Errorf("answer on %s: %w", socket, err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		return errors.Join(err, srv.Close())
	}
	return nil
}

type server struct {
	agent Agent
	log   *zap.Logger
}

// handler is the routes, each behind its role.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.HandleFunc(r.pattern, func(w http.ResponseWriter, req *http.Request) {
			answer, err := s.admit(r, w, req)
			s.reply(w, answer, err)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		s.reply(w, nil, &Error{Code: NotFound, Message: "there is no " + req.Method + " " + req.URL.Path + " in this agent"})
	})
	return mux
}

func (s *server) admit(r route, w http.ResponseWriter, req *http.Request) (any, error) {
	caller, ok := callerIn(req.Context())
	if !ok {
		return nil, &Error{Code: NotPermitted, Message: "the agent cannot tell who is asking"}
	}
	if roleOf(caller) < r.role {
		return nil, &Error{Code: NotPermitted, Message: "this needs " + r.role.String() + "; you are " + caller.String()}
	}
	req.Body = http.MaxBytesReader(w, req.Body, maxBody)
	return r.answer(s, req, caller)
}

// reply writes the answer, or what went wrong in the same form for everything.
func (s *server) reply(w http.ResponseWriter, answer any, err error) {
	code := http.StatusOK
	if err != nil {
		fault := asError(err)
		code, answer = fault.Code.status(), Failure{Schema: Schema, Error: *fault}
	}
	body, err := json.Marshal(answer)
	if err != nil {
		s.log.Error("write answer", zap.Error(err))
		http.Error(w, "{}", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // a caller who hung up needs no answer
}
