package localapi

import (
	"cmp"
	"time"

	"github.com/firebreak-sec/firebreak/platform"
)

// Subject is the thing a threat is about: exactly one field is not null.
type Subject struct {
	Port    *PortSubject    `json:"port"`
	OS      *OSSubject      `json:"os"`
	Updates *UpdatesSubject `json:"updates"`
	File    *FileSubject    `json:"file"`
	Process *ProcessSubject `json:"process"`
	Setting *SettingSubject `json:"setting"`
}

// PortSubject is an open port.
type PortSubject struct {
	Protocol  platform.Protocol `json:"protocol"`
	Port      uint16            `json:"port"`
	Address   *string           `json:"address"` // "*" is every address of both families
	NetNS     *string           `json:"netns"`   // null is the host's own
	PID       *int              `json:"pid"`
	Process   *string           `json:"process"`
	Exe       *string           `json:"exe"`
	User      *string           `json:"user"`
	Unit      *string           `json:"unit"`
	Package   *string           `json:"package"`
	Container *string           `json:"container"`
	Reach     platform.Reach    `json:"reach"`
	Through   *string           `json:"through"` // the rule of the host's firewall that decided reach; null if the address alone did
	Forward   *string           `json:"forward"` // where the host passes the port on to
}

// OSSubject is the host's operating system release. Days are YYYY-MM-DD.
type OSSubject struct {
	ID          *string                   `json:"id"`
	Version     *string                   `json:"version"`
	Name        *string                   `json:"name"`
	Verdict     platform.LifecycleVerdict `json:"verdict"`
	SupportEnds *string                   `json:"support_ends"`
	DataDate    *string                   `json:"data_date"`
	DataSource  *string                   `json:"data_source"`
	Stale       bool                      `json:"stale"`
	UpgradeTo   *string                   `json:"upgrade_to"`
}

// UpdatesSubject is what a host misses of updates, and what still runs as it was
// before one.
type UpdatesSubject struct {
	Manager     *string              `json:"manager"`
	ListsAsOf   *time.Time           `json:"lists_as_of"`
	Packages    []MissingUpdate      `json:"packages"`
	Unsupported []UnsupportedPackage `json:"unsupported"`
	Stale       []StaleProcess       `json:"stale"`
	Kernel      *string              `json:"kernel"`
	NewerKernel *string              `json:"newer_kernel"`
	RebootAsked []string             `json:"reboot_asked"`
}

// MissingUpdate is one package for which a newer version is there.
type MissingUpdate struct {
	Name      string     `json:"name"`
	Arch      *string    `json:"arch"`
	Installed *string    `json:"installed"`
	Candidate *string    `json:"candidate"`
	Archive   *string    `json:"archive"`
	Security  bool       `json:"security"`
	Fixed     *string    `json:"fixed"`
	Severity  *string    `json:"severity"`
	Advisory  []string   `json:"advisory"`
	KEV       bool       `json:"kev"` // known to be exploited
	KEVIDs    []string   `json:"kev_ids"`
	Held      *string    `json:"held"`
	Since     *time.Time `json:"since"`
}

// UnsupportedPackage is a package that nobody mends any more.
type UnsupportedPackage struct {
	Name    string  `json:"name"`
	Version *string `json:"version"`
	Limited bool    `json:"limited"`
	Ended   *string `json:"ended"`
	Note    *string `json:"note"`
}

// StaleProcess is a process that runs code which was replaced since it began.
type StaleProcess struct {
	PID   int      `json:"pid"`
	Name  *string  `json:"name"`
	User  *string  `json:"user"`
	Unit  *string  `json:"unit"`
	Files []string `json:"files"`
}

// FileSubject is a file.
type FileSubject struct {
	Path   *string `json:"path"`
	SHA256 *string `json:"sha256"`
}

// ProcessSubject is a process.
type ProcessSubject struct {
	PID  *int    `json:"pid"`
	Name *string `json:"name"`
	Exe  *string `json:"exe"`
}

// SettingSubject is a setting of the host.
type SettingSubject struct {
	Name  string  `json:"name"`
	Value *string `json:"value"`
}

// SubjectOf returns the wire form of a subject.
func SubjectOf(s platform.Subject) Subject {
	var w Subject
	if p := s.Port; p != nil {
		w.Port = &PortSubject{
			Protocol: p.Protocol, Port: p.Port, Address: opt(p.Address), NetNS: opt(p.NetNS),
			PID: opt(p.PID), Process: opt(p.Process), Exe: opt(p.Exe), User: opt(p.User), Unit: opt(p.Unit),
			Package: opt(p.Package), Container: opt(p.Container), Reach: p.Reach,
			Through: opt(p.Through), Forward: opt(p.Forward),
		}
	}
	if o := s.OS; o != nil {
		w.OS = &OSSubject{
			ID: opt(o.ID), Version: opt(o.Version), Name: opt(o.Name), Verdict: o.Verdict,
			SupportEnds: opt(o.SupportEnds), DataDate: opt(o.DataDate), DataSource: opt(o.DataSource),
			Stale: o.Stale, UpgradeTo: opt(o.UpgradeTo),
		}
	}
	w.Updates = updatesOf(s.Updates)
	if f := s.File; f != nil {
		w.File = &FileSubject{Path: opt(f.Path), SHA256: opt(f.SHA256)}
	}
	if p := s.Process; p != nil {
		w.Process = &ProcessSubject{PID: opt(p.PID), Name: opt(p.Name), Exe: opt(p.Exe)}
	}
	if s := s.Setting; s != nil {
		w.Setting = &SettingSubject{Name: s.Name, Value: opt(s.Value)}
	}
	return w
}

func updatesOf(u *platform.UpdatesSubject) *UpdatesSubject {
	if u == nil {
		return nil
	}
	return &UpdatesSubject{
		Manager: opt(u.Manager), ListsAsOf: utc(u.ListsAsOf),
		Packages: each(u.Packages, func(m platform.Update) MissingUpdate {
			return MissingUpdate{
				Name: m.Name, Arch: opt(m.Arch), Installed: opt(m.Installed), Candidate: opt(m.Candidate), Archive: opt(m.Archive),
				Security: m.Security, Fixed: opt(m.Fixed), Severity: opt(m.Severity), Advisory: each(m.Advisory, same), KEV: len(m.KEV) > 0, KEVIDs: each(m.KEV, same),
				Held: opt(string(m.Why)), Since: utc(m.Since),
			}
		}),
		Unsupported: each(u.Unsupported, func(p platform.UnsupportedPackage) UnsupportedPackage {
			var ended string
			if !p.Ended.IsZero() {
				ended = p.Ended.Format(time.DateOnly)
			}
			return UnsupportedPackage{Name: p.Name, Version: opt(p.Version), Limited: p.Limited, Ended: opt(ended), Note: opt(p.Note)}
		}),
		Stale: each(u.Running.Stale, func(p platform.StaleProcess) StaleProcess {
			return StaleProcess{PID: p.PID, Name: opt(p.Name), User: opt(p.User), Unit: opt(cmp.Or(p.UserUnit, p.Unit)), Files: each(p.Files, same)}
		}),
		Kernel: opt(u.Running.Kernel), NewerKernel: opt(u.Running.NewerKernel), RebootAsked: each(u.Running.RebootAsked, same),
	}
}
