package policy

import (
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
	"github.com/firebreak-sec/firebreak/configs"
)

// Excepted returns the exception that the policy itself makes for t, or nil.
func Excepted(p configs.Policy, t threat.Threat, now time.Time) *threat.Exception {
	for _, e := range p.Except {
		until := e.Until.End(now.Location())
		if !now.Before(until) || !concerns(e, t) {
			continue
		}
		return &threat.Exception{Owner: e.Owner, Reason: e.Reason, Until: until}
	}
	return nil
}

// concerns tells whether e is about t. An exception that names nothing is
// about nothing.
func concerns(e configs.Exception, t threat.Threat) bool {
	if e.Detector != "" && e.Detector != t.Detector {
		return false
	}
	port := t.Subject.Port
	if port == nil {
		return e.Detector != "" && len(e.Ports) == 0 && e.Process == ""
	}
	switch {
	case len(e.Ports) == 0 && e.Process == "" && e.Detector == "":
		return false
	case !e.Ports.Has(port.Port),
		e.Protocol != "" && e.Protocol != string(port.Protocol),
		e.Process != "" && e.Process != port.Exe:
		return false
	}
	return true
}
