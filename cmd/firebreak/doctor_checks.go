package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/agent/localapi"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// patient is the computer under examination.
type patient struct {
	*env
	host     *platform.Host
	snapshot *platform.Snapshot // taken once, by the first check that needs it
	lookErr  error
}

// checks are all that doctor tries, in the order in which one needs the other.
var checks = []struct {
	name string
	try  func(context.Context, *patient) outcome
}{
	{"rights", tryRights},
	{"open ports (sock_diag)", tryPart(platform.PartListeners)},
	{"owners of ports (/proc)", tryPart(platform.PartOwners)},
	{"events", tryEvents},
	{"operating system (os-release)", tryPart(platform.PartOS)},
	{"missing updates (package data)", tryPart(platform.PartUpdates)},
	{"services (systemd, D-Bus)", tryServices},
	{"firewall (nftables)", tryFirewall},
	{"isolation (nftables)", tryIsolation},
	{"ending connections (sock_diag)", tryConnections},
	{"proof from outside (namespaces)", tryProbe},
	{"policy", tryPolicy},
	{"journal", tryJournal},
	{"disk space", tryDisk},
	{"clock", tryClock},
	{"service", tryService},
	{"agent", tryAgent},
}

func tryRights(context.Context, *patient) outcome {
	if privileged() {
		return works("this is root")
	}
	return outcome{localapi.CouldNotTell, "this is not root, so much cannot be tried", "repeat with sudo"}
}

func (p *patient) look(ctx context.Context) (platform.Snapshot, error) {
	if p.snapshot == nil {
		s, err := p.host.Observer.Snapshot(ctx, platform.AllParts)
		p.snapshot, p.lookErr = &s, err
	}
	return *p.snapshot, p.lookErr
}

// tryPart checks that a part of a snapshot can be read, and wholly.
func tryPart(part platform.Part) func(context.Context, *patient) outcome {
	return func(ctx context.Context, p *patient) outcome {
		s, err := p.look(ctx)
		if err != nil {
			return judged(err, "", "")
		}
		for _, g := range s.Gaps {
			switch {
			case g.Part != part:
			case g.Partial && !privileged():
				return outcome{localapi.CouldNotTell, g.Reason, "repeat with sudo"}
			case g.Partial:
				return outcome{localapi.CouldNotTell, g.Reason, ""}
			default:
				return doesNot(g.Reason, "")
			}
		}
		switch part {
		case platform.PartOS:
			return works(s.OS.Name + ", kernel " + s.OS.Kernel)
		case platform.PartUpdates:
			return updatesOutcome(s.Updates)
		}
		return works(count(len(s.Listeners), "socket") + " read")
	}
}

// updatesOutcome says whether the package data of the host can tell what is missing.
func updatesOutcome(u platform.Updates) outcome {
	read := fmt.Sprintf("%s of %s read", count(u.Installed, "package"), u.Manager)
	switch {
	case len(u.Unknown) > 0:
		return outcome{localapi.CouldNotTell, read + ", but not all that is offered: " + u.Unknown[0], ""}
	case u.ListsAsOf.IsZero():
		return outcome{localapi.CouldNotTell, read + ", and no lists of what is offered", "let the package manager fetch its lists"}
	}
	return works(read + ", offers as of " + u.ListsAsOf.UTC().Format("2006-01-02 15:04") + " UTC")
}

// tryEvents says how the agent learns that a port opens. Where it has to ask for
// it, it finds the same, only later.
func tryEvents(context.Context, *patient) outcome {
	why := platform.ListenerEvents()
	switch {
	case why == "":
		return works("from the kernel (eBPF)")
	case !privileged():
		return outcome{localapi.CouldNotTell, "this user may not ask the kernel", "repeat with sudo"}
	}
	return works("polled every second: " + why)
}

func tryServices(ctx context.Context, p *patient) outcome {
	units, err := p.host.Services.Inspect(ctx, "systemd-journald.service")
	if err == nil && len(units) == 0 {
		err = errors.New("systemd answers and knows no systemd-journald.service")
	}
	return judged(err, "systemd answers", "without systemd, ports are blocked and programs ended, but no service is closed for good")
}

func tryFirewall(ctx context.Context, p *patient) outcome {
	r, err := p.host.Firewall.InForce(ctx)
	ok := "nothing of Firebreak is in force"
	if !r.Zero() {
		ok = fmt.Sprintf("in force: %d blocked ports, isolated: %v", len(r.Blocked), r.Isolation != nil)
	}
	return judged(err, ok, "without nftables nothing can be blocked or isolated: load the kernel module nf_tables")
}

// tryIsolation asks the agent how the isolation in force holds; without one the
// kernel is asked what it would lack.
func tryIsolation(ctx context.Context, p *patient) outcome {
	if s, err := p.agent().Status(ctx); err == nil && s.Isolation != nil {
		return isolationOutcome(*s.Isolation)
	}
	lacks, err := platform.Lacking(ctx, keptPrograms(p))
	if err == nil && len(lacks) > 0 {
		return doesNot("an isolation would be degraded: "+strings.Join(lacks, "; "), "")
	}
	return judged(err, "tried and taken back: this kernel lacks no part of it", "without nftables this computer cannot be isolated")
}

// keptPrograms is an isolation that keeps the services of the policy, as far as
// there is one that can be read: to keep them needs more of the kernel.
func keptPrograms(p *patient) platform.Isolation {
	var iso platform.Isolation
	policy, _, err := p.readPolicy()
	if err != nil {
		return iso
	}
	for _, text := range policy.Isolation.Keep {
		if k, err := configs.ParseKeep(text); err == nil && k.Kind == configs.KeepUnit {
			iso.Units = append(iso.Units, k.Name)
		}
	}
	return iso
}

func isolationOutcome(i localapi.Isolation) outcome {
	reasons := strings.Join(i.Reasons, "; ")
	switch {
	case i.State == nil && !i.Proved:
		return outcome{localapi.CouldNotTell, "in force, and not proved yet", "firebreak recheck"}
	case i.State == nil || *i.State == agent.IsolationFull:
		return works("in force and proved; nothing is lacking")
	case *i.State == agent.IsolationDegraded:
		return doesNot("in force and proved, with gaps: "+reasons, "firebreak status")
	}
	return doesNot("this computer is not isolated as it should be: "+reasons, "firebreak status")
}

// tryConnections lists what isolation would end, and ends nothing: whether the
// kernel lets it be ended is found out only by doing it.
func tryConnections(ctx context.Context, p *patient) outcome {
	live, err := p.host.Connections.Live(ctx, platform.Isolation{})
	if err != nil {
		return judged(err, "", "without it, isolation stops connections and does not end them")
	}
	return works(count(len(live), "socket") + " found that isolation would end; ending is tried only when isolating")
}

func tryProbe(ctx context.Context, p *patient) outcome {
	answer, err := p.host.Prober.Outbound(ctx, false)
	return judged(err, "a probe from another network namespace was "+string(answer), "without it, proofs come from the look alone")
}

func tryPolicy(_ context.Context, p *patient) outcome {
	policy, source, err := p.readPolicy()
	if open := othersWrite(p.policyFile()); err == nil && open != "" {
		return doesNot("others than root may write "+open+", and so decide what Firebreak does as root", "sudo chmod go-w "+open)
	}
	return judged(err, fmt.Sprintf("%s r%d from %s, %s", policy.Name, policy.Revision, source, policy.Mode),
		"firebreak policy check "+p.policyFile())
}

// tryJournal proves every record, unless an agent has the journal open: it has
// proved it then.
func tryJournal(_ context.Context, p *patient) outcome {
	j, err := journal.OpenReadOnly(p.journalFile())
	switch {
	case errors.Is(err, journal.ErrInUse):
		return works("in use by the agent")
	case errors.Is(err, fs.ErrNotExist):
		return works("none yet")
	case errors.Is(err, fs.ErrPermission):
		return judged(platform.ErrNotPermitted, "", "")
	case err != nil:
		return doesNot(err.Error(), "a damaged journal is set aside when the agent starts")
	}
	kept, err := j.Contents()
	return judged(errors.Join(err, j.Close()), count(len(kept.Threats), "threat")+" on record", "")
}

// leastDisk is what the journal and some evidence need, in bytes.
const leastDisk = 100 << 20

func tryDisk(_ context.Context, p *patient) outcome {
	place := p.state
	if _, err := os.Stat(place); err != nil {
		place = "/"
	}
	free, err := platform.DiskFree(place)
	if err == nil && free < leastDisk {
		return doesNot(fmt.Sprintf("%d MB free in %s", free>>20, place), "free space: with a full disk no fix is started")
	}
	return judged(err, fmt.Sprintf("%d MB free in %s", free>>20, place), "")
}

// tryClock looks for a clock that cannot be right: windows, exceptions and ends
// of support hang on it.
func tryClock(_ context.Context, p *patient) outcome {
	now, made := p.now(), configs.Lifecycle{}.DataDate().Time
	if now.Before(made) {
		return doesNot(now.Format(time.DateOnly)+" is before this program was made", "set the clock")
	}
	if now.After(made.AddDate(10, 0, 0)) {
		return doesNot(now.Format(time.DateOnly)+" is ten years after this program was made", "set the clock, or update Firebreak")
	}
	return works(now.Format("2006-01-02 15:04 MST"))
}

func tryService(_ context.Context, p *patient) outcome {
	s, err := p.serviceHere()
	if err != nil {
		return doesNot(err.Error(), "")
	}
	there, running, err := installed(s)
	switch {
	case err != nil:
		return judged(err, "", "")
	case !there:
		return doesNot("not installed", "sudo firebreak install")
	case !running:
		return doesNot("installed, and not running", "sudo firebreak start")
	}
	return works("installed and running")
}

func tryAgent(ctx context.Context, p *patient) outcome {
	s, err := p.agent().Status(ctx)
	if err != nil {
		return judged(err, "", "sudo firebreak start")
	}
	for _, trouble := range s.Troubles {
		return doesNot(trouble, "firebreak status")
	}
	return works(fmt.Sprintf("answers; %d MB of memory, %.1f s of CPU since it started", s.Agent.RSSBytes>>20, s.Agent.CPUSeconds))
}
