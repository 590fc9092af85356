package localapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// order answers POST /v1/orders/VERB. It blocks until the order was carried out
// and proved, or the caller hangs up.
func order(verb agent.Verb) func(*server, *http.Request, platform.Caller) (any, error) {
	return func(s *server, req *http.Request, c platform.Caller) (any, error) {
		asked, err := readOrder(req.Body)
		if err != nil {
			return nil, err
		}
		o, err := asked.forAgent(verb)
		if err != nil {
			return nil, err
		}
		o.By, o.Remote = c.String(), platform.RemoteSession(c.PID)
		if verb == agent.Approve && roleOf(c) < Root {
			if err := s.mayApprove(o.Threat); err != nil {
				return nil, err
			}
		}
		reply, err := s.agent.Do(req.Context(), o)
		if err != nil {
			return nil, err
		}
		return replyOf(verb, reply), nil
	}
}

// mayApprove lets the helpdesk approve only what policy made wait for approval.
func (s *server) mayApprove(id string) error {
	for _, t := range s.agent.Threats(false) {
		if t.ID == id && t.Stage == threat.Waiting && t.WaitingFor == threat.ForApproval {
			return nil
		}
	}
	return &Error{Code: NotPermitted, Message: id + " does not wait for approval: only root may act on it"}
}

// readOrder reads one JSON object and nothing after it. Unknown fields are
// refused: an order that is half understood must not be carried out.
func readOrder(body io.Reader) (Order, error) {
	var o Order
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil && !errors.Is(err, io.EOF) {
		return Order{}, badBody(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Order{}, &Error{Code: BadRequest, Message: "there is more after the order"}
	}
	return o, nil
}

func badBody(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &Error{Code: BadRequest, Message: fmt.Sprintf("an order is at most %d bytes", tooLarge.Limit)}
	}
	return &Error{Code: BadRequest, Message: "this is not an order: " + strings.TrimPrefix(err.Error(), "json: ")}
}

// forAgent checks the order and returns it as the agent takes it.
func (o Order) forAgent(verb agent.Verb) (agent.Order, error) {
	length, err := Duration(o.For)
	if err != nil {
		return agent.Order{}, &Error{Code: BadRequest, Message: err.Error()}
	}
	a := agent.Order{
		Verb: verb, Threat: ThreatID(o.Threat), Reason: strings.TrimSpace(o.Reason), For: length,
		Force: o.Force, CutMe: o.CutMe, Keep: o.Keep, DryRun: o.DryRun, NoWait: o.NoWait,
	}
	if o.Until != nil {
		a.Until = *o.Until
	}
	if missing := needs[verb].missing(a); missing != "" {
		return agent.Order{}, &Error{Code: BadRequest, Message: string(verb) + " needs " + missing}
	}
	return a, nil
}

// need is what an order cannot be without.
type need struct{ threat, reason, length, until bool }

var needs = map[agent.Verb]need{
	agent.Isolate: {reason: true},
	agent.Approve: {threat: true},
	agent.Except:  {threat: true, reason: true, until: true},
	agent.Undo:    {threat: true},
	agent.PauseIt: {length: true},
}

func (n need) missing(o agent.Order) string {
	switch {
	case n.threat && o.Threat == "":
		return "the ID of a threat"
	case n.reason && o.Reason == "":
		return "a reason"
	case n.length && o.For == 0:
		return "a length of time"
	case n.until && o.Until.IsZero():
		return "an end date"
	}
	return ""
}

// Duration reads a length of time as a policy writes it: 90s, 15m, 4h, 2d. The
// empty string is 0.
func Duration(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := configs.ParseDuration(s)
	if err == nil && d == 0 {
		err = fmt.Errorf("%q is no time at all", s)
	}
	return time.Duration(d), err
}

// ThreatID returns the ID as the agent writes it; "7k4q" will do for "T-7K4Q".
func ThreatID(s string) string {
	s = strings.ToUpper(strings.TrimSpace(s))
	if len(s) == 4 {
		return "T-" + s
	}
	return s
}
