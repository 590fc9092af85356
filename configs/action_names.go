package configs

// ActionName is an action that a plan may name.
type ActionName struct {
	Name string
	Kind string // mitigation | remediation
}

// ActionNames are all actions that a plan may name, also those that this agent
// cannot do on every host. The package actions does them; it is above this one,
// so a test of the agent compares the two lists.
var ActionNames = []ActionName{
	{"block-port", "mitigation"},
	{"isolate-host", "mitigation"},
	{"restrict-host", "mitigation"},
	{"freeze-process", "mitigation"},
	{"close-port", "remediation"},
	{"flag-os-upgrade", "remediation"},
	{"install-updates", "remediation"},
	{"restart-services", "remediation"},
	{"flag-reboot", "remediation"},
	{"kill-process", "remediation"},
	{"quarantine-file", "remediation"},
}

// DetectorNames are all detectors that an exception may name.
var DetectorNames = []string{"open-port", "outdated-os", "missing-updates"}
