package localapi

import (
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

// UpdatesSubject is a set of packages that miss updates.
type UpdatesSubject struct {
	Packages []MissingUpdate `json:"packages"`
}

// MissingUpdate is one package for which a newer version is there.
type MissingUpdate struct {
	Name      string     `json:"name"`
	Arch      *string    `json:"arch"`
	Installed *string    `json:"installed"`
	Candidate *string    `json:"candidate"`
	Archive   *string    `json:"archive"`
	Security  bool       `json:"security"`
	KEV       bool       `json:"kev"`
	Since     *time.Time `json:"since"`
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
		}
	}
	if o := s.OS; o != nil {
		w.OS = &OSSubject{
			ID: opt(o.ID), Version: opt(o.Version), Name: opt(o.Name), Verdict: o.Verdict,
			SupportEnds: opt(o.SupportEnds), DataDate: opt(o.DataDate), DataSource: opt(o.DataSource),
			Stale: o.Stale, UpgradeTo: opt(o.UpgradeTo),
		}
	}
	if u := s.Updates; u != nil {
		w.Updates = &UpdatesSubject{Packages: each(u.Packages, func(m platform.MissingUpdate) MissingUpdate {
			return MissingUpdate{
				Name: m.Name, Arch: opt(m.Arch), Installed: opt(m.Installed), Candidate: opt(m.Candidate),
				Archive: opt(m.Archive), Security: m.Security, KEV: m.KEV, Since: utc(m.Since),
			}
		})}
	}
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
