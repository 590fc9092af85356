package main

import (
	"errors"
	"fmt"

	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/platform"
)

// The exit codes; they are a contract.
const (
	exitDone         = 0  // done, or nothing is open
	exitOpen         = 1  // refused, or something is open at or above --fail-on
	exitCouldNotLook = 2  // what is there is not known
	exitNotPermitted = 3  // the caller lacks the right
	exitNotRunning   = 4  // no agent answers
	exitUsage        = 64 // the command line is wrong
)

// exit ends the program with a code and says nothing: what was printed says it.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError is a command line that makes no sense.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...)}
}

// errCouldNotLook says that the host could not be read.
var errCouldNotLook = errors.New("could not look")

// codeOf is the exit code of each kind of fault.
var codeOf = map[localapi.Code]int{
	localapi.Refused:      exitOpen,
	localapi.CutsOff:      exitOpen,
	localapi.NotFound:     exitOpen,
	localapi.Failed:       exitOpen,
	localapi.CouldNotLook: exitCouldNotLook,
	localapi.NotPermitted: exitNotPermitted,
	localapi.NotRunning:   exitNotRunning,
	localapi.BadRequest:   exitUsage,
}

// kinds says which kind of fault an error is, and what would help; the first
// that fits counts.
var kinds = []struct {
	is   error
	code localapi.Code
	help string
}{
	{localapi.ErrNotRunning, localapi.NotRunning, "start it: sudo firebreak start (or look without it: firebreak check)"},
	{platform.ErrAnswers, localapi.Refused, "it goes on undisturbed; see: firebreak status"},
	{journal.ErrInUse, localapi.Refused, "it goes on undisturbed; see: firebreak status"},
	{errCouldNotLook, localapi.CouldNotLook, ""},
	{platform.ErrNotPermitted, localapi.NotPermitted, "repeat with sudo"},
}

// faultOf says what went wrong in the words and codes of the contract.
func faultOf(err error) (localapi.Error, int) {
	var fault *localapi.Error
	if errors.As(err, &fault) {
		text := fault.Message
		if fault.Code == localapi.NotPermitted {
			text += ": repeat with sudo"
		}
		return localapi.Error{Code: fault.Code, Message: text}, codeOf[fault.Code]
	}
	var usage *usageError
	if errors.As(err, &usage) {
		return localapi.Error{Code: localapi.BadRequest, Message: usage.text}, exitUsage
	}
	for _, k := range kinds {
		if !errors.Is(err, k.is) {
			continue
		}
		text := err.Error()
		if k.help != "" {
			text += "; " + k.help
		}
		return localapi.Error{Code: k.code, Message: text}, codeOf[k.code]
	}
	return localapi.Error{Code: localapi.Failed, Message: err.Error()}, exitOpen
}
