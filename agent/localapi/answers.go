package localapi

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
)

func (s *server) status(_ *http.Request, c platform.Caller) (any, error) {
	status := StatusOf(s.agent.Status())
	if roleOf(c) < Helpdesk {
		status = status.Redact()
	}
	return status, nil
}

func (s *server) threats(req *http.Request, c platform.Caller) (any, error) {
	all := req.URL.Query().Get("all") == "1"
	list := Threats{Schema: Schema, Threats: each(s.agent.Threats(all), ThreatOf)}
	if roleOf(c) < Helpdesk {
		list = list.Redact()
	}
	return list, nil
}

func (s *server) explain(req *http.Request, c platform.Caller) (any, error) {
	id := ThreatID(req.PathValue("id"))
	for _, t := range s.agent.Threats(true) {
		if t.ID != id {
			continue
		}
		one := Explained{Schema: Schema, Threat: ThreatOf(t), Owner: each(s.agent.Owner(req.Context(), t), same)}
		if roleOf(c) < Helpdesk {
			one = one.Redact()
		}
		return one, nil
	}
	return nil, &Error{Code: NotFound, Message: fmt.Sprintf("there is no threat %q; see: firebreak threats --all", req.PathValue("id"))}
}

// history answers GET /v1/history?after=N&limit=N&wait=20s: with wait, not
// before there is something to tell or the time is over.
func (s *server) history(req *http.Request, _ platform.Caller) (any, error) {
	query := req.URL.Query()
	after, err := number(query.Get("after"))
	if err != nil {
		return nil, err
	}
	limit, err := number(query.Get("limit"))
	if err != nil {
		return nil, err
	}
	if limit == 0 || limit > maxPage {
		limit = maxPage
	}
	wait, err := waitTime(query.Get("wait"))
	if err != nil {
		return nil, err
	}
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		changed := s.agent.Changed()
		entries, err := s.agent.History(after, int(limit))
		if err != nil {
			return nil, err
		}
		page := Entries{Schema: Schema, Entries: each(entries, entryOf)}
		if len(entries) > 0 || wait == 0 {
			return page, nil
		}
		select {
		case <-changed:
		case <-timeout.C:
			return page, nil
		case <-req.Context().Done():
			return page, nil
		}
	}
}

func number(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, &Error{Code: BadRequest, Message: fmt.Sprintf("%q is not a number", s)}
	}
	return n, nil
}

func waitTime(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(s)
	if err != nil || wait < 0 {
		return 0, &Error{Code: BadRequest, Message: fmt.Sprintf("%q is not a time to wait, such as 20s", s)}
	}
	return min(wait, maxWait), nil
}

func (s *server) policy(*http.Request, platform.Caller) (any, error) {
	status := s.agent.Status().Policy
	return PolicyInForce{Schema: Schema, Policy: policyOf(status), YAML: status.Text}, nil
}
