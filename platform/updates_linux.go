package platform

import (
	"context"
	"errors"
	"runtime/debug"

	"github.com/firebreak-sec/firebreak/platform/apt"
	"github.com/firebreak-sec/firebreak/platform/rpm"
)

// updatesReader reads what the package data of a host says. It remembers it until the
// files change.
type updatesReader struct {
	apt *apt.Reader
	rpm *rpm.Reader
}

// newUpdatesReader reads the host below root, "" being this one.
func newUpdatesReader(root string) *updatesReader {
	return &updatesReader{apt: apt.New(root), rpm: rpm.New(root)}
}

// errNoPackages says that nothing that is read here has anything installed.
var errNoPackages = errors.New("this computer has packages of neither dpkg nor rpm: what updates it misses is not known")

// read asks dpkg's data first: a host of rpm's has none of it, but a host of dpkg's
// may have the tool rpm with an empty database.
func (r *updatesReader) read(ctx context.Context) (Updates, error) {
	a, err := r.apt.State(ctx)
	if err == nil {
		return updatesOfApt(a), nil
	}
	if !errors.Is(err, apt.ErrNoDatabase) {
		return Updates{}, err
	}
	d, err := r.rpm.Read(ctx)
	switch {
	case errors.Is(err, rpm.ErrNoDatabase):
		return Updates{}, errNoPackages
	case err != nil:
		return Updates{}, err
	}
	return updatesOfDNF(d), nil
}

func updatesOfApt(s apt.State) Updates {
	u := Updates{Manager: "apt", ListsAsOf: s.ListsAsOf, Installed: s.Installed, Unknown: s.Problems}
	for _, p := range s.Pending {
		u.Pending = append(u.Pending, Update{
			Name: p.Name, Arch: p.Arch, Source: p.Source, Installed: p.Installed, Candidate: p.Candidate,
			Archive: p.Archive, Security: p.Security, Fixed: p.Fixed, Why: UpdateHold(p.Why),
		})
	}
	for _, p := range s.Unsupported {
		u.Unsupported = append(u.Unsupported, UnsupportedPackage(p))
	}
	return u
}

func updatesOfDNF(s rpm.State) Updates {
	u := Updates{Manager: "dnf", ListsAsOf: s.ListsAsOf, Installed: s.Installed, Unknown: s.Problems}
	for _, p := range s.Pending {
		u.Pending = append(u.Pending, Update{
			Name: p.Name, Arch: p.Arch, Source: p.Source, Installed: p.Installed, Candidate: p.Candidate,
			Archive: p.Archive, Security: p.Security, Fixed: p.Fixed, Advisory: p.Advisory, Severity: p.Severity,
			Since: p.Issued, Why: UpdateHold(p.Why),
		})
	}
	return u
}

// lookAtUpdates reads the package data, of another root file system too.
func (o *observer) lookAtUpdates(ctx context.Context, s *Snapshot) {
	o.slow.Lock()
	defer o.slow.Unlock()
	if o.updates == nil {
		o.updates = newUpdatesReader(o.root)
		// The lists of a distribution take some megabytes for a moment.
		defer debug.FreeOSMemory()
	}
	var err error
	if s.Updates, err = o.updates.read(ctx); err != nil {
		s.lack(PartUpdates, err.Error())
	}
}

// lookAtRunning finds what runs that is older than what is installed.
func (o *observer) lookAtRunning(ctx context.Context, s *Snapshot, _ Parts) {
	o.slow.Lock()
	defer o.slow.Unlock()
	var gaps []Gap
	s.Running, gaps = o.code.read(ctx, s.Taken)
	s.Gaps = append(s.Gaps, gaps...)
}
