package localapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/firebreak-sec/firebreak/agent"
)

// Code says what kind of thing went wrong; the command line has an exit code
// for each.
type Code string

// The codes.
const (
	Refused      Code = "refused"       // the agent will not do it; the message says why
	CutsOff      Code = "cuts-off"      // it would cut the caller's own session: ask again with cut_me
	NotPermitted Code = "not-permitted" // the caller's role does not reach
	NotFound     Code = "not-found"
	BadRequest   Code = "bad-request"
	Failed       Code = "failed"         // the agent tried and could not
	NotRunning   Code = "not-running"    // said by the command line, not by the API
	CouldNotLook Code = "could-not-look" // likewise
)

// Error is what went wrong, in words for the person who asked.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

func (c Code) status() int {
	switch c {
	case Refused, CutsOff:
		return http.StatusConflict
	case NotPermitted:
		return http.StatusForbidden
	case NotFound:
		return http.StatusNotFound
	case BadRequest:
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

func asError(err error) *Error {
	var fault *Error
	if errors.As(err, &fault) {
		return fault
	}
	var refused *agent.RefusedError
	if errors.As(err, &refused) {
		if refused.CutsOff {
			return &Error{Code: CutsOff, Message: refused.Reason}
		}
		return &Error{Code: Refused, Message: refused.Reason}
	}
	if errors.Is(err, context.Canceled) {
		return &Error{Code: Failed, Message: "the agent is stopping"}
	}
	return &Error{Code: Failed, Message: err.Error()}
}
