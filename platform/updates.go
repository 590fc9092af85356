package platform

import "time"

// Updates is what the host's own package data says about what is installed: what
// has a newer version, what has nobody left who mends it. It is read from files,
// without running the package manager and without its lock.
type Updates struct {
	Manager string `json:"manager"` // apt | dnf
	// ListsAsOf is when the host last learned what is offered: the oldest of the
	// lists in use. Zero if it never did.
	ListsAsOf time.Time `json:"lists_as_of"`
	Installed int       `json:"installed"` // packages
	// Pending is every installed package for which there is a newer version, by
	// name and architecture.
	Pending []Update `json:"pending"`
	// Unknown is why something is not known, a sentence each: what is not in Pending
	// may then still be missing.
	Unknown []string `json:"unknown"`
	// Unsupported are the installed packages that get no security updates any more,
	// or only some, although the release does.
	Unsupported []UnsupportedPackage `json:"unsupported"`
}

// Update is one installed package that has a newer version.
type Update struct {
	Name      string `json:"name"`
	Arch      string `json:"arch"`
	Source    string `json:"source"` // the source package it is built from
	Installed string `json:"installed"`
	// Candidate is the version that the package manager would install now; the
	// installed one if it would install none, with Why.
	Candidate string `json:"candidate"`
	Archive   string `json:"archive"` // where the candidate comes from: "Debian-Security 12 (bookworm-security)"
	// Security says that the installed version is older than some version in a
	// security archive, wherever the candidate comes from.
	Security bool `json:"security"`
	// Fixed is the newest version in a security archive; "" if Security is false.
	Fixed    string   `json:"fixed"`
	Advisory []string `json:"advisory"` // "DSA-5678-1", "RHSA-2026:1234", CVE ids, where the data has them
	Severity string   `json:"severity"` // as the archive says it: low | medium | high | critical, or ""
	KEV      []string `json:"kev"`      // CVE ids known to be exploited
	// Since is when the candidate became known here; zero if nobody can tell.
	Since time.Time `json:"since"`
	// Why says why the package manager would not install the newer version.
	Why UpdateHold `json:"why"`
}

// UpdateHold is why a package manager does not install a newer version.
type UpdateHold string

// The reasons.
const (
	NotHeld UpdateHold = ""
	Held    UpdateHold = "held"   // by a person: apt-mark hold, versionlock
	Pinned  UpdateHold = "pinned" // by a preference
	Phased  UpdateHold = "phased" // the vendor rolls it out step by step, and this host is not yet in
	Unmet   UpdateHold = "unmet"  // what it needs cannot be had, or it removes something
)

// UnsupportedPackage is an installed package that is out of security support.
type UnsupportedPackage struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Limited bool      `json:"limited"` // it gets some of it
	Ended   time.Time `json:"ended"`   // zero if not known
	Note    string    `json:"note"`    // what the distribution says about it
}

// RunningCode is what runs that is older than what is installed.
type RunningCode struct {
	Kernel      string         `json:"kernel"`       // the release that runs
	NewerKernel string         `json:"newer_kernel"` // the newest one installed, if it is newer
	Stale       []StaleProcess `json:"stale"`
	// RebootAsked says who asks for a reboot: "/run/reboot-required: linux-image-amd64".
	RebootAsked []string `json:"reboot_asked"`
}

// StaleProcess is a process whose executable or a library of which was replaced or
// deleted since it began.
type StaleProcess struct {
	ProcessID
	Name     string   `json:"name"`
	User     string   `json:"user"`
	Unit     string   `json:"unit"`      // "" if it is nobody's
	UserUnit string   `json:"user_unit"` // of a user's own manager
	Session  string   `json:"session"`   // the login it belongs to, if it does
	Files    []string `json:"files"`     // at most eight, by name
}
