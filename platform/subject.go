package platform

import "time"

// Subject is the thing a finding is about. Exactly one field is set.
type Subject struct {
	Port    *PortSubject    `json:"port,omitempty"`
	OS      *OSSubject      `json:"os,omitempty"`
	Updates *UpdatesSubject `json:"updates,omitempty"`
	File    *FileSubject    `json:"file,omitempty"`
	Process *ProcessSubject `json:"process,omitempty"`
	Setting *SettingSubject `json:"setting,omitempty"`
}

// PortSubject is an open port: all sockets of one owner on one port, IPv4 and
// IPv6 together.
type PortSubject struct {
	Protocol  Protocol `json:"protocol"`
	Port      uint16   `json:"port"`
	Address   string   `json:"address"` // "*" is every address of both families; several are separated by ", "
	NetNS     string   `json:"netns"`
	PID       int      `json:"pid"`
	Process   string   `json:"process"`
	Exe       string   `json:"exe"`
	User      string   `json:"user"`
	Unit      string   `json:"unit"`
	Package   string   `json:"package"`
	Container string   `json:"container"`
	Reach     Reach    `json:"reach"`
	// Through and Forward are those of the listener that decided Reach.
	Through string `json:"through"`
	Forward string `json:"forward"`
	// Sockets are the listeners behind it, for actions and evidence.
	Sockets []Listener `json:"sockets"`
}

// LifecycleVerdict says where a release stands in its support.
type LifecycleVerdict string

// The lifecycle verdicts.
const (
	Supported           LifecycleVerdict = "supported"
	EndingSoon          LifecycleVerdict = "ending-soon"
	ExtendedEntitled    LifecycleVerdict = "extended-entitled"
	ExtendedNotEntitled LifecycleVerdict = "extended-not-entitled"
	Ended               LifecycleVerdict = "ended"
	Rolling             LifecycleVerdict = "rolling"
	Unlisted            LifecycleVerdict = "unlisted"      // the product is not in the table
	UnknownNewer        LifecycleVerdict = "unknown-newer" // newer than the table: neither ended nor supported
	LifecycleUnknown    LifecycleVerdict = "unknown"       // the host does not say what it runs
)

// OSSubject is the host's operating system release.
type OSSubject struct {
	ID          string           `json:"id"`
	Version     string           `json:"version"`
	Name        string           `json:"name"`
	Verdict     LifecycleVerdict `json:"verdict"`
	SupportEnds string           `json:"support_ends"` // YYYY-MM-DD; "" if none is known
	DataDate    string           `json:"data_date"`    // YYYY-MM-DD, of the data behind the verdict
	DataSource  string           `json:"data_source"`  // "SUPPORT_END in os-release", "distro-info on this host", "built-in table"
	Stale       bool             `json:"stale"`        // the data is too old to rely on
	// UpgradeTo is the release a person should upgrade to: "Debian 13 (trixie)".
	UpgradeTo string `json:"upgrade_to"`
}

// UpdatesSubject is what a host misses of updates, and what still runs as it was
// before one.
type UpdatesSubject struct {
	Manager   string      `json:"manager"`
	ListsAsOf time.Time   `json:"lists_as_of"` // zero if the host never learned what is offered
	Packages  []Update    `json:"packages"`
	Running   RunningCode `json:"running"`
	// Unsupported are packages that nobody mends any more.
	Unsupported []UnsupportedPackage `json:"unsupported"`
}

// FileSubject is a file.
type FileSubject struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

// ProcessSubject is a process.
type ProcessSubject struct {
	ProcessID
	Name string `json:"name"`
	Exe  string `json:"exe"`
}

// SettingSubject is a setting of the host.
type SettingSubject struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}
